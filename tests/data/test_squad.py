"""Files <-> examples: round trips, every kind of problem and its repair, every kind of broken file."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from destila.core.errors import UserError
from destila.core.records import Answer, Example
from destila.data.squad import ENDINGS, read, save

CONTEXT = "Lima fue fundada en 1535 por Francisco Pizarro. La ciudad de Lima está a 154 m del mar."


def squad(questions: list[dict], context: str = CONTEXT) -> dict:
    return {"data": [{"title": "Lima", "paragraphs": [{"context": context, "qas": questions}]}]}


def question(answers: list[tuple[str, int]], **more: object) -> dict:
    stated = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": "q1", "question": "¿Qué?", "answers": stated, **more}


def write(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def message(path: Path, *, repair: bool = False) -> str:
    with pytest.raises(UserError) as caught:
        read(path, repair=repair)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------- round trips
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
VISIBLE = TEXT.filter(str.strip)


@st.composite
def data_sets(draw: st.DrawFn) -> list[Example]:
    examples = []
    contexts = draw(st.lists(VISIBLE, min_size=1, max_size=3))
    for number in range(draw(st.integers(1, 5))):
        context = draw(st.sampled_from(contexts))
        spans = draw(st.lists(st.tuples(st.integers(0, len(context)), st.integers(0, len(context))), max_size=3))
        answers = [Answer.at(context, min(span), max(span)) for span in spans]
        answers = [answer for answer in answers if answer.text.strip()]
        labeled = bool(answers) or draw(st.booleans())
        identifier = f"{number}{draw(TEXT)}"
        title, source = draw(st.sampled_from(["", "Lima", draw(TEXT)])), draw(st.sampled_from(["", "sqac"]))
        examples.append(Example(identifier, draw(VISIBLE), context, tuple(answers), title, source, labeled))
    return examples


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(examples=data_sets())
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_saved_is_read_back_equal(tmp_path: Path, ending: str, examples: list[Example]) -> None:
    save(examples, tmp_path / f"data{ending}")
    assert read(tmp_path / f"data{ending}", repair=False)[0] == examples


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(examples=data_sets())
def test_repair_is_idempotent(tmp_path: Path, examples: list[Example]) -> None:
    save(examples, tmp_path / "data.json")
    mended, _ = read(tmp_path / "data.json", repair=True)
    save(mended, tmp_path / "mended.json")
    again, counts = read(tmp_path / "mended.json", repair=True)
    assert again == mended
    assert counts.problems == {}


def test_squad_version_follows_the_questions(tmp_path: Path) -> None:
    answered = Example("a", "¿Dónde?", CONTEXT, (Answer.at(CONTEXT, 0, 4),), "Lima")
    save([answered], tmp_path / "one.json")
    one = json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))
    assert one["version"] == "1.1"
    assert "is_impossible" not in one["data"][0]["paragraphs"][0]["qas"][0]
    save([answered, replace(answered, id="b", answers=())], tmp_path / "two.json")
    two = json.loads((tmp_path / "two.json").read_text(encoding="utf-8"))
    assert two["version"] == "v2.0"
    assert len(two["data"]) == len(two["data"][0]["paragraphs"]) == 1
    assert [entry["is_impossible"] for entry in two["data"][0]["paragraphs"][0]["qas"]] == [False, True]


def test_parquet_has_the_columns_of_the_hub(tmp_path: Path) -> None:
    import pyarrow.parquet

    save([Example("a", "¿Dónde?", CONTEXT, (Answer.at(CONTEXT, 0, 4),), "Lima")], tmp_path / "data.parquet")
    row = pyarrow.parquet.read_table(tmp_path / "data.parquet").to_pylist()[0]
    assert row["answers"] == {"text": ["Lima"], "answer_start": [0]}
    assert {"id", "title", "context", "question", "answers"} <= set(row)


# ---------------------------------------------------------------------------------------------------- labels
@pytest.mark.parametrize(
    ("row", "labeled"),
    [
        ({}, False),
        ({"answers": None}, False),
        ({"answers": []}, True),
        ({"answers": {"text": [], "answer_start": []}}, True),
        ({"is_impossible": True}, True),
    ],
)
def test_json_lines_without_answers(tmp_path: Path, row: dict, labeled: bool) -> None:
    path = write(tmp_path / "data.jsonl", {"question": "¿Qué?", "context": CONTEXT, **row})
    examples, _ = read(path, repair=False)
    assert examples == [Example("1", "¿Qué?", CONTEXT, labeled=labeled)]


def test_whole_numbers_may_be_written_with_a_point(tmp_path: Path) -> None:
    """As pandas writes a column in which a number was missing."""
    rows = [{"text": ["Lima"], "answer_start": [12.0]}, [{"text": "Lima", "answer_start": 12.0}]]
    asked = {"context": "Ana vive en Lima.", "question": "¿Dónde?"}
    lines = [{"id": str(number), **asked, "answers": row} for number, row in enumerate(rows)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    assert [example.answers[0].start for example in read(path, repair=False)[0]] == [12, 12]
    path.write_text(json.dumps(lines[0]).replace("12.0", "12.5"))
    with pytest.raises(UserError, match=r"answer_start\[0\] is 12.5, not a whole number"):
        read(path, repair=False)


def test_json_lines_take_both_forms_of_answers_and_count_lines_as_ids(tmp_path: Path) -> None:
    base = {"question": "¿Qué?", "context": CONTEXT}
    rows = [
        base | {"id": 7, "answers": [{"text": "Lima", "answer_start": 0}]},
        base | {"answers": {"text": ["Lima", "1535"], "answer_start": [0, 20]}},
    ]
    path = tmp_path / "data.jsonl"
    # U+2028 ends no line, a byte order mark and blank lines are nothing.
    rows[0]["question"] = "¿Qué\u2028es?"
    lines = [json.dumps(rows[0], ensure_ascii=False), "", json.dumps(rows[1], ensure_ascii=False), ""]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    examples, _ = read(path, repair=False)
    assert [example.id for example in examples] == ["7", "3"]
    assert examples[0].question == "¿Qué\u2028es?"
    assert [answer.text for answer in examples[1].answers] == ["Lima", "1535"]


def test_a_squad_question_without_answers_is_unlabeled_unless_marked_impossible(tmp_path: Path) -> None:
    questions = [question([]), question([], id="q2", is_impossible=True)]
    examples, counts = read(write(tmp_path / "data.json", squad(questions)), repair=False)
    assert [example.labeled for example in examples] == [False, True]
    assert (counts.after.unlabeled, counts.after.unanswerable) == (1, 1)


# ---------------------------------------------------------------------------------------------------- whole questions
@pytest.mark.parametrize(
    ("questions", "kinds", "answers"),
    [
        ([question([("", -1), ("Lima", 0)])], {"void": 1}, [["Lima"]]),
        ([question([("", -1), ("", -1)])], {"void": 2, "unanswered": 1}, None),
        ([question([("", -1)], is_impossible=False)], {"void": 1, "unanswered": 1}, None),
        ([question([("", -1)], is_impossible=True)], {"void": 1}, [[]]),
        ([question([], is_impossible=False)], {"unanswered": 1}, None),
        ([question([("Cuzco", 0)])], {"absent": 1, "unanswered": 1}, None),
        ([question([("Lima", 0)], is_impossible=True)], {"contradiction": 1}, None),
        ([question([("Lima", 0)], question="  ")], {"blank-question": 1}, None),
        ([question([("Lima", 0)]), question([("1535", 20)])], {"duplicate-id": 1}, [["Lima"]]),
        ([question([("Lima", 0), ("Lima", 5), ("Lim", 0)])], {"mismatch": 1, "cut": 1, "duplicate": 2}, [["Lima"]]),
    ],
)
def test_repair_of_questions(tmp_path: Path, questions: list[dict], kinds: dict, answers: list | None) -> None:
    spare = question([("Lima", 0)], id="spare")
    path = write(tmp_path / "data.json", squad([*questions, spare]))
    examples, counts = read(path, repair=True)
    assert dict(counts.problems) == kinds
    assert examples[-1].id == "spare"
    assert [[answer.text for answer in example.answers] for example in examples[:-1]] == (answers or [])
    fates = counts.kept + counts.mended + counts.merged + counts.dropped
    assert fates == counts.before.answers == sum(len(entry["answers"]) for entry in [*questions, spare])
    assert counts.after.answers == counts.kept + counts.mended
    with pytest.raises(UserError):
        read(path, repair=False)


def test_blemishes_are_kept_as_they_are_without_repair(tmp_path: Path) -> None:
    path = write(tmp_path / "data.json", squad([question([("Lima ", 0), ("Lim", 0), ("Lim", 0)])]))
    examples, counts = read(path, repair=False)
    assert [answer.text for answer in examples[0].answers] == ["Lima ", "Lim", "Lim"]
    assert dict(counts.problems) == {"spaces": 1, "cut": 2, "duplicate": 1}


def test_refusal_says_where_what_and_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path / "es.json", squad([question([("Lima", 2), ("1535", 20)], id="5a3f")]))
    assert message(path) == (
        f"{path}: 1 of 2 answers do not match their context (1 mismatch): id 5a3f: answer_start 2 gives 'ma f' where "
        "the answer is 'Lima'. Fix the file, or pass --repair (in training --data.repair) to mend what can be mended "
        "and drop the rest."
    )


def test_refusal_shows_ten_and_counts_all(tmp_path: Path) -> None:
    path = write(tmp_path / "es.json", squad([question([("Cuzco", 0)], id=f"q{number}") for number in range(30)]))
    shown = message(path)
    assert "30 of 30 answers do not match their context; 30 of 30 questions cannot be used" in shown
    assert "(30 absent, 30 unanswered)" in shown
    assert shown.count("\n  - id q") == 10
    assert "and 50 more" in shown


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    assert "no usable question" in message(write(tmp_path / "a.json", squad([question([("Cuzco", 0)])])), repair=True)
    assert "has no questions" in message(write(tmp_path / "b.json", {"data": []}), repair=True)


# ---------------------------------------------------------------------------------------------------- broken files
@pytest.mark.parametrize("repair", [True, False])
def test_all_wrong_types_are_named_with_their_places(tmp_path: Path, repair: bool) -> None:
    document = squad([question([("Lima", 0)]), question([("Lima", 0)], id=None, question=3), 5])
    document["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = "0"
    document["data"] += ["x", {"title": 1, "paragraphs": {}}, {"paragraphs": [{"qas": []}]}]
    shown = message(write(tmp_path / "data.json", document), repair=repair)
    for problem in [
        "data[0].paragraphs[0].qas[0].answers[0].answer_start is '0', not a whole number",
        "data[0].paragraphs[0].qas[1].id is None, not a text",
        "data[0].paragraphs[0].qas[1].question is 3, not a text",
        "data[0].paragraphs[0].qas[2] is 5, not an object",
        "data[1] is 'x', not an object",
        "data[2].title is 1, not a text",
        "data[2].paragraphs is {}, not a list",
        "data[3].paragraphs[0].context is missing",
    ]:
        assert f"\n  - {problem}" in shown


def test_all_bad_json_lines_are_named(tmp_path: Path) -> None:
    good = {"question": "¿Qué?", "context": CONTEXT}
    rows = [
        good,
        good | {"answers": {"text": ["Lima"], "answer_start": []}},
        good | {"answers": {"text": ["Lima"], "answer_start": [True]}},
        good | {"answers": [{"text": "Lima", "answer_start": False}]},
        {"question": "¿Qué?"},
        good | {"is_impossible": "no"},
        [],
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join([*(json.dumps(row) for row in rows), '{"question": "¿Q']), encoding="utf-8")
    shown = message(path, repair=True)
    for problem in [
        "line 2: answers has 1 texts, but 0 values of answer_start",
        "line 3: answers.answer_start[0] is True, not a whole number",
        "line 4: answers[0].answer_start is False, not a whole number",
        "line 5: context is missing",
        "line 6: is_impossible is 'no', not true or false",
        "line 7 is [], not an object",
        "line 8 is not JSON: Unterminated string starting at column 14",
    ]:
        assert f"\n  - {problem}" in shown


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("data.json", b"", "is empty"),
        ("data.jsonl", b"\n \n", "is empty"),
        (
            "data.json",
            b'{"data": [\n {"title": "Lima',
            "Unterminated string starting at line 2, column 12. Was it cut",
        ),
        ("data.json", b'{"a": 1}\n{"a": 2}\n', "JSONL: name it .jsonl"),
        ("data.json", b"[]", "holds list, not an object"),
        ("data.json", b'{"title": "Lima"}', "data is missing"),
        ("data.json", b'{"data": ' + b"9" * 5000 + b"}", "is not JSON that can be read"),
        ("data.json", b"[" * 200_000, "is not JSON that can be read"),
        ("data.json", '{"data": "ñ"}'.encode("latin-1"), "is not UTF-8: byte 0xF1 at offset 10"),
        ("data.json", b"\xef\xbb\xbf" + '{"data": "ñ"}'.encode("latin-1"), "is not UTF-8: byte 0xF1 at offset 13"),
        ("data.json", '{"data": []}'.encode("utf-16"), "it looks like UTF-16"),
        ("data.csv", b"id,question\n", "has the unknown ending '.csv'"),
        ("data", b"{}", "has no ending"),
        ("data.parquet", b"PAR1 but then no more", "is not a whole Parquet file"),
        ("data.parquet", b"", "is not a whole Parquet file"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert expected in message(tmp_path / name, repair=True)


def test_missing_files_and_directories(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    assert "does not exist" in message(tmp_path / "none.json")
    assert "is a directory" in message(tmp_path / "folder.json")


@pytest.mark.parametrize("place", ["id", "question", "context", "title", "answer"])
@pytest.mark.parametrize(("bad", "name"), [("\0", "a NUL character"), ("\ud83d", "an unpaired surrogate (U+D83D)")])
def test_texts_that_no_tool_takes(tmp_path: Path, place: str, bad: str, name: str) -> None:
    entry = question([("Lima", 0)])
    document = squad([entry], context=CONTEXT + (bad if place == "context" else ""))
    if place == "answer":
        entry["answers"][0]["text"] += bad
    elif place == "title":
        document["data"][0]["title"] += bad
    elif place != "context":
        entry[place] += bad
    path = tmp_path / "data.json"
    path.write_text(json.dumps(document), encoding="ascii")  # as \ud83d, which is legal JSON
    shown = message(path, repair=True)
    assert f"holds {name} at character" in shown
    assert "data[0].paragraphs[0].qas[0] (id q1" in shown


def test_an_empty_context_is_an_error(tmp_path: Path) -> None:
    assert "the context is empty" in message(write(tmp_path / "data.json", squad([question([])], " ")), repair=True)


def test_foreign_and_cut_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "data.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"], "label": [1]}), path)
    shown = message(path)
    assert "has no column 'question'; its columns are text, label" in shown
    assert "has no column 'context'" in shown
    pyarrow.parquet.write_table(pyarrow.table({"question": [1], "context": [b"x"]}), path)
    assert "row 0: question is 1, not a text" in message(path)
    save([Example("a", "¿Qué?", CONTEXT)], path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "is not a whole Parquet file" in message(path)


def test_without_pyarrow_parquet_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'destila[data]'" in message(tmp_path / "data.parquet")


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(TypeError):
        save([Example("a", "¿Qué?", CONTEXT), Example("b", object(), CONTEXT)], path)  # type: ignore[arg-type]
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
