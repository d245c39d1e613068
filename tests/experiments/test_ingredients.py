"""The ingredients of a small teacher: rows train once, share their encoders, and make a table."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

import spanish
from destila.data.squad import save
from scripts import load_script
from tiny import tiny_examples

ROWS = ["recipe", "plain-labels", "quarter-labels", "no-text-quarter", "masked"]


@pytest.fixture
def ingredients(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_script("experiments/ingredients.py")
    shape = {"layers": "1", "heads": "2", "hidden": "32", "feed_forward": "32"}
    monkeypatch.setattr(
        module, "SHAPE", [part for name, size in shape.items() for part in (f"--model.shape.{name}", size)]
    )
    return module


def test_rows_are_trained_once_and_those_that_differ_in_labels_share_an_encoder(
    ingredients: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = tiny_examples(unanswerable=True)
    save(examples, tmp_path / "train.json")
    (tmp_path / "actas.txt").write_text(spanish.text(1, documents=30), encoding="utf-8")
    out = tmp_path / "out"
    line = ["ingredients.py", "--text", str(tmp_path / "actas.txt"), "--train", str(tmp_path / "train.json")]
    line += ["--dev", str(tmp_path / "train.json"), "--steps", "4", "--labels", "8", "--out", str(out), "--rows", *ROWS]
    monkeypatch.setattr(sys, "argv", line)
    ingredients.main()
    assert sorted(str(path.parent.relative_to(out)) for path in out.glob("*/*/model.safetensors")) == sorted(
        ["recipe/encoder", "recipe/encoder-asking", "masked/encoder", *(f"{row}/reader" for row in ROWS)]
    )
    starts = {row: (out / row / "reader" / "settings.toml").read_text(encoding="utf-8") for row in ROWS}
    for row in ("quarter-labels", "plain-labels"):
        assert str(out / "recipe" / "encoder-asking") in starts[row]
    answerable = sum(bool(example.answers) for example in examples)  # fewer than there may be
    kinds = [f"{kind}-{count}.json" for kind in ("labels", "varied") for count in (answerable, 2)]
    assert sorted(kinds) == sorted(path.name for path in out.glob("*-*.json"))
    assert f"varied-{answerable}.json" in starts["recipe"]
    assert "varied" not in starts["plain-labels"]
    assert json.loads((out / "recipe" / "encoder" / "run.json").read_text())["steps"] == 2
    record = json.loads((out / "ingredients.json").read_text())
    assert record["n"] == sum(bool(example.answers) for example in examples)
    assert list(record["rows"]) == ROWS
    changed = {path: path.stat().st_mtime_ns for path in out.glob("*/*/model.safetensors")}
    table = (out / "ingredients.md").read_text(encoding="utf-8")
    ingredients.main()
    assert {path: path.stat().st_mtime_ns for path in changed} == changed
    assert (out / "ingredients.md").read_text(encoding="utf-8") == table
    assert sum(line.startswith(ingredients.ROWS[row].label) for line in table.splitlines() for row in ROWS) == len(ROWS)


def test_a_mistake_is_one_line(
    ingredients: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--text", str(tmp_path / "nowhere"), "--train", "train.json", "--dev", "dev.json", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["ingredients.py", *given])
    with pytest.raises(SystemExit):
        ingredients.main()
    assert "nowhere does not exist" in capsys.readouterr().err


def test_rows_say_which_encoder_they_have(ingredients: ModuleType) -> None:
    rows = ingredients.ROWS
    assert rows["recipe"].encoder == rows["quarter-labels"].encoder == rows["plain-labels"].encoder
    assert len({row.encoder for row in rows.values()}) == len(rows) - 3  # another pair has none
