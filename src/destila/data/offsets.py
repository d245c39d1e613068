"""What an `answer_start` may count: characters as Python does, or what the program that wrote it took for characters.

JavaScript and Java count UTF-16 units, Go and Rust bytes; texts lost their `\\r`, or got one, after they were labeled;
accents were composed, white space was put in one. Which of these a file counts is seen in what its answers say: the
unit under which most of them stand where they are said to. This module mends nothing.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from destila.core.characters import HIDDEN
from destila.data.lookalikes import begins_alike
from destila.data.reading_form import clusters

Widths = NDArray[np.int64]
Stated = tuple[str, str, int]  # context, text, answer_start
CHARACTERS = "characters"
_WHITE = re.compile(r"^\s+|\s{2,}")


def _codes(context: str) -> NDArray[np.uint32]:
    return np.frombuffer(context.encode("utf-32-le", "surrogatepass"), np.uint32)


def _single(context: str) -> Widths:
    return np.ones(len(context), np.int64)


def _utf16(context: str) -> Widths:
    return 1 + (_codes(context) > 0xFFFF).astype(np.int64)


def _utf8(context: str) -> Widths:
    codes = _codes(context)
    return 1 + sum(((codes > last).astype(np.int64) for last in (0x7F, 0x7FF, 0xFFFF)), np.zeros(len(codes), np.int64))


def _without_returns(widths: Callable[[str], Widths]) -> Callable[[str], Widths]:
    def without(context: str) -> Widths:
        found = widths(context)
        found[_codes(context) == 0x0D] = 0
        return found

    return without


def _with_returns(context: str) -> Widths:
    codes, found = _codes(context), _single(context)
    found[(codes == 0x0A) & (np.append(0, codes)[:-1] != 0x0D)] = 2
    return found


def _composed(context: str) -> Widths:
    """Characters of NFC; those of a cluster count as its first."""
    if unicodedata.is_normalized("NFC", context):
        return _single(context)
    found = np.zeros(len(context), np.int64)
    for start, end in clusters(context):
        found[start] = len(unicodedata.normalize("NFC", context[start:end]))
    return found


def _decomposed(context: str) -> Widths:
    letters = {letter: len(unicodedata.normalize("NFD", letter)) for letter in set(context)}
    return np.array([letters[letter] for letter in context], np.int64)


def _that_show(context: str) -> Widths:
    found = _single(context)
    for hidden in HIDDEN.finditer(context):
        found[hidden.start()] = 0
    return found


def _in_one(context: str) -> Widths:
    """White space in one, and none at the front."""
    found = _single(context)
    for white in _WHITE.finditer(context):
        found[white.start() + (white.start() > 0) : white.end()] = 0
    return found


COMMON = (CHARACTERS, "UTF-8 bytes", "UTF-16 units")  # what one answer alone may count, whatever its file does
# The likelier first: the first of equally good ones is taken.
UNITS: dict[str, Callable[[str], Widths]] = {
    CHARACTERS: _single,
    "UTF-8 bytes": _utf8,
    "UTF-16 units": _utf16,
    r"characters without \r": _without_returns(_single),
    r"UTF-16 units without \r": _without_returns(_utf16),
    r"UTF-8 bytes without \r": _without_returns(_utf8),
    r"characters with \r before \n": _with_returns,
    "composed characters": _composed,
    "decomposed characters": _decomposed,
    "characters that show": _that_show,
    "characters with white space in one": _in_one,
}


@lru_cache(maxsize=64)  # the questions of a paragraph come one after the other
def _borders(context: str, unit: str) -> Widths:
    """How many units stand before each character, and before the end."""
    return np.append(0, UNITS[unit](context).cumsum())


def character_at(context: str, start: int, unit: str) -> int:
    """The character that `start` points at, or that it points into; the end for what lies behind it."""
    if unit == CHARACTERS:
        return min(start, len(context))
    # Characters of no width belong to what stands before them.
    return max(0, int(np.searchsorted(_borders(context, unit), start, side="right")) - 1)


def places(context: str, start: int, unit: str) -> Iterator[int]:
    """The characters that `start` may point at, that of `unit` first; none for one that is below 0."""
    if start >= 0:
        for one in dict.fromkeys((unit, *COMMON)):
            yield character_at(context, start, one)


def unit_of(answers: Iterable[Stated]) -> str:
    """The unit that explains most of the answers of a file; characters if none explains more."""
    right, wrong = list[Stated](), list[Stated]()
    for answer in answers:
        (right if _stands(answer, CHARACTERS) else wrong).append(answer)
    best, most = CHARACTERS, 0
    for unit in UNITS if wrong else ():
        won = sum(_stands(answer, unit) for answer in wrong)
        gain = won - _lost(right, unit, enough=won - most) if won > most else 0
        if gain > most:
            best, most = unit, gain
    return best


def _lost(right: Sequence[Stated], unit: str, *, enough: int) -> int:
    """How many answers that characters explain `unit` does not; counted as far as `enough`."""
    lost = 0
    for answer in right:
        lost += not _stands(answer, unit)
        if lost >= enough:
            break
    return lost


def _stands(answer: Stated, unit: str) -> bool:
    context, text, start = answer
    if start < 0:
        return False
    place = character_at(context, start, unit)
    return context.startswith(text, place) or (text not in context and begins_alike(context, text, place))
