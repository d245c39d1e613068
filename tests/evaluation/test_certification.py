"""What is guaranteed holds of the bundled model, and each of several readers broken on purpose fails its check."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.records import Answer, Example, Prediction
from destila.data import windows
from destila.data.squad import save
from destila.evaluation import guarantees
from destila.evaluation.certification import Certificate, certify
from destila.export.convert import write_fp32
from destila.inference.backends import load_backend, onnx
from destila.inference.places import SHIPPED
from destila.inference.reader import Reader
from destila.reporting.card import write_card
from finished_run import run_directory
from tiny import TEXTS, tiny_examples, tiny_reader

TORCH = Path(__file__).parents[2] / "models" / "reader"
FEW = tiny_examples()[:3]
READ, OFFSETS, COMPANY, OUTPUTS = (
    "every token of every text is read",
    "offsets are exact",
    "the same answer alone, in any batch and with any padding",
    "strict outputs",
)


def failed(found: Certificate) -> set[str]:
    return {check.name for check in found.checks if check.passed is False}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the bundled model to break."""
    directory = shutil.copytree(SHIPPED, tmp_path / "copy")
    ModelMetadata.read(directory).without("files").write(directory)
    return directory


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest text that is read need not be read in pieces; `destila.data.streaming` has tests of its own."""
    monkeypatch.setattr(guarantees, "LONG_TEXT", 2_000)


def test_the_bundled_model_keeps_what_is_promised_and_the_certificate_is_written(copy: Path) -> None:
    found = certify(copy, FEW, reference=str(TORCH), threads=1, max_loss=100)
    assert found.passed
    assert all(check.n for check in found.checks if check.passed)
    assert (found.backend, found.precision, found.questions) == ("onnx", "int8", len(FEW))
    written = ModelMetadata.read(copy).certificates["onnx"]
    assert [check["passed"] for check in written["checks"]] == [check.passed for check in found.checks]
    assert "model" not in written, "where it lay is nobody's business"
    with pytest.raises(UserError, match="--data: is required"):
        certify(copy)


@pytest.mark.parametrize("format", ["torch", "openvino"])
def test_each_back_end_keeps_it(tmp_path: Path, format: str) -> None:
    pytest.importorskip(format)
    metadata: dict[str, object] = {"window": {"length": 48, "stride": 8, "max_answer_tokens": 10}}
    model = reference = tiny_reader(tmp_path / "torch", metadata=metadata)
    if format != "torch":
        (model := tmp_path / format).mkdir()
        write_fp32(load_backend(str(reference), "torch"), model, format=format, name="torch")
    found = certify(model, tiny_examples(), reference=str(reference))
    assert failed(found) == set()
    assert ("an fp32 export equals torch" in {check.name for check in found.checks}) == (format != "torch")
    if format != "torch":
        other = tiny_reader(tmp_path / "other", seed=7, metadata=metadata)
        assert failed(certify(model, FEW, reference=str(other))) == {"an fp32 export equals torch"}


# ---------------------------------------------------------------------------------------------------- broken on purpose
def test_padding_that_leaks_into_answers_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows together and padded, by a model that has no masks."""
    monkeypatch.setattr(onnx.OnnxModel, "logits", lambda self, ids, mask: onnx._run(self.session, ids, mask))
    found = certify(data=FEW, threads=1)
    assert failed(found) == {COMPANY}
    (check,) = (check for check in found.checks if check.name == COMPANY)
    assert "differ; first: question 'fundador'" in check.detail


def test_a_tokenizer_that_cuts_texts_in_silence_is_found(copy: Path) -> None:
    """What stands after the first fifty characters is replaced by nothing before it becomes tokens."""
    path = copy / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    cut = {"type": "Replace", "pattern": {"Regex": r"(?<=[\s\S]{50})[\s\S]+"}, "content": ""}
    whole = [tokenizer["normalizer"]] if tokenizer["normalizer"] else []
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [cut, *whole]}
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    found = certify(copy, FEW, threads=1)
    assert READ in failed(found)
    assert "is in no token" in next(check.detail for check in found.checks if check.name == READ)


def test_windows_that_skip_tokens_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = windows.WindowBuilder.cut
    monkeypatch.setattr(windows.WindowBuilder, "cut", lambda *given: cut(*given)[:2])
    found = certify(data=FEW, threads=1)
    assert failed(found) == {READ}
    assert "are in no window" in next(check.detail for check in found.checks if check.name == READ)


def test_shifted_offsets_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = windows._clean_offsets
    monkeypatch.setattr(windows, "_clean_offsets", lambda *given: np.maximum(clean(*given) - 2, 0))
    assert OFFSETS in failed(certify(data=FEW, threads=1))


def test_an_int8_export_of_other_weights_is_found_and_the_command_fails(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx_library = pytest.importorskip("onnx")
    model = onnx_library.load(copy / "model.onnx")
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 2 and tensor.data_type == onnx_library.TensorProto.INT8:
            tensor.raw_data = tensor.raw_data[::-1]
    onnx_library.save(model, copy / "model.onnx")
    data = tmp_path / "data.json"
    save(FEW, data)
    with pytest.raises(SystemExit) as caught:
        dispatch(["certify", str(copy), "--data", str(data), "--reference", str(TORCH), "--threads", "1", "--json"])
    assert caught.value.code == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["passed"]
    wrong = {check["name"] for check in found["checks"] if check["passed"] is False}
    assert "int8 agrees with torch" in wrong
    assert wrong <= {"int8 agrees with torch", "int8 keeps F1"}
    assert not ModelMetadata.read(copy).certificates["onnx"]["checks"][-2]["passed"], "a failure is written, too"


# ---------------------------------------------------------------------------------------------------- single checks
GOOD = Prediction(Answer("a", 0, 1, 0.5), Answer("a", 0, 1, 0.5), 1.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer("a", 0, 1, 0.5), ""),
        (Answer("a", 0, 1, math.nan), "is no JSON"),
        (Answer("a", 0, 1, 1.5), "has the score 1.5"),
        (Answer("", 0, 0, 0.5), "has '' at 0 to 0"),
        (Answer(None, 0, 1, 0.5), "has None at 0 to 1"),
    ],
)
def test_outputs_of_another_shape_are_found(answer: Answer, expected: str) -> None:
    check = guarantees.strict_outputs({"q": (GOOD, [answer])})
    assert check.passed == (not expected)
    assert expected in check.detail


def test_an_answer_that_depends_on_threads_is_found() -> None:
    def load(threads: int) -> Reader:
        reader = Reader.load(threads=1)
        run = reader.model.logits
        change: Callable[..., object] = lambda *given: [side + np.float32(threads * 1e-5) for side in run(*given)]  # noqa: E731
        reader.model = type("Changed", (), {"logits": staticmethod(change)})()
        return reader

    assert guarantees.same_with_threads(load, [1, 1], FEW[:1]).passed is None
    check = guarantees.same_with_threads(load, [1, 2], FEW[:1])
    assert check.passed is False
    assert "threads 2" in check.detail


def test_an_answer_that_does_not_stand_at_its_offsets_is_found() -> None:
    example = Example("q", "¿Quién?", TEXTS[0])
    right = Answer.at(TEXTS[0], 3, 9)
    reader = Reader.load()
    for answer, passed in ((right, True), (replace(right, start=4), False), (replace(right, end=900), False)):
        assert guarantees.exact_offsets(reader, [example], {"q": (GOOD, [answer])}, []).passed == passed


def test_the_card_shows_the_certificate_and_is_written_again(tmp_path: Path) -> None:
    directory = run_directory(tmp_path / "run", train=[])
    card = write_card(directory)
    assert "Guarantees" not in card.read_text(encoding="utf-8")
    checks = [{"name": READ, "n": 7, "of": "tokens", "passed": True, "detail": ""}]
    checks.append({"name": OUTPUTS, "n": 3, "of": "questions", "passed": False, "detail": "question 'q': is no JSON"})
    about = {"precision": "fp32", "data": "dev.json", "questions": 3, "checks": checks, "version": "0.1.0"}
    ModelMetadata.read(directory).changed(certificates={"torch": about}).write(directory)
    text = write_card(directory).read_text(encoding="utf-8")
    assert f"| {READ} | torch, fp32 | 7 tokens | pass |" in text
    assert f"| {OUTPUTS} | torch, fp32 | 3 questions | **fail**: question 'q': is no JSON |" in text
    assert "torch, fp32: 3 questions of dev.json, Destila 0.1.0." in text
