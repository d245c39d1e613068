"""`destila answer` from the command line's dispatch to its output."""

import io
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.inference.reader import Reader
from tiny import TEXTS, tiny_reader

QUESTION = "¿Quién fundó Lima?"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    window = {"length": 64, "stride": 16, "max_answer_tokens": 10}
    return str(tiny_reader(tmp_path_factory.mktemp("model"), seed=3, metadata={"window": window}))


@pytest.fixture
def context(tmp_path):
    path = tmp_path / "texto.txt"
    path.write_bytes("\r\n".join(TEXTS).encode())
    return path


def standard_input(monkeypatch, content):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


# ---------------------------------------------------------------------------------------------------- one question
def test_json_is_one_object_with_exact_answers(model, context, capsys):
    dispatch(["answer", QUESTION, "--context", str(context), "--model", model, "--top-k", "3", "--json"])
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    answers = json.loads(out)["answers"]
    assert len(answers) == 3
    text = context.read_bytes().decode()
    for answer in answers:
        assert list(answer) == ["text", "start", "end", "score", "probability"]
        assert answer["text"] == text[answer["start"] : answer["end"]]
        assert 0 <= answer["score"] <= 1


def test_people_get_a_line_an_answer(model, context, capsys):
    dispatch(["answer", QUESTION, "--context", str(context), "--model", model, "--top-k", "2"])
    lines = capsys.readouterr().out.splitlines()
    expected = Reader.load(model).answers(QUESTION, context.read_bytes().decode(), top_k=2)
    assert len(lines) == 2
    for line, answer in zip(lines, expected, strict=True):
        assert line.startswith(" ".join(answer.text.split()))
        assert line.endswith(f"(score {answer.score:.3f}, characters {answer.start}-{answer.end})")


def test_only_a_short_text_is_read_by_a_lean_reader(model, tmp_path, capsys, monkeypatch):
    seen, load = [], Reader.load
    monkeypatch.setattr(Reader, "load", lambda name, *, lean, **more: seen.append(lean) or load(name, **more))
    for repeated in (1, 30_000 // len(TEXTS[0])):
        path = tmp_path / f"{repeated}.txt"
        path.write_text(TEXTS[0] * repeated, encoding="utf-8")
        dispatch(["answer", QUESTION, "--context", str(path), "--model", model])
    assert seen == [True, False]


def test_standard_input_is_a_context(model, context, capsys, monkeypatch):
    arguments = ["answer", QUESTION, "--model", model, "--json", "--context"]
    dispatch([*arguments, str(context)])
    standard_input(monkeypatch, context.read_bytes())
    dispatch([*arguments, "-"])
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


def test_a_refusal_shows_the_best_guess_and_people_may_insist(model, context, capsys):
    def shown(*more):
        dispatch(["answer", QUESTION, "--context", str(context), "--model", model, *more])
        return capsys.readouterr().out.splitlines()

    shy = ["--no-answer-threshold", "-1000"]
    insisted = shown("--must-answer")
    none, guess = shown(*shy)
    assert none.startswith("no answer (score 0.")
    assert guess == f"    best guess: {insisted[0]}"
    assert shown(*shy, "--top-k", "2") == [none, insisted[0]]
    (line,) = shown(*shy, "--json")
    (wanted,) = json.loads(shown("--must-answer", "--json")[0])["answers"]
    refused = json.loads(line)
    assert [answer["text"] for answer in refused["answers"]] == [None]
    assert refused["guess"] == wanted
    assert shown("--no-answer-threshold", "1000") == insisted
    with pytest.raises(UserError, match="Give one of the two"):
        shown("--must-answer", *shy)


@pytest.mark.parametrize("content", [b"", b" \n", "\t\u3000".encode()])
def test_a_text_that_says_nothing_is_refused(model, monkeypatch, content):
    standard_input(monkeypatch, content)
    with pytest.raises(UserError, match="standard input: holds no text"):
        dispatch(["answer", QUESTION, "--model", model, "--context", "-"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\xf1o \x81", r"neither UTF-8 \(byte 1 is 0xf1\) nor Windows-1252"),
        (b"uno\0dos", r"not text \(character 3 is NUL\)\. These are read: \.txt"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", r"not text \(byte 4 is 0x00\)\. These are read: \.txt"),
        (b"PK\x03\x04 una hoja", r"of no kind that can be read\. These are read: \.txt"),
        (b"%PDF-1.7", "is a PDF, not plain text"),
        (None, "No such file|no such file"),
    ],
)
def test_contexts_that_are_no_text_are_refused(model, tmp_path, content, message):
    path = tmp_path / "texto.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        dispatch(["answer", QUESTION, "--context", str(path), "--model", model])
    assert caught.value.where == str(path)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("encoding", "note"),
    [("utf-8", ""), ("utf-8-sig", ""), ("utf-16", ""), ("cp1252", "is not UTF-8 and was read as Windows-1252.\n")],
)
@pytest.mark.parametrize("name", ["-", "texto.txt", "sin_nombre"])
def test_every_encoding_gives_the_same_answer(model, context, tmp_path, monkeypatch, capsys, encoding, note, name):
    path = tmp_path / name
    text = context.read_bytes().decode()
    path.write_bytes(text.encode(encoding))
    standard_input(monkeypatch, path.read_bytes())
    place = name if name == "-" else str(path)
    dispatch(["answer", QUESTION, "--context", place, "--model", model, "--json"])
    out, err = capsys.readouterr()
    expected = Reader.load(model).answer(QUESTION, text)
    assert json.loads(out)["answers"] == [asdict(expected)]
    assert err.endswith(note and f"{'standard input' if name == '-' else path}: {note}")
    assert ("1252" in err) == bool(note)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no question"),
        ([QUESTION], "no text to answer from"),
        (["--context", "CONTEXT"], "no question"),
        (["", "--context", "CONTEXT"], "question: is empty"),
        ([" ", "--context", "CONTEXT"], "question: is empty"),
        (["a\udcf1o", "--context", "CONTEXT"], "not valid UTF-8"),
        (["palabra " * 99, "--context", "CONTEXT"], "windows of 64 tokens: the question"),
        ([QUESTION, "--context", "CONTEXT", "--output", "x"], "--output goes with --input"),
        ([QUESTION, "--input", "x"], "leave QUESTION"),
        (["--input", "/nowhere/x.jsonl"], "no such file"),
        (["--input", "CONTEXT", "--output", "DIRECTORY"], "is a directory"),
        (["--input", "CONTEXT", "--output", "CONTEXT"], "is the input, too"),
        ([QUESTION, "--context", "CONTEXT", "--top-k", "0"], "--top-k"),
        ([QUESTION, "--context", "CONTEXT", "--model", "/nowhere/model"], "/nowhere/model"),
    ],
)
def test_bad_usage_is_explained(model, context, tmp_path, arguments, message):
    places = {"CONTEXT": str(context), "DIRECTORY": str(tmp_path)}
    arguments = [places.get(argument, argument) for argument in arguments]
    with pytest.raises(UserError, match=message):
        dispatch(["answer", *arguments, *["--model", model] * ("--model" not in arguments)])
    assert context.read_bytes().decode() == "\r\n".join(TEXTS), "an input was touched"


def test_the_process_leaves_with_two_and_no_traceback(model, tmp_path):
    arguments = [sys.executable, "-m", "destila", "answer", "--model", model, b"a\xf1o", "--context", str(tmp_path)]
    result = subprocess.run(arguments, capture_output=True, env=os.environ | {"PYTHONUTF8": "1"})
    assert result.returncode == 2
    assert result.stdout == b""
    assert result.stderr == (
        b"destila: the question: is not valid UTF-8. Set the terminal to UTF-8, or put the question into a file.\n"
    )


@pytest.mark.parametrize("setting", ["file_bytes", "characters"])
def test_a_text_is_read_within_limits_wherever_it_comes_from(model, tmp_path, monkeypatch, setting):
    path = tmp_path / "largo.log"
    path.write_bytes(b"Lima. " * 1000)
    for name in (str(path), "-"):
        standard_input(monkeypatch, path.read_bytes())
        with pytest.raises(UserError, match=rf"documents\.{setting}"):
            dispatch(["answer", QUESTION, "--context", name, "--model", model, f"--documents.{setting}", "1000"])


def test_a_text_steers_no_terminal(model, tmp_path, capsys):
    path = tmp_path / "orden.txt"
    path.write_text("\x1bc\u202e Lima \x9b31m", encoding="utf-8")
    dispatch(["answer", QUESTION, "--context", str(path), "--model", model, "--top-k", "3", "--must-answer"])
    assert not any(letter in capsys.readouterr().out for letter in "\x1b\x9b\u202e")
    command = [sys.executable, "-m", "destila", "answer", QUESTION, "--model", model, "--context"]
    result = subprocess.run([*command, str(tmp_path / "\x1b[31mROJO.pdf")], capture_output=True)
    assert result.returncode == 2
    assert b"ROJO.pdf" in result.stderr
    assert b"\x1b" not in result.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_the_caller_closed_break_nothing(model, context, closed):
    command = shlex.join([sys.executable, "-m", "destila", "answer", QUESTION, "--model", model, "--context"])
    result = subprocess.run(f"{command} {shlex.quote(str(context))} {closed}", shell=True, capture_output=True)
    assert (result.returncode, result.stderr) == (0, b"")
    result = subprocess.run(f"{command} - {closed}", shell=True, capture_output=True, stdin=subprocess.DEVNULL)
    assert result.returncode == 2
    assert b"Traceback" not in result.stderr


def test_time_is_linear_in_the_text(model, tmp_path):
    reader = Reader.load(model)

    def seconds(copies):
        text = " ".join(TEXTS * copies)
        started = time.perf_counter()
        answer = reader.answer(QUESTION, text)
        assert answer.text == text[answer.start : answer.end]
        return time.perf_counter() - started

    seconds(10)
    assert seconds(400) < 10 * seconds(80)  # 5 times the text; a quadratic path would take 25 times as long
