"""How often exports agree with torch: the count itself, and that fp32 exports always do."""

import json
from pathlib import Path
from types import ModuleType

import pytest

from destila.config import ExportSettings
from destila.config.loader import resolve
from destila.core.records import Answer, Prediction
from destila.data import squad
from scripts import load_script
from tiny import TEXTS, example, predicted, tiny_examples, tiny_reader

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "agreement.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("benchmarks/agreement.py")


def said(answer: Answer) -> Prediction:
    return predicted(answer, answer, 0.0)


def test_agreement_counts_texts_and_spans(script: ModuleType) -> None:
    context = "Lima y Lima"
    examples = [example(name, "¿Qué?", context) for name in "abcd"]
    first, second, none = Answer.at(context, 0, 4, 0.5), Answer.at(context, 7, 11, 0.9), Answer.none(0.6)
    reference = {"a": said(first), "b": said(first), "c": said(none), "d": said(none)}
    found = {"a": said(first), "b": said(second), "c": said(none), "d": said(first)}
    row = script.agreement(reference, found, examples)
    assert (row["n"], row["same_text"], row["same_span"]) == (4, 0.75, 0.5)
    assert row["score_apart_max"] == pytest.approx(0.4)
    assert row["differ"] == [{"id": "d", "reference": None, "found": "Lima"}]


def test_exports_in_fp32_agree_and_the_script_says_so(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript")
    from destila.cli import export

    window = {"window": {"length": 64, "stride": 16, "max_answer_tokens": 10}, "no_answer_threshold": 0.0}
    model = str(tiny_reader(tmp_path / "torch", seed=3, metadata=window))
    other = str(tiny_reader(tmp_path / "other", seed=4, metadata=window))
    exported = str(tmp_path / "onnx")
    export.run(resolve(ExportSettings, {"model": model, "output": exported}))
    questions = [example(f"{n}", "¿Quién?", " ".join(TEXTS[: n % 6 + 1])) for n in range(12)]
    squad.save([*tiny_examples(), *questions], tmp_path / "data.json")
    arguments = ["--model", model, "--model", exported, "--model", other, "--data", str(tmp_path / "data.json")]
    monkeypatch.setattr("sys.argv", [str(SCRIPT), *arguments])
    capsys.readouterr()
    script.main()
    *shown, last = capsys.readouterr().out.splitlines()
    onnx, unlike = json.loads(last)["rows"]
    assert (onnx["model"], onnx["n"], onnx["same_text"], onnx["same_span"]) == (exported, 19, 1.0, 1.0)
    assert onnx["score_apart_max"] < 1e-4
    assert unlike["same_text"] < 0.9, "another reader must not agree"
    assert sum("became" in line for line in shown) == min(len(unlike["differ"]), script.SHOWN)
