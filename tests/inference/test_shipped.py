"""The bundled model: the default wherever a reader is asked for, and an error that says so where it is missing."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from destila import Reader
from destila.cli.main import dispatch
from destila.config import ExportSettings
from destila.config.loader import resolve
from destila.core.errors import UserError
from destila.core.model_files import ONNX_FILE
from destila.data import squad
from destila.evaluation import benchmark
from destila.inference import places
from destila.inference.backends.onnx import OnnxModel
from destila.inference.places import SHIPPED, SHIPPED_NAME
from tiny import TEXTS, tiny_examples, tiny_reader

QUESTION = "¿Quién fundó Lima?"
MOST_BYTES = 25_000_000
METADATA = {"window": {"length": 96, "stride": 16, "max_answer_tokens": 10}, "no_answer_threshold": 1000.0}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An int8 ONNX export, as the one that ships."""
    pytest.importorskip("onnxscript")
    from destila.cli import export

    root = tmp_path_factory.mktemp("shipped")
    tiny_reader(root / "torch", seed=3, metadata=METADATA)
    values = {"model": str(root / "torch"), "output": str(root / "shipped"), "precision": "int8", "skip_accuracy": True}
    export.run(resolve(ExportSettings, values))
    return root / "shipped"


@pytest.fixture
def shipped(built: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(places, "SHIPPED", built)
    return built


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "texto.txt"
    path.write_text(TEXTS[0], encoding="utf-8")
    return path


def test_it_is_the_default_of_the_library_and_of_answer(shipped: Path, text: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    expected = Reader.load(shipped).answer(QUESTION, TEXTS[0])
    reader = Reader.load()
    assert reader.name == SHIPPED_NAME
    assert reader.answer(QUESTION, TEXTS[0]) == expected
    dispatch(["answer", QUESTION, "--context", str(text), "--json"])
    assert json.loads(capsys.readouterr().out)["answers"][0]["text"] == expected.text


def test_it_says_no_answer_by_its_threshold(shipped: Path, text: Path, tmp_path: Path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    strict = shutil.copytree(shipped, tmp_path / "strict")
    metadata = json.loads((strict / "destila.json").read_text())
    (strict / "destila.json").write_text(json.dumps(metadata | {"no_answer_threshold": -1000.0}))
    monkeypatch.setattr(places, "SHIPPED", strict)
    dispatch(["answer", QUESTION, "--context", str(text)])
    dispatch(["answer", QUESTION, "--context", str(text), "--json"])
    line, *guess, answers = capsys.readouterr().out.splitlines()
    assert line.startswith("no answer (score ")
    assert len(guess) == 1  # the best one behind the refusal
    assert json.loads(answers)["answers"][0]["text"] is None


def test_it_is_the_default_of_evaluate_and_bench(shipped: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    squad.save(tiny_examples(), tmp_path / "data.json")
    dispatch(["evaluate", "--data", str(tmp_path / "data.json"), "--resamples", "100", "--threads", "1", "--json"])
    assert {report["model"] for report in json.loads(capsys.readouterr().out)["reports"]} == {SHIPPED_NAME}
    dispatch(
        ["bench", "--lengths", "64", "--rounds", "1", "--batch", "1", "--threads", "1", "--cold", "false", "--json"]
    )
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["model"], row["backend"], row["precision"]) == (SHIPPED_NAME, "onnx", "int8")
    assert row["bytes"] == sum(file.stat().st_size for file in shipped.iterdir())
    with pytest.raises(UserError, match="keeps its threshold; name another with --model"):
        dispatch(["evaluate", "--data", str(tmp_path / "data.json"), "--fit-threshold", "f1", "--write"])


@pytest.mark.parametrize("arguments", [["answer", QUESTION, "--context", "TEXT"], ["bench"], ["serve", "--port", "0"]])
def test_an_installation_without_it_says_what_to_do(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr(places, "SHIPPED", tmp_path)
    with pytest.raises(UserError, match=r"(?s)missing from this installation \(no model.onnx in .*--model") as caught:
        dispatch([str(text) if argument == "TEXT" else argument for argument in arguments])
    assert caught.value.where == SHIPPED_NAME


def test_package_data_is_what_the_repository_holds() -> None:
    """Whatever lies in shipped/ is a whole export and no more, so that nothing else gets into the wheel."""
    if SHIPPED.exists():
        metadata = json.loads((SHIPPED / "destila.json").read_text())
        assert {file.name for file in SHIPPED.iterdir()} == {*metadata["files"], "destila.json"}


# ---------------------------------------------------------------------------------------------------- the real one
@pytest.mark.skipif(not (SHIPPED / "model.onnx").exists(), reason="this checkout holds no reader that ships")
def test_the_real_one_answers_fast_and_small() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= MOST_BYTES
    reader = Reader.load(threads=1)
    assert reader.no_answer_threshold is not None, "it must be able to say that there is no answer"
    program = (
        "import sys\n"
        "from destila.cli.main import dispatch\n"
        f"dispatch(['answer', {benchmark.QUESTION!r}, '--context', '-', '--json', '--threads', '1'])\n"
        "assert not {'torch', 'transformers', 'openvino'} & set(sys.modules), 'something heavy was loaded'"
    )
    started = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", program],
        input=benchmark.PASSAGE,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    seconds = time.perf_counter() - started
    assert result.returncode == 0, result.stderr
    (answer,) = json.loads(result.stdout)["answers"]
    assert answer["text"] == reader.answer(benchmark.QUESTION, benchmark.PASSAGE).text
    if answer["text"] is not None:
        assert answer["text"] == benchmark.PASSAGE[answer["start"] : answer["end"]]
    print(f"cold start {seconds:.2f} s, answered {answer['text']!r}")
    assert seconds < 10


def test_rows_that_run_side_by_side_are_each_what_they_are_alone(built: Path) -> None:
    generator = np.random.default_rng(0)
    model = OnnxModel(built / ONNX_FILE, threads=3)
    lengths = generator.integers(20, 96, 9)
    mask = (np.arange(96) < lengths[:, None]).astype(np.int64)
    ids = np.where(mask, generator.integers(5, 60, mask.shape), 1)
    together = model.logits(ids, mask)
    for row, length in enumerate(lengths.tolist()):
        alone = model.logits(ids[row : row + 1, :length], mask[row : row + 1, :length])
        for many, one in zip(together, alone, strict=True):
            assert (many[row, :length] == one[0]).all()
            assert not many[row, length:].any()


def test_what_ships_says_whose_text_it_has_read_and_has_a_license() -> None:
    root = Path(__file__).parents[2]
    for card in ("models/teacher/README.md", "models/reader/README.md"):
        text = (root / card).read_text(encoding="utf-8")
        assert "\nlicense: cc-by-sa-4.0\n" in text, card
        assert "not stated" not in text, card
    about = json.loads((root / "src/destila/inference/shipped/destila.json").read_text(encoding="utf-8"))
    sources = [source for data in about["data"] for source in data["sources"]]
    assert sources
    assert all(source["license"] and source["attribution"] for source in sources)
