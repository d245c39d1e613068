"""Whole files of answers: in what they count, in which form they are written, repaired and as published."""

import json
import re
import unicodedata
from pathlib import Path

import pytest

from destila.core.errors import UserError
from destila.data.squad import read, read_gold

LINES = [
    f"El {name} mide 30\u00a0km y nace en {place}." for name in ("Ebro", "Tajo", "Miño") for place in ("León", "Lugo")
]
CONTEXT = "\r\n".join(LINES * 3)


def write(path: Path, answers: list[list[tuple[str, int]]], context: str = CONTEXT, **more: object) -> Path:
    questions = [
        {"id": f"q{k}", "question": "¿Qué?", "answers": [{"text": t, "answer_start": s} for t, s in golds], **more}
        for k, golds in enumerate(answers)
    ]
    document = {"data": [{"title": "Ríos", "paragraphs": [{"context": context, "qas": questions}]}]}
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def places(word: str) -> list[int]:
    return [found.start() for found in re.finditer(word, CONTEXT)]


COUNTS = {
    r"characters without \r": lambda text: len(text.replace("\r", "")),
    "UTF-8 bytes": lambda text: len(text.encode()),
    "decomposed characters": lambda text: len(unicodedata.normalize("NFD", text)),
}


@pytest.mark.parametrize("unit", COUNTS)
def test_answers_are_on_the_line_that_was_meant(tmp_path: Path, unit: str) -> None:
    # Every word stands on many lines: the nearest one is often that of another line.
    right = [(word, place) for word in ("Tajo", "León", "El", "e") for place in places(word)]
    path = write(tmp_path / "rios.json", [[(text, COUNTS[unit](CONTEXT[:place]))] for text, place in right])
    examples, counts = read(path, repair=True)
    assert counts.unit == unit
    for example, (text, place) in zip(examples, right, strict=True):
        (gold,) = example.answers
        assert gold.text == CONTEXT[gold.start : gold.end]
        assert gold.start is not None
        assert gold.start <= place < gold.end  # the word, if it was cut
        assert text in gold.text
    with pytest.raises(UserError, match=re.escape(f"answer_start seems to count {unit}")):
        read(path, repair=False)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("30 km", "30\u00a0km"),
        (unicodedata.normalize("NFD", "León"), "León"),
        ("Ta\u00adjo", "Tajo"),
        ("nace en León. El", "nace en León.\r\nEl"),
    ],
)
def test_an_answer_in_other_characters_is_not_absent(tmp_path: Path, text: str, found: str) -> None:
    start = CONTEXT.index(found, 100)
    path = write(tmp_path / "rios.json", [[(text, start)], [("Tajo", places("Tajo")[0])]])
    examples, counts = read(path, repair=True)
    assert dict(counts.problems) == {"look-alike": 1}
    assert counts.mended == 1
    (gold,) = examples[0].answers
    assert (gold.text, gold.start) == (found, start)
    with pytest.raises(UserError, match="only looks like what is there"):
        read(path, repair=False)


def test_published_answers_keep_their_texts(tmp_path: Path) -> None:
    tajo = places("Tajo")[1]
    stated = [
        [("Tajo", tajo), ("Taj", tajo), (" Tajo ", 0), ("Tajo", tajo + 2)],
        [("", -1)],
        [("Duero", 4), ("tajo", tajo)],
        [("30 km", 10), ("30\u00a0km", -1)],
    ]
    path = write(tmp_path / "rios.json", stated)
    examples, counts = read_gold(path, gold="published")
    assert [[gold.text for gold in example.answers] for example in examples] == [
        [t for t, _ in golds] for golds in stated
    ]
    assert all(example.labeled for example in examples)
    for example in examples:
        for gold in example.answers:
            assert gold.start is None or gold.text == example.context[gold.start : gold.end]
    assert [[gold.start is not None for gold in one.answers] for one in examples] == [
        [True, True, True, True],
        [False],
        [False, False],
        [False, True],
    ]
    assert examples[0].answers[3].start == tajo  # the nearest, for those who want to show it
    assert (counts.kept, counts.mended, counts.merged, counts.dropped) == (9, 0, 0, 0)
    assert counts.problems.keys() == {
        "void",
        "mismatch",
        "look-alike",
        "absent",
        "spaces",
        "cut",
        "duplicate",
        "unanswered",
    }


def test_published_questions_are_answerable_if_they_have_answers(tmp_path: Path) -> None:
    read_one = lambda path: read_gold(path, gold="published")[0][0]  # noqa: E731
    contradiction = read_one(write(tmp_path / "a.json", [[("Tajo", 3)]], is_impossible=True))
    assert [gold.text for gold in contradiction.answers] == ["Tajo"]
    nothing = read_one(write(tmp_path / "b.json", [[]], is_impossible=False))
    assert nothing.labeled
    assert nothing.answers == ()
    assert not read_one(write(tmp_path / "c.json", [[]])).labeled


@pytest.mark.parametrize("field", [{"id": "same"}, {"question": " "}])
def test_what_no_script_can_score_is_refused(tmp_path: Path, field: dict[str, str]) -> None:
    path = write(tmp_path / "rios.json", [[("Tajo", 3)], [("Miño", 3)]], **field)
    with pytest.raises(UserError, match="pass --repair"):
        read_gold(path, gold="published")
