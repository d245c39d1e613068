"""A loss function of the user's own, as an object and by name, and every way in which it can be wrong."""

import json
import os
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

import destila
from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.models.forward import span_logits
from destila.training.losses import Loss, TorchBatch, soft_loss, task_loss
from destila.training.own_loss import TAKEN, OwnLoss, load_loss, name_of
from tiny import tiny_reader

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def in_the_project() -> None:
    os.chdir(ROOT)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_reader(tmp_path_factory.mktemp("models") / "teacher")


def settings(teacher: Path, output: Path) -> dict[str, Any]:
    return {"teacher": {"name": teacher, "cache": output.parent / "cache"}, "output": output}


def lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def soft_alone(student: Any, batch: TorchBatch) -> Loss:
    start, end = span_logits(student, batch.input_ids, batch.attention_mask)
    mask = batch.attention_mask.bool()
    task = task_loss(start, end, batch.start_positions, batch.end_positions, mask)
    soft = soft_loss(start, end, batch.teacher_start, batch.teacher_end, mask, 1.0)
    return Loss(task + soft, {"task": task.detach(), "soft": soft.detach()})


class Weighted(torch.nn.Module):
    """A loss with a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, student: Any, batch: TorchBatch) -> Loss:
        loss = soft_alone(student, batch)
        return Loss(loss.total * self.weight, loss.parts)


def test_the_terms_of_the_project_as_a_loss_of_ones_own_train_the_same_student(teacher: Path, tmp_path: Path) -> None:
    result = destila.distill("configs/tiny/distill.toml", loss=soft_alone, **settings(teacher, tmp_path / "own"))
    assert result.finished
    logits_alone = {"hidden": 0.0, "attention": 0.0}
    destila.distill("configs/tiny/distill.toml", loss=logits_alone, **settings(teacher, tmp_path / "built"))
    own, built = lines(tmp_path / "own"), lines(tmp_path / "built")
    losses = [[line["loss"] for line in each if "loss" in line] for each in (own, built)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    written = {name for line in own for name in line if not name.startswith("dev_")}
    assert written - {"task", "soft"} <= TAKEN
    assert "test_own_loss:soft_alone" in (tmp_path / "own" / "settings.toml").read_text()


def test_the_example_trains_by_name_and_as_a_program(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--teacher", str(teacher), "--teacher.cache", str(tmp_path / "cache"), "--output", str(tmp_path / "run")]
    dispatch(["distill", "--config", "configs/tiny/distill.toml", "--loss", "examples.own_loss:loss", *flags])
    first = lines(tmp_path / "run")[0]
    assert first["loss"] == pytest.approx(0.7 * first["task"] + 0.3 * first["soft"], rel=1e-5)
    for name in ("configs", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    runpy.run_path(str(ROOT / "examples" / "own_loss.py"), run_name="__main__")
    assert capsys.readouterr().out.startswith("runs/tiny/student ")


def test_parameters_of_a_loss_are_trained_and_resumed(teacher: Path, tmp_path: Path) -> None:
    whole = settings(teacher, tmp_path / "whole")
    destila.distill("configs/tiny/distill.toml", loss=(trained := Weighted()), **whole)
    assert trained.weight.item() != 2.0
    sliced = settings(teacher, tmp_path / "sliced")
    for number in range(7):
        slice = {"stop_after_seconds": 1e-6, "resume": number > 0, **sliced}
        if destila.distill("configs/tiny/distill.toml", loss=Weighted(), **slice).finished:
            break
    assert lines(tmp_path / "whole") == lines(tmp_path / "sliced")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("own_loss", "'own_loss' is not the name of a function"),
        (":loss", "is not the name of a function"),
        ("nowhere.at_all:loss", r"importing nowhere\.at_all fails \(ModuleNotFoundError: No module named 'nowhere'\)"),
        ("examples.own_loss:lost", r"examples\.own_loss has no lost"),
        ("examples.own_loss:DOUBT", "is float, which cannot be called"),
    ],
)
def test_a_name_that_means_no_function_is_refused_before_anything_begins(
    teacher: Path, tmp_path: Path, name: str, expected: str
) -> None:
    with pytest.raises(UserError, match=rf"loss\.function: .*{expected}"):
        destila.distill("configs/tiny/distill.toml", loss=name, **settings(teacher, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (None, "NoneType, not a Loss"),
        (torch.zeros((), requires_grad=True), "Tensor, not a Loss"),
        (Loss(torch.zeros(3, requires_grad=True), {}), r"a total of shape \(3,\) with a gradient"),
        (Loss(torch.zeros(()), {}), r"a total of shape \(\) without a gradient"),
        (Loss(torch.zeros((), requires_grad=True), {"x": 1.0}), "the part 'x', which is no scalar tensor"),  # type: ignore[dict-item]
        (Loss(torch.zeros((), requires_grad=True), {3: torch.zeros(())}), "a part under 3, which is no text"),  # type: ignore[dict-item]
        *(
            (Loss(torch.zeros((), requires_grad=True), {name: torch.zeros(())}), f"a part under '{name}', a name that")
            for name in ("loss", "step", "epoch", "learning_rate", "gradient_norm", "waiting", "dev_f1")
        ),
    ],
)
def test_what_is_no_loss_is_named(returned: Any, expected: str) -> None:
    loss = OwnLoss(lambda student, batch: returned, name="mine:loss")
    with pytest.raises(UserError, match=rf"mine:loss returned {expected}.*Return destila\.training\.losses\.Loss"):
        loss(None, None)


def test_names_and_functions_go_both_ways() -> None:
    assert load_loss(name_of(soft_loss)) is soft_loss
    assert name_of(Weighted()).endswith(":Weighted")
