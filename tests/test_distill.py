"""What `distill` can do beyond the paper's recipe, from end to end at tiny size."""

import json
import os
from pathlib import Path

import pytest

from destila.cli import dispatch
from destila.errors import UserError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def in_the_project() -> None:
    os.chdir(ROOT)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "teacher"
    dispatch(["finetune", "--config", "configs/tiny/finetune.toml", "--output", str(path)])
    return path


def distill(teacher: Path, output: Path, *flags: str) -> list[dict[str, float]]:
    """The lines of metrics.jsonl of a run."""
    places = ["--teacher.name", str(teacher), "--teacher.cache", str(output.parent / "cache"), "--output", str(output)]
    dispatch(["distill", "--config", "configs/tiny/distill.toml", *places, *flags])
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_a_student_born_from_its_teacher(teacher: Path, tmp_path: Path) -> None:
    config = json.loads((teacher / "config.json").read_text())
    same = {"layers": "num_hidden_layers", "heads": "num_attention_heads"}
    same |= {"hidden": "hidden_size", "feed_forward": "intermediate_size"}
    shape = [flag for name, key in same.items() for flag in (f"--student.shape.{name}", str(config[key]))]
    flags = ["--student.initial", "teacher", "--student.dropout", "0", "--training.precision", "fp32"]
    exact = distill(teacher, tmp_path / "same", *flags, *shape)
    assert [exact[0][term] for term in ("soft", "hidden", "attention")] == pytest.approx([0, 0, 0], abs=1e-6)
    distill(teacher, tmp_path / "smaller", *flags)
    assert len(list((tmp_path / "cache").glob("importance-*.safetensors"))) == 1  # measured once for both shapes


def test_teachers_that_are_asked_once(teacher: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    finetune = ["finetune", "--config", "configs/tiny/finetune.toml", "--training.seed", "2"]
    tokenizer = ["--model.tokenizer", str(teacher)]
    dispatch([*finetune, *tokenizer, "--output", str(second)])
    logits_alone = ["--loss.hidden", "0", "--loss.attention", "0"]
    first = distill(teacher, tmp_path / "one", *logits_alone)
    assert len(list((tmp_path / "cache").glob("logits-*.npy"))) == 1
    again = distill(teacher, tmp_path / "again", *logits_alone)
    assert [line.get("soft") for line in first] == [line.get("soft") for line in again]
    both = distill(teacher, tmp_path / "both", *logits_alone, "--teacher.others", str(second))
    assert len(list((tmp_path / "cache").glob("logits-*.npy"))) == 2
    assert both[0]["soft"] != first[0]["soft"]
    assert both[0]["task"] == first[0]["task"]
    with pytest.raises(UserError, match=r"teacher\.others: can be averaged in a loss of logits alone"):
        distill(teacher, tmp_path / "no", "--teacher.others", str(second))
