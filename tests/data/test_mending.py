"""One answer, or those of one question: where it stands, and what it becomes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from destila.data.mending import complete, locate, mend

CONTEXT = "Lima fue fundada en 1535 por Francisco Pizarro. La ciudad de Lima está a 154 m del mar."
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@pytest.mark.parametrize(
    ("text", "start", "expected", "kinds"),
    [
        ("Lima", 0, "0:Lima", []),
        ("Lima", 61, "61:Lima", []),
        ("1535 ", 20, "20:1535", ["spaces"]),
        (" 1535", 19, "20:1535", ["spaces"]),
        ("1535\n", 20, "20:1535", ["spaces", "mismatch"]),
        ("Lima", 55, "61:Lima", ["mismatch"]),
        ("Lima", 9, "0:Lima", ["mismatch"]),
        ("Lima", -1, "0:Lima", ["mismatch"]),
        ("Lima", 10_000, "61:Lima", ["mismatch"]),
        ("Pizarr", 39, "39:Pizarro", ["cut"]),
        ("izarro", 40, "39:Pizarro", ["cut"]),
        ("53", 21, "20:1535", ["cut"]),
        ("ancisco Piz ", 31, "29:Francisco Pizarro", ["spaces", "mismatch", "cut"]),
        ("Cuzco", 0, None, ["absent"]),
        ("lima", 0, None, ["absent"]),
        ("", -1, None, ["void"]),
        (" \n", 4, None, ["void"]),
    ],
)
def test_mend_one_answer(text: str, start: int, expected: str | None, kinds: list[str]) -> None:
    ((span, found),) = mend(CONTEXT, [(text, start)])
    assert (f"{span[0]}:{CONTEXT[slice(*span)]}" if span else None) == expected
    assert found == kinds


@pytest.mark.parametrize(
    ("context", "part", "whole"),
    [
        ("los gases químicos", "gas", "gases"),
        ("el nombre del Papa", "el Papa", "del Papa"),
        ("mide 30km de largo", "30", "30"),  # a unit is not the rest of a number
        ("son 494.665 almas", "4.665", "494.665"),
        ("un cafe\u0301 solo", "cafe", "cafe\u0301"),  # a combining accent belongs to its letter
        ("llamada 日本の歴史 en Japón", "日本", "日本"),  # no spaces: nothing says where a word ends
        ("el bien-estar", "bien", "bien"),
        ("la isla llamadaNueva Holanda", "Nueva Holanda", "Nueva Holanda"),  # a space is missing
        ("en el añoÁvila creció", "Ávila", "Ávila"),
        ("el cafe\u0301Real", "Real", "Real"),  # the letter under the accent is a small one
        ("en 1535Pizarro", "Pizarro", "Pizarro"),
        ("mide 30km", "km", "km"),
        ("la ONU y la OTAN", "TAN", "OTAN"),  # capitals follow capitals
        ("el señor McDonald", "Mc", "Mc"),
    ],
)
def test_complete_words(context: str, part: str, whole: str) -> None:
    start = context.rindex(part)
    assert context[slice(*complete(context, start, start + len(part)))] == whole


WITHOUT_AB = TEXT.map(lambda text: text.replace("a", "").replace("b", ""))


@given(before=WITHOUT_AB, text=st.text("ab", min_size=1, max_size=4), after=WITHOUT_AB)
def test_offsets_in_bytes_or_utf16_units_are_understood(before: str, text: str, after: str) -> None:
    # The right place is the second of two, and the wrong offset often lies nearer to a third.
    context = f"{text} 😀 {before} {text} {after} {text}"
    start = len(f"{text} 😀 {before} ")
    for wrong in (len(context[:start].encode()), len(context[:start].encode("utf-16-le")) // 2):
        if not context.startswith(text, wrong):
            assert locate(context, text, wrong) == (start, start + len(text))


def test_long_runs_of_letters_take_no_long_time() -> None:
    assert locate("b" * 200_000, "b", -1) == (0, 1)  # one look at each occurrence, not one walk


def test_search_prefers_whole_words_and_then_the_nearest() -> None:
    context = "del mar, el sol del mar y el pan"
    assert locate(context, "el", 16) == (9, 11)  # not the "el" of "del" at 17
    assert locate(context, "el", 22) == (26, 28)


@pytest.mark.parametrize(
    ("context", "answers", "expected"),
    [
        # The text stands whole elsewhere, and another gold says so: it is not lengthened where it stands in a word.
        ("el sol; las girasoles", [("sol", 3), ("sol", 16)], ["sol", "sol"]),
        ("el sol; las girasoles", [("sol", 16)], ["girasoles"]),
        ("un gas y los gases", [("gas", 13), ("gas", 3), ("gase", 13)], ["gas", "gas", "gases"]),
        ("el año de los años", [("año", 14), ("el año", 0)], ["años", "el año"]),
    ],
)
def test_an_answer_that_another_gives_whole_is_not_lengthened(context, answers, expected):
    mended = mend(context, answers)
    assert [context[slice(*span)] for span, _ in mended] == expected
    for (text, _), (span, kinds) in zip(answers, mended, strict=True):
        assert ("cut" in kinds) == (context[slice(*span)] != text)
    again = [(context[slice(*span)], span[0]) for span, _ in mended]
    assert [span for span, _ in mend(context, again)] == [span for span, _ in mended]
