"""The threshold script: equal errors, the area, and what is written."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from destila.data.squad import save
from scripts import load_script
from tiny import tiny_examples, tiny_reader


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("runs/threshold.py")


def test_as_many_are_refused_with_an_answer_as_are_answered_without(script: ModuleType) -> None:
    generator = np.random.default_rng(0)
    answerable, absent = generator.normal(0, 1, 500), generator.normal(2, 1, 700)
    threshold = script.equal_errors(answerable, absent)
    assert threshold == pytest.approx(1.0, abs=0.15)
    assert (answerable > threshold).mean() == pytest.approx((absent <= threshold).mean(), abs=0.01)
    assert script.equal_errors(np.array([0.0, 1.0]), np.array([3.0, 4.0])) == 1.0


def test_the_area_counts_pairs(script: ModuleType) -> None:
    generator = np.random.default_rng(1)
    left, right = generator.integers(0, 5, 30).astype(float), generator.integers(1, 7, 40).astype(float)
    pairs = np.mean([(b > a) + 0.5 * (b == a) for a in left for b in right])
    assert script.area(left, right) == pytest.approx(pairs)


def test_it_studies_a_reader_and_writes_the_threshold_alone(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = {"window": {"length": 96, "stride": 16}, "no_answer_threshold": None, "kept": "as it is"}
    reader = tiny_reader(tmp_path / "reader", seed=3, metadata=metadata)
    save(tiny_examples(), tmp_path / "dev.json")
    arguments = ["--model", str(reader), "--data", str(tmp_path / "dev.json")]
    script.main(arguments)
    assert json.loads((reader / "destila.json").read_text()) == metadata
    script.main([*arguments, "--write"])
    result = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    written = json.loads((reader / "destila.json").read_text())
    assert written == metadata | {"no_answer_threshold": result["threshold"]}
    answerable = sum(bool(example.answers) for example in tiny_examples())
    assert result["questions"]["answerable"] == answerable
    assert result["questions"]["written to look answerable"] == len(tiny_examples()) - answerable
    assert result["must_answer"]["f1"] >= result["answerable"]["f1"]
    assert set(result["refused"]) == set(result["questions"])


def test_a_mistake_is_one_line(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = tiny_reader(tmp_path / "reader")
    save([one for one in tiny_examples() if not one.answers], tmp_path / "none.json")
    save([one for one in tiny_examples() if one.answers][:1], tmp_path / "one.json")
    for name, problem in (
        ("missing.json", "no such file"),
        ("none.json", "no question that has an answer"),
        ("one.json", "a single paragraph"),
    ):
        with pytest.raises(SystemExit):
            script.main(["--model", str(reader), "--data", str(tmp_path / name)])
        assert problem in capsys.readouterr().err
