"""DataFrames of pandas and polars: the answers of the reader, row by row, and what is refused."""

import subprocess
import sys
from typing import Any

import pandas
import pytest

import destila
from destila.core.errors import UserError
from destila.inference.reader import Reader
from tiny import TEXTS, tiny_reader

polars = pytest.importorskip("polars", reason="polars is not installed (pip install 'destila[dev]')")
pytest.importorskip("narwhals", reason="narwhals is not installed (pip install 'destila[frames]')")
KINDS = [pandas.DataFrame, polars.DataFrame]
NEW = ["answer", "start", "end", "score"]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    window = {"window": {"length": 64, "stride": 16, "max_answer_tokens": 10}}
    return Reader.load(tiny_reader(tmp_path_factory.mktemp("reader"), seed=3, metadata=window))


def cells(frame: Any, name: str) -> list[Any]:
    """A column, with None for whatever the library calls a missing value."""
    return [None if value is None or pandas.isna(value) else value for value in frame[name].to_list()]


@pytest.mark.parametrize("kind", KINDS)
def test_each_row_gets_the_answer_of_the_reader(kind: Any, reader: Reader) -> None:
    rows = {"id": list("abcdef"), "question": [f"¿Qué {number}?" for number in range(6)], "context": list(TEXTS)}
    frame = kind(rows)
    found = destila.answer_frame(frame, reader=reader)
    assert type(found) is kind
    assert list(found.columns) == ["id", "question", "context", *NEW]
    assert list(frame.columns) == list(rows), "the frame that was given is as it was"
    expected = reader.answer_batch(zip(rows["question"], rows["context"], strict=True))
    assert cells(found, "id") == rows["id"]
    assert cells(found, "answer") == [answer.text for answer in expected]
    assert cells(found, "start") == [answer.start for answer in expected]
    assert cells(found, "end") == [answer.end for answer in expected]
    assert cells(found, "score") == pytest.approx([answer.score for answer in expected])
    assert all(isinstance(start, int) for start in cells(found, "start"))


@pytest.mark.parametrize("kind", KINDS)
def test_nulls_blanks_and_no_answer_are_null_and_touch_no_other_row(kind: Any, reader: Reader) -> None:
    frame = kind({"q": ["¿Qué?", None, "¿Quién?", "¿Qué?", " "], "text": [TEXTS[0], "x", None, TEXTS[2], "x"]})
    found = destila.answer_frame(frame, question="q", context="text", reader=reader)
    assert [value is None for value in cells(found, "answer")] == [False, True, True, False, True]
    assert [value is None for value in cells(found, "score")] == [False, True, True, False, True]
    assert cells(found, "answer")[3] == reader.answer("¿Qué?", TEXTS[2]).text
    refused = destila.answer_frame(frame, question="q", context="text", reader=reader, no_answer_threshold=-1e9)
    for name in ("answer", "start", "end"):
        assert cells(refused, name) == [None] * 5
    assert [value is None for value in cells(refused, "score")] == [False, True, True, False, True]


def test_the_index_of_pandas_stays(reader: Reader) -> None:
    index = pandas.MultiIndex.from_tuples([("a", 2), ("a", 1), ("a", 2)], names=["file", "line"])
    frame = pandas.DataFrame({"question": ["¿Qué?"] * 3, "context": TEXTS[:3]}, index=index)
    found = destila.answer_frame(frame, reader=reader)
    assert found.index.equals(index)
    assert found.index.names == ["file", "line"]
    assert found["answer"].to_list() == [reader.answer("¿Qué?", text).text for text in TEXTS[:3]]
    shuffled = frame.iloc[[2, 0]]
    assert destila.answer_frame(shuffled, reader=reader)["context"].to_list() == [TEXTS[2], TEXTS[0]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [0, 2])
def test_a_frame_without_a_question_has_the_columns_all_the_same(kind: Any, rows: int, reader: Reader) -> None:
    found = destila.answer_frame(kind({"question": [None] * rows, "context": [None] * rows}), reader=reader)
    assert list(found.columns) == ["question", "context", *NEW]
    assert cells(found, "answer") == [None] * rows
    whole = destila.answer_frame(kind({"question": ["¿Qué?"], "context": [TEXTS[0]]}), reader=reader)
    for name in NEW:
        assert found[name].dtype == whole[name].dtype


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"question": ["a"]}, r"frame: has no column 'context'. Name them with .*; columns: question\."),
        ({"text": ["a"]}, r"frame: 2 problems:\n  - has no column 'question'\n  - has no column 'context'"),
        ({"question": ["a"], "context": ["b"], "end": [1]}, r"frame: has a column 'end' already\. Rename it"),
        ({"question": ["a"], "context": [3]}, r"row 0: the context is 3, which is no text"),
        ({"question": ["a b " * 200], "context": [TEXTS[0]]}, r"the question of 'row 0' has \d+ tokens"),
    ],
)
def test_a_table_that_cannot_be_answered_is_refused(kind: Any, columns: Any, expected: str, reader: Reader) -> None:
    with pytest.raises(UserError, match=expected):
        destila.answer_frame(kind(columns), reader=reader)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ([{"question": "a"}], r"frame: is builtins\.list\. Give a DataFrame of pandas or polars"),
        (polars.LazyFrame({"question": ["a"]}), "collect a lazy one"),
        (pandas.Series(["a"]), "Give a DataFrame"),
        (pandas.DataFrame([["a", "b"]], columns=["x", "x"]), "frame: has two columns of one name. Rename one"),
    ],
)
def test_what_is_no_such_table_is_refused(frame: Any, expected: str, reader: Reader) -> None:
    with pytest.raises(UserError, match=expected):
        destila.answer_frame(frame, reader=reader)


def test_without_narwhals_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(UserError, match=r"needs narwhals\. pip install 'destila\[frames\]'"):
        destila.answer_frame(pandas.DataFrame())


def test_importing_it_loads_no_library_of_tables() -> None:
    code = "import destila, sys; destila.answer_frame; print({'narwhals', 'pandas', 'polars'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
