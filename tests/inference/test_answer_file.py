"""Files of questions: order, bad lines, streams, flat memory."""

import io
import json
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destila.cli import answer as command
from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.inference import jsonl
from destila.inference.jsonl import Position, pieces
from destila.inference.reader import Reader
from questions_file import GOOD, QUESTION, arguments, ask, write_questions
from tiny import TEXTS


# ------------------------------------------------------------------------------------------ lines
def test_order_is_kept_and_bad_lines_become_errors(model, places, capsys, monkeypatch):
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 200_000)
    lines = [
        b"\xef\xbb\xbf" + json.dumps(GOOD | {"id": "a"}).encode(),
        b"{not json",
        b"   ",
        json.dumps([1]).encode(),
        json.dumps({"question": QUESTION, "id": 7}).encode(),
        json.dumps({"question": QUESTION, "context": 5}).encode(),
        json.dumps({"question": " ", "context": "x"}).encode(),
        b'{"question": "a\xf1o", "context": "x"}',
        b"[" * 100_000,
        json.dumps({"question": "palabra " * 99, "context": TEXTS[0], "id": "long"}).encode(),
        b'{"question": "' + b"x" * 700_000 + b'"}',
        json.dumps({"question": "¿Qué?", "context": "\ud83d", "id": "\udc00"}).encode(),
        json.dumps(GOOD, ensure_ascii=False).encode() + b"\r",
        json.dumps(GOOD | {"context": "", "id": None}).encode(),
    ]
    places[0].write_bytes(b"\n".join(lines))
    results = ask(model, places, "--top-k", "2")
    expected = Reader.load(model).answers(QUESTION, TEXTS[0], top_k=2)
    kinds = ["error" if "error" in result else len(result["answers"]) for result in results]
    assert kinds == [2, *["error"] * 9, 1, 2, "error"]
    assert results[0]["id"] == "a"
    assert [answer["text"] for answer in results[0]["answers"]] == [answer.text for answer in expected]
    assert "line 2 is not JSON" in results[1]["error"]
    assert results[3] == {"id": 7, "error": "line 5 needs the strings question and context"}
    assert "the question is empty" in results[5]["error"]
    assert "line 10: windows of 64 tokens" in results[8]["error"]
    assert results[9] == {"error": "line 11 is longer than 200000 bytes"}
    assert results[10]["id"] == "\udc00"
    assert "id" not in results[11]
    assert results[12] == {"id": None, "error": "line 14: the context is empty"}
    assert "13 questions, 10 errors" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n \n"])
def test_a_file_without_a_question_is_refused_and_nothing_is_written(model, places, capsys, monkeypatch, content):
    places[0].write_bytes(content)
    target = f"{places[0]}: holds no question"
    with pytest.raises(UserError, match=target):
        dispatch(arguments(model, places))
    with pytest.raises(UserError, match=target):
        dispatch(["answer", "--input", str(places[0]), "--model", model])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    with pytest.raises(UserError, match="standard input: holds no question"):
        dispatch(["answer", "--input", "-", "--output", str(places[1]), "--model", model])
    assert list(places[0].parent.iterdir()) == [places[0]]
    assert capsys.readouterr().out == ""


TWO = '"question": "¿Quién fundó Lima?", "context": "Lima fue fundada por Pizarro."'


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        *((f'{{"id": {value}, {TWO}}}', "is no number of JSON") for value in ("NaN", "Infinity", "[-Infinity]")),
        (f'{{"id": 1, "score": NaN, {TWO}}}', "is no number of JSON"),  # nobody asks for it, but the line is no JSON
        *((f'{{"id": {value}, {TWO}}}', "its id cannot be written as JSON") for value in ("1e999", '{"a": [-1e999]}')),
        (f'{{"id": {"1" * 5000}, {TWO}}}', "digits"),
        (f'{{"id": 1, {TWO}, "id": 2}}', "the key 'id' stands twice"),
        (f'{{{TWO}, "question": "¿Dónde?"}}', "the key 'question' stands twice"),
        (f'{{"id": {{"a": 1, "a": 1}}, {TWO}}}', "the key 'a' stands twice"),
        ("NaN", "is no number of JSON"),
    ],
)
def test_what_is_no_json_becomes_an_error_and_never_comes_out_again(model, places, line, problem):
    places[0].write_text(f"{line}\n{json.dumps(GOOD)}\n", encoding="utf-8")
    dispatch(arguments(model, places))
    results = strict_lines(places[1])
    assert problem in results[0]["error"]
    assert "line 1" in results[0]["error"]
    assert "answers" in results[1]


def strict_lines(path):
    """The lines of a file as a parser reads them that knows JSON and UTF-8 only."""

    def refuse(constant):
        raise AssertionError(constant)

    return [json.loads(line, parse_constant=refuse) for line in path.read_bytes().decode("utf-8").splitlines()]


@pytest.mark.parametrize(
    "value",
    ['"\\ud83d"', '{"\\udc00": ["\\ud800a"]}', "1" * 4000, "1.5", "1e-999", "[null, true]", "[" * 900 + "]" * 900],
)
def test_any_other_id_comes_out_as_it_came_in(model, places, value):
    places[0].write_text(f'{{"id": {value}, {TWO}}}\n', encoding="utf-8")
    dispatch(arguments(model, places))
    (result,) = strict_lines(places[1])
    assert result["id"] == json.loads(value)


def test_no_depth_of_brackets_is_a_crash(model, places):
    lines = [f'{{"id": {"[" * depth + "]" * depth}, {TWO}}}\n' for depth in range(920, 1000)]
    places[0].write_text("".join(lines), encoding="utf-8")
    dispatch(arguments(model, places))
    lines = places[1].read_text(encoding="utf-8").splitlines()
    assert len(lines) == 80
    assert '"answers"' in lines[0]
    assert '"error"' in lines[-1]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=20), st.booleans())
def test_pieces_cover_the_file_and_can_begin_at_any_of_their_ends(lines, ended):
    content = b"\n".join(lines) + b"\n" * ended
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "LINES_AT_ONCE", 3)
        patch.setattr(jsonl, "BYTES_AT_ONCE", 20)
        patch.setattr(jsonl, "LONGEST_LINE", 8)
        whole = list(pieces(io.BytesIO(content)))
        for number, piece in enumerate(whole):
            file = io.BytesIO(content)
            file.seek(piece.start.bytes)
            assert list(pieces(file, piece.start)) == whole[number:]
    found = [line for piece in whole for line in piece.lines]
    assert found == [line if len(line.rstrip(b"\n")) <= 8 else None for line in io.BytesIO(content)]
    ends = [Position(), *(piece.end for piece in whole)]
    assert [piece.start for piece in whole] == ends[:-1]
    assert ends[-1] == Position(len(found), len(content))


def test_pieces_change_nothing(model, places, monkeypatch):
    write_questions(places[0], 40)
    whole = ask(model, places)
    monkeypatch.setattr(jsonl, "LINES_AT_ONCE", 3)
    cut = ask(model, places, "--overwrite")
    assert [result["id"] for result in whole] == list(range(40))
    assert [r["answers"][0]["start"] for r in cut] == [r["answers"][0]["start"] for r in whole]


def test_a_refused_question_does_not_keep_its_neighbors_from_running_together(model, places, monkeypatch):
    lines = [json.dumps(GOOD)] * 64
    lines[41] = json.dumps(GOOD | {"question": "palabra " * 99})
    places[0].write_text("\n".join(lines))
    reader = Reader.load(model)
    runs, logits = [], reader.model.logits
    monkeypatch.setattr(reader.model, "logits", lambda ids, mask: runs.append(len(ids)) or logits(ids, mask))
    monkeypatch.setattr(command, "_load", lambda settings: reader)
    results = ask(model, places)
    assert ["error" in result for result in results] == [place == 41 for place in range(64)]
    assert len(runs) <= 10  # alone they would be 64 runs at least


def test_streams_can_be_piped(model, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(GOOD).encode())))
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(out))
    dispatch(["answer", "--input", "-", "--model", model])
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["answers"][0]["text"] in TEXTS[0]


def test_a_stream_into_a_file_appears_whole_or_not_at_all(model, places, monkeypatch):
    def stream(*more):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(GOOD).encode())))
        return ask(model, ("-", places[1]), *more)

    assert len(stream()) == 1
    with pytest.raises(UserError, match="exists already"):
        stream()
    assert len(stream("--overwrite")) == 1
    reader = Reader.load(model)
    monkeypatch.setattr(reader.model, "logits", lambda ids, mask: (ids * float("nan"), ids * 1.0))
    monkeypatch.setattr(command, "_load", lambda settings: reader)
    before = places[1].read_bytes()
    with pytest.raises(UserError, match="not finite"):
        stream("--overwrite")
    assert places[1].read_bytes() == before
    assert [file.name for file in places[1].parent.iterdir()] == ["answers.jsonl"]


def test_a_device_is_written_to_and_not_replaced(model, places):
    write_questions(places[0], 3)
    dispatch(arguments(model, (places[0], Path("/dev/null"))))
    assert Path("/dev/null").is_char_device()


def test_memory_stays_flat(model, places, monkeypatch):
    monkeypatch.setattr(jsonl, "LINES_AT_ONCE", 16)

    def peak(lines):
        write_questions(places[0], lines)
        tracemalloc.start()
        try:
            assert len(ask(model, places, "--overwrite")) == lines
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(16)
    assert peak(640) < 1.5 * peak(64) + 500_000
