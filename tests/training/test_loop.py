"""The training loop on a toy task: gradients, schedule, resuming, stopping, diverging. B rows, D features."""

import errno
import json
import math
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from destila.config import TrainingSettings
from destila.core.errors import NotFiniteError, UserError
from destila.core.runs import Run
from destila.training.loop import train
from destila.training.optimizer import learning_rate_factor
from destila.training.task import Task, TrainingResult

SETTINGS = TrainingSettings(
    steps=12, batch_size=6, learning_rate=1e-2, evaluate_every=4, checkpoint_every=3, log_every=1, seed=5
)


class Crash(Exception):
    """Stands for a kill: nothing that the process would do after it happens."""


@dataclass
class ToyLoss:
    total: Tensor
    parts: Mapping[str, Tensor]


def toy_loss(student: nn.Module, batch: tuple[Tensor, Tensor]) -> ToyLoss:
    inputs, targets = batch  # (B, D), (B, 1)
    total = ((student(inputs) - targets) ** 2).mean(dim=1).mean()
    return ToyLoss(total, {"square": total.detach()})


class ToyBatches:
    """Rows drawn from (seed, step); counts how often it was asked, to crash at a chosen call."""

    def __init__(self, size: int = 6, steps_per_epoch: int = 5) -> None:
        self.size, self.steps_per_epoch = size, steps_per_epoch

    def at(self, step: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(step)
        return list(torch.randn(self.size, 4, generator=generator, dtype=torch.float64))


def collate(rows: Sequence[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    inputs = torch.stack(list(rows)).to(device)
    return inputs, inputs.sum(dim=1, keepdim=True)


def toy_student(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(dropout), nn.Tanh(), nn.Linear(8, 1)).double()


def evaluate(student: nn.Module) -> dict[str, Any]:
    student.eval()
    torch.rand(7)  # an evaluation that uses random numbers must not change training
    with torch.no_grad():
        inputs, targets = collate(ToyBatches().at(999), torch.device("cpu"))
        error = float(((student(inputs) - targets) ** 2).mean())
    return {"f1": 100 * math.exp(-error)}


def save(student: nn.Module, directory: Path, scores: Mapping[str, Any]) -> None:
    save_file(student.state_dict(), directory / "model.safetensors")
    (directory / "destila.json").write_text(json.dumps(dict(scores)))
    (directory / "config.json").write_text("{}")


def toy_task(**changes: Any) -> Task[Tensor]:
    task: Task[Tensor] = Task(toy_student(0.3), toy_loss, ToyBatches(), collate, save, evaluate)
    return replace(task, **changes)


def start(path: Path, *, resume: bool = False) -> Run:
    return Run.create(path, settings_text="", seed=5, resume=resume)


def weights(path: Path) -> dict[str, Tensor]:
    return load_file(path / "model.safetensors")


def same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    result = train(toy_task(), settings=SETTINGS, run=start(path))
    assert result.steps == 12
    assert result.best_score is not None
    return path


def test_a_finished_run_holds_model_metrics_and_status(uninterrupted: Path) -> None:
    lines = [json.loads(line) for line in (uninterrupted / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))
    assert [line["step"] for line in lines if "dev_f1" in line] == [4, 8, 12]
    record = json.loads((uninterrupted / "run.json").read_text())
    best = max((line for line in lines if "dev_f1" in line), key=lambda line: line["dev_f1"])
    assert (record["status"], record["best_step"], record["best_f1"]) == ("finished", best["step"], best["dev_f1"])
    kept = uninterrupted / "checkpoints" / f"best-{best['step']:08d}"
    assert same(weights(uninterrupted), weights(kept))
    assert sorted(path.name for path in (uninterrupted / "checkpoints").iterdir()) == [kept.name, "step-00000012"]
    assert any((uninterrupted / "tensorboard").iterdir())


@pytest.mark.parametrize("where", ["rows", "evaluate", "save"])
@pytest.mark.parametrize("call", [1, 2, 3, 5, 8, 11])
def test_a_run_killed_anywhere_and_resumed_ends_with_the_same_weights(
    tmp_path: Path, uninterrupted: Path, where: str, call: int
) -> None:
    calls = 0

    def crash_at_the_call(name: str) -> None:
        nonlocal calls
        calls += name == where
        if name == where and calls == call:
            raise Crash

    class CrashingBatches(ToyBatches):
        def at(self, step: int) -> list[Tensor]:
            crash_at_the_call("rows")
            return super().at(step)

    def crashing_evaluate(student: nn.Module) -> dict[str, Any]:
        crash_at_the_call("evaluate")
        return evaluate(student)

    def crashing_save(student: nn.Module, directory: Path, scores: Mapping[str, Any]) -> None:
        save(student, directory, scores)
        crash_at_the_call("save")

    crashing = toy_task(batches=CrashingBatches(), evaluate=crashing_evaluate, save=crashing_save)
    run = start(tmp_path / "run")
    try:
        train(crashing, settings=SETTINGS, run=run)
    except Crash:
        train(toy_task(), settings=SETTINGS, run=start(tmp_path / "run", resume=True))
    assert same(weights(tmp_path / "run"), weights(uninterrupted))
    ours, theirs = (
        [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        for path in (tmp_path / "run", uninterrupted)
    )
    assert ours == theirs


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves_and_the_rest_can_follow(
    tmp_path: Path, uninterrupted: Path, number: signal.Signals
) -> None:
    class SignalledBatches(ToyBatches):
        def at(self, step: int) -> list[Tensor]:
            if step == 6:
                signal.raise_signal(number)  # to this thread: os.kill may come later, by another
            return super().at(step)

    before = signal.getsignal(number)
    result = train(toy_task(batches=SignalledBatches()), settings=SETTINGS, run=start(tmp_path / "run"))
    assert (result.signal, result.steps) == (number, 7)
    assert signal.getsignal(number) == before
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"
    assert (tmp_path / "run" / "checkpoints" / "step-00000007" / "state.pt").exists()
    assert not (tmp_path / "run" / "config.json").exists()
    train(toy_task(), settings=SETTINGS, run=start(tmp_path / "run", resume=True))
    assert same(weights(tmp_path / "run"), weights(uninterrupted))


@pytest.mark.parametrize("micro_batch_size", [1, 2, 4, 5, 6])
def test_micro_batches_give_the_gradient_of_the_whole_batch(tmp_path: Path, micro_batch_size: int) -> None:
    def final_weights(size: int) -> dict[str, Tensor]:
        path = tmp_path / f"micro-{size}"
        settings = replace(SETTINGS, micro_batch_size=size)
        train(toy_task(student=toy_student(0.0)), settings=settings, run=start(path))
        return weights(path)

    whole, cut = final_weights(0), final_weights(micro_batch_size)
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, rtol=1e-9, atol=1e-12)


def test_one_step_equals_adamw_written_by_hand(tmp_path: Path) -> None:
    student = toy_student()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    settings = replace(SETTINGS, steps=1, clip=0.5, weight_decay=0.1, warmup=0.0)
    inputs, targets = collate(ToyBatches().at(0), torch.device("cpu"))
    gradients = torch.autograd.grad(((student(inputs) - targets) ** 2).mean(), list(student.parameters()))
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    train(toy_task(student=student), settings=settings, run=start(tmp_path / "run"))
    for (name, value), gradient in zip(before.items(), gradients, strict=True):
        clipped = gradient * min(1.0, 0.5 / float(norm + 1e-6))
        decayed = value * (1 - 1e-2 * 0.1) if value.ndim > 1 else value
        # After one step both of Adam's averages, bias corrected, are the gradient and its square.
        expected = decayed - 1e-2 * clipped / (clipped.abs() + settings.adam_epsilon)
        torch.testing.assert_close(student.state_dict()[name], expected, rtol=1e-9, atol=1e-12)


def test_learning_rate_rises_then_falls_to_zero() -> None:
    factors = [learning_rate_factor(step, steps=10, warmup=0.2) for step in range(10)]
    assert factors == pytest.approx([0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert learning_rate_factor(0, steps=3, warmup=0.0) == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_step_and_checkpoint(tmp_path: Path, value: float) -> None:
    class PoisonedBatches(ToyBatches):
        def at(self, step: int) -> list[Tensor]:
            rows = super().at(step)
            return [row * value for row in rows] if step == 7 else rows

    with pytest.raises(UserError) as caught:
        train(toy_task(batches=PoisonedBatches()), settings=SETTINGS, run=start(tmp_path / "run"))
    assert "at step 8" in str(caught.value)
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000006"
    assert str(checkpoint) in str(caught.value)
    state = torch.load(checkpoint / "state.pt", weights_only=True)
    assert all(tensor.isfinite().all() for tensor in state["objective"].values())
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "diverged"


def broken(student: nn.Module) -> dict[str, Any]:
    raise NotFiniteError("model", "gave scores that are not finite numbers", "Its weights are broken.")


@pytest.mark.parametrize("judge", [broken, lambda student: {"f1": math.nan}])
def test_an_evaluation_that_is_not_finite_stops_with_step_and_checkpoint(tmp_path: Path, judge: Any) -> None:
    def late(student: nn.Module) -> dict[str, Any]:
        return judge(student) if (tmp_path / "run" / "checkpoints" / "step-00000006").exists() else evaluate(student)

    with pytest.raises(UserError, match=r"on dev (is nan|are not finite numbers) at step 8\. .*step-00000006"):
        train(toy_task(evaluate=late), settings=SETTINGS, run=start(tmp_path / "run"))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "diverged"


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_save, calls = torch.save, 0

    def save_until_full(state: Any, path: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real_save(state, path)

    monkeypatch.setattr("destila.training.checkpoints.torch.save", save_until_full)
    settings = replace(SETTINGS, evaluate_every=100)
    with pytest.raises(UserError, match="disk is full"):
        train(toy_task(evaluate=None), settings=settings, run=start(tmp_path / "run"))
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000003"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    train(toy_task(), settings=replace(SETTINGS, steps=3), run=start(tmp_path / "run"))
    state = tmp_path / "run" / "checkpoints" / "step-00000003" / "state.pt"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(UserError, match="step-00000003"):
        train(toy_task(), settings=SETTINGS, run=start(tmp_path / "run", resume=True))


def test_without_evaluation_the_last_weights_are_kept(tmp_path: Path) -> None:
    student = toy_student()
    result = train(toy_task(student=student, evaluate=None), settings=SETTINGS, run=start(tmp_path / "run"))
    assert result == TrainingResult(tmp_path / "run", steps=12, best_step=0, best_score=None)
    assert same(weights(tmp_path / "run"), student.state_dict())


def test_a_loss_modules_parameters_are_trained_and_resumed(tmp_path: Path) -> None:
    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.projection = nn.Linear(1, 1).double()

        def forward(self, student: nn.Module, batch: tuple[Tensor, Tensor]) -> ToyLoss:
            inputs, targets = batch
            return ToyLoss(((self.projection(student(inputs)) - targets) ** 2).mean(), {})

    loss_fn = Projected()
    before = loss_fn.projection.weight.detach().clone()
    train(toy_task(loss_fn=loss_fn), settings=SETTINGS, run=start(tmp_path / "run"))
    assert not torch.equal(loss_fn.projection.weight, before)
    state = torch.load(tmp_path / "run" / "checkpoints" / "step-00000012" / "state.pt", weights_only=True)
    assert torch.equal(state["objective"]["loss_fn.projection.weight"], loss_fn.projection.weight.detach())
