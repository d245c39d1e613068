"""What `answer_start` counts: every unit against a count of its own, and which of them a file has."""

import random
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from destila.core.characters import without_hidden
from destila.data.offsets import CHARACTERS, UNITS, character_at, unit_of
from odd_texts import random_texts


def without_returns(text):
    return text.replace("\r", "")


# What a program had before it, when it counted the characters before an answer.
COUNTS = {
    "characters": len,
    "UTF-8 bytes": lambda text: len(text.encode()),
    "UTF-16 units": lambda text: len(text.encode("utf-16-le")) // 2,
    r"characters without \r": lambda text: len(without_returns(text)),
    r"UTF-8 bytes without \r": lambda text: len(without_returns(text).encode()),
    r"UTF-16 units without \r": lambda text: len(without_returns(text).encode("utf-16-le")) // 2,
    r"characters with \r before \n": lambda text: len(re.sub(r"(?<!\r)\n", "\r\n", text)),
    "composed characters": lambda text: len(unicodedata.normalize("NFC", text)),
    "decomposed characters": lambda text: len(unicodedata.normalize("NFD", text)),
    "characters that show": lambda text: len(without_hidden(text)),
    "characters with white space in one": lambda text: len(re.sub(r"\s+", " ", text.lstrip())),
}
# Korean letters are composed although none is a mark; no answer in Spanish begins behind them.
CONTEXTS = [text for text in random_texts(80, seed=5) if not re.search("[\u1100-\u11ff]", text)]
CONTEXTS += ["\r\na\r\n\r\nb\nc\rd", "  a  b"]
LINES = (
    "Lima fue fundada en 1535.",
    "Lima \U0001f600 está junto al mar.",
    "Lima, la ciudad  de los Reyes",
    "Lima es de Peru\u0301 y del cafe\u0301",
    "Lima ni\u00f1a biblio\u00adteca",
    "Lima y Lima",
)


def files_of(line_break, seed):
    """Contexts of lines that begin alike, and where each word stands: (context, text, place)."""
    generator = random.Random(seed)
    for _ in range(12):
        context = line_break.join(generator.choices(LINES, k=12))
        for word in re.finditer(r"Lima|1535|mar|Reyes|teca", context):
            yield context, word[0], word.start()


def test_every_unit_is_counted_in_two_ways():
    assert COUNTS.keys() == UNITS.keys()


@pytest.mark.parametrize("unit", UNITS)
@given(context=st.sampled_from(CONTEXTS))
def test_places_are_those_that_were_counted(unit, context):
    for place, letter in enumerate(context):
        if letter.isascii() and letter.isprintable() and not letter.isspace():
            assert character_at(context, COUNTS[unit](context[:place]), unit) == place


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_of_a_file_is_the_one_that_explains_most(unit):
    line_break = "\n" if "before" in unit else "\r\n"
    answers = list(files_of(line_break, seed=len(unit)))
    stated = [(context, text, COUNTS[unit](context[:place])) for context, text, place in answers]
    assert unit_of(stated) == unit
    some_wrong = [(context, text, start + 3 * (k % 5 == 0)) for k, (context, text, start) in enumerate(stated)]
    assert unit_of(some_wrong) == unit
    mixed = [(*answers[k],) if k % 3 else one for k, one in enumerate(stated)]
    assert unit_of(mixed) == CHARACTERS  # two of three


def test_characters_where_nothing_is_better():
    context = "\r\n".join(LINES)
    right = [(context, "1535", context.index("1535"))]
    assert unit_of(right) == CHARACTERS
    assert unit_of([]) == CHARACTERS
    assert unit_of([(context, "Cuzco", 40), (context, "Cuzco", -1), (context, "mar", 10**9)]) == CHARACTERS


def test_answers_in_another_form_tell_the_unit_too():
    context = "\n".join(f"{k}. Co\u0301rdoba y Me\u0301xico" for k in range(30))
    composed = unicodedata.normalize("NFC", context)
    stated = [(context, word[0], word.start()) for word in re.finditer("Córdoba|México", composed)]
    assert all(text not in context for _, text, _ in stated)
    assert unit_of(stated) == "composed characters"
