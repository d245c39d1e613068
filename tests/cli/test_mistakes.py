"""What users get wrong, from the command line: exit code 2, where and what is wrong, nothing half-written."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from destila import Reader
from destila.core.errors import UserError
from mistakes import GOOD, run
from tiny import tiny_reader


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "reader"
    tiny_reader(path)
    return path


def changed(change: Callable[[Any], Any]) -> bytes:
    copy = json.loads(json.dumps(GOOD))
    change(copy["data"][0]["paragraphs"][0])
    return json.dumps(copy).encode()


def double(paragraph: Any) -> None:
    paragraph["qas"].append(paragraph["qas"][0])


BAD_DATA: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "no such file"),
    "empty file": (b"", "empty"),
    "truncated": (json.dumps(GOOD).encode()[:120], "JSON"),
    "latin-1": (json.dumps(GOOD, ensure_ascii=False).encode("latin-1"), "UTF-8"),
    "a list": (b"[1, 2]", "data"),
    "no data": (b'{"data": []}', "no "),
    "a number for a text": (changed(lambda p: p["qas"][0].update(question=7)), "question"),
    "a text for a number": (changed(lambda p: p["qas"][0]["answers"][0].update(answer_start="17")), "answer_start"),
    "empty context": (changed(lambda p: p.update(context="")), "context"),
    "NUL": (changed(lambda p: p.update(context="Lima\0 se fundó en 1535.")), "NUL"),
    "unpaired surrogate": (changed(lambda p: p.update(context="Lima se fund\ud800 en 1535.")), "surrogate"),
    "duplicate id": (changed(double), "occurs again"),
}


@pytest.mark.parametrize("name", BAD_DATA)
@pytest.mark.parametrize("verb", ["evaluate", "finetune", "convert"])
def test_bad_data(
    name: str,
    verb: str,
    reader: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content, expected = BAD_DATA[name]
    data, output = tmp_path / "data.json", tmp_path / "output"
    if content is not None:
        data.write_bytes(content)
    arguments = {
        "evaluate": ("evaluate", "--model", str(reader), "--data", str(data), "--predictions", f"{output}.json"),
        "finetune": ("finetune", "--data.train", str(data), "--output", str(output)),
        "convert": ("data", "convert", str(data), f"{output}.jsonl"),
    }[verb]
    if name == "duplicate id":
        arguments = (*arguments, "--data.repair" if verb == "finetune" else "--repair", "false")
    code, out, err = run(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2, err
    assert expected in err
    assert "data.json" in err
    assert "Traceback" not in err
    assert out == ""
    assert [path for path in tmp_path.iterdir() if path != data] == []


def break_model(path: Path, how: str) -> None:
    weights = path / "model.safetensors"
    if how == "not a model":
        shutil.rmtree(path)
        path.mkdir()
        (path / "notes.txt").write_text("hola")
    elif how == "no tokenizer":
        (path / "tokenizer.json").unlink()
    elif how == "corrupt tokenizer":
        (path / "tokenizer.json").write_text('{"model"')
    elif how == "truncated weights":
        weights.write_bytes(weights.read_bytes()[:-50])
    elif how == "foreign weights":
        weights.write_bytes(b"GIF89a" * 100)
    elif how == "truncated config":
        config = path / "config.json"
        config.write_text(config.read_text()[:40])
    elif how == "smaller vocabulary":
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | {"vocab_size": 10}))


@pytest.mark.parametrize(
    "how",
    [
        "not a model",
        "no tokenizer",
        "corrupt tokenizer",
        "truncated weights",
        "foreign weights",
        "truncated config",
        "smaller vocabulary",
    ],
)
def test_broken_models(
    how: str, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, text = tmp_path / "model", tmp_path / "text.txt"
    shutil.copytree(reader, model)
    break_model(model, how)
    text.write_text("Lima se fundó en 1535.")
    question = ("answer", "¿Cuándo?", "--context", str(text), "--model", str(model))
    code, out, err = run(*question, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, out) == (2, ""), err
    assert str(model) in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("¿Cuándo?", "--context", "missing.txt"), "missing.txt"),
        (("¿Cuándo?",), "context"),
        (("   ", "--context", "text.txt"), "question"),
        (("¿" + "qué " * 3000 + "?", "--context", "text.txt"), "token"),
        (("¿Cuándo?", "--context", "nul.txt"), "NUL"),
        (("¿Cuándo\udcff?", "--context", "text.txt"), "UTF-8"),
        (("¿Cuándo?", "--context", "text.txt", "--top-k", "0"), "--top-k = '0'"),
        (("¿Cuándo?", "--context", "text.txt", "--topk", "3"), "--top-k"),
    ],
)
def test_bad_questions(
    arguments: tuple[str, ...],
    expected: str,
    reader: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("Lima se fundó en 1535. " * 200, encoding="utf-8")
    Path("nul.txt").write_bytes(b"Lima\0 1535")
    code, out, err = run("answer", *arguments, "--model", str(reader), monkeypatch=monkeypatch, capsys=capsys)
    assert (code, out) == (2, ""), err
    assert expected in err
    assert "Traceback" not in err


def test_an_empty_context_is_refused(reader: Path) -> None:
    with pytest.raises(UserError, match="the context is empty"):
        Reader.load(reader).answer("¿Cuándo?", " \n")


def test_an_enormous_context_takes_linear_time(reader: Path) -> None:
    loaded = Reader.load(reader)
    sentence = "El 14 de mayo de 1987 se abrió la biblioteca del barrio de San Juan. "
    seconds = []
    for copies in (400, 1600):
        start = time.perf_counter()
        answer = loaded.answer("¿Cuándo se abrió?", sentence * copies)
        seconds.append(time.perf_counter() - start)
        assert answer.text is None or answer.text in sentence * 2
    assert seconds[1] < 4 * 2.5 * seconds[0]  # four times the text; squared time would be sixteen times


@pytest.mark.parametrize("verb", ["finetune", "predictions", "convert"])
def test_an_output_that_cannot_be_written(
    verb: str, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.json"
    data.write_text(json.dumps(GOOD))
    blocked = tmp_path / "file"
    blocked.write_text("I am no directory")
    output = str(blocked / "output")
    arguments = {
        "finetune": ("finetune", "--data.train", str(data), "--model.vocabulary_size", "300", "--output", output),
        "predictions": ("evaluate", "--model", str(reader), "--data", str(data), "--predictions", output + ".json"),
        "convert": ("data", "convert", str(data), output + ".jsonl"),
    }[verb]
    code, _, err = run(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2, err
    assert "cannot be written" in err
    assert blocked.read_text() == "I am no directory"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("data", "check", "--help"),
        ("data", "check", "data.json"),
        ("answer", "¿Cuándo?", "--context", "text.txt", "--json"),
        ("answer", "--input", "lines.jsonl"),
    ],
)
def test_a_standard_output_that_takes_nothing(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps(GOOD))
    (tmp_path / "text.txt").write_text("Lima se fundó en 1535.")
    (tmp_path / "lines.jsonl").write_text('{"question": "¿Cuándo?", "context": "Lima se fundó en 1535."}\n')
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "destila", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    last = (
        "destila: standard output: cannot be written: No space left on device. Send it elsewhere; it is not complete."
    )
    assert done.stderr.splitlines()[-1] == last
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs privileges")
@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_disk_that_refuses(
    kind: str, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    disk, data = tmp_path / "disk", tmp_path / "data.json"
    disk.mkdir()
    options = "size=16k" if kind == "full" else "ro"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    data.write_text(json.dumps(GOOD))
    tiny = ("--model.shape.hidden", "32", "--model.shape.heads", "2", "--model.shape.layers", "1")
    small = ("--model.shape.feed_forward", "32", "--model.vocabulary_size", "300", "--training.steps", "1")
    try:
        code, _, err = run(
            *("finetune", "--data.train", str(data), "--output", str(disk / "run"), *tiny, *small),
            monkeypatch=monkeypatch,
            capsys=capsys,
        )
        assert code == 2, err
        assert ("the disk is full" if kind == "full" else "read-only") in err
        assert not list(disk.rglob("*.tmp"))
        assert not (disk / "run" / "config.json").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
