"""Which code points go on with a grapheme, asked of `tokenizers` itself.

Mental model: charsmaps look at graphemes, by a version of Unicode that the library does not tell. But a charsmap of one
key tells it: the key changes where it begins a grapheme of its own, together with what else is in the grapheme (up to
five bytes), and by itself where it stands within a longer one. So every class is a question about made-up texts.
"""

import functools
import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from tokenizers import normalizers

CODES = [*range(0xD800), *range(0xE000, 0x40000), *range(0xE0000, 0xE1000)]  # all others are alike
MARK, CHANGED = "\u0301", "\u2606"
LETTER, ACCENT, SIGN, INDIC, VIRAMA, CONSONANT = "x", "\u0340", "\u2122", "\u0958", "\u094d", "\u0915"
JOINER, PICTOGRAPH = "\u200d", "\U0001f600"


def ranges(belongs: Callable[[str], bool]) -> list[int]:
    """The code points whose characters belong to a class, flat: [first, one past the last, first, ...]."""
    flat = []
    for inside, group in groupby(CODES, lambda code: belongs(chr(code))):
        codes = list(group)
        flat += [codes[0], codes[-1] + 1] if inside else []
    return flat


@functools.cache
def grapheme_classes() -> dict[str, list[int]]:
    """The code points of each class that page/graphemes.js names."""
    joining = _where(LETTER, lambda letter: LETTER + letter, lambda _: CHANGED)
    # With the mark behind it, a key of two or three bytes is a short grapheme: unless it goes on with one.
    control = _where(ACCENT, lambda letter: letter + ACCENT + MARK, lambda letter: letter + CHANGED)
    return {
        "joining": joining,
        "control": sorted({0x0A, *control}),
        "prepend": _within(LETTER, lambda letter: letter),
        "pictograph": _within(SIGN, lambda letter: letter + JOINER),
        "extending": _within(SIGN, lambda letter: PICTOGRAPH + letter + JOINER, among=joining),
        "consonant": _within(INDIC, lambda letter: letter + VIRAMA),
        "linker": _within(INDIC, lambda letter: CONSONANT + letter, among=joining),
        "between": _within(INDIC, lambda letter: CONSONANT + letter + VIRAMA, among=joining),
    }


def _within(key: str, before: Callable[[str], str], *, among: Sequence[int] = CODES) -> list[int]:
    """The code points that let a key go on with what stands before it."""

    def text(letter: str) -> str:
        return before(letter) + key + MARK

    return _where(key, text, lambda letter: before(letter) + CHANGED + MARK, among=among)


def _where(
    key: str, text: Callable[[str], str], changed: Callable[[str], str], *, among: Sequence[int] = CODES
) -> list[int]:
    """The code points whose text changes in that way, where the charsmap has this key only."""
    letters = [chr(code) for code in among if code != 0x0A]  # the lines are told apart by what ends graphemes
    wanted = [changed(letter).replace(key, CHANGED) for letter in letters]
    found = _normalized(key, map(text, letters))
    return [ord(letter) for letter, *texts in zip(letters, wanted, found, strict=True) if texts[0] == texts[1]]


def _normalized(key: str, texts: Iterable[str]) -> list[str]:
    return str(normalizers.Precompiled(_charsmap(key.encode())).normalize_str("\n".join(texts))).split("\n")


def _charsmap(key: bytes) -> bytes:
    """A charsmap that changes one key to CHANGED: a double array of Darts, every node at a multiple of 256."""
    units = [0] * (256 * (len(key) + 2))
    units[0] = 256 << 10
    for depth, byte in enumerate(key, 1):
        place, children = 256 * depth + byte, 256 * (depth + 1)
        units[place] = (place ^ children) << 10 | (depth == len(key)) << 8 | byte
    units[256 * (len(key) + 1)] = 1 << 31  # the value: where in the texts behind the array
    return struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + CHANGED.encode() + b"\0"
