"""Tables of normal forms C and KC for page/composition.js: of Python, or of `tokenizers`, whose Unicode differs.

This module reads no tokenizer.
"""

import functools
import unicodedata
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

from tokenizers import normalizers

from destila.export.web.graphemes import CODES

HANGUL = range(0xAC00, 0xD7A4)  # computed, not listed


def python_composition() -> dict[str, Any]:
    """Of normal form C in `unicodedata`."""
    canonical = {chr(code): unicodedata.normalize("NFD", chr(code)) for code in CODES}
    marks = {code: number for code in CODES if (number := unicodedata.combining(chr(code)))}
    return _tables(canonical, canonical, lambda text: unicodedata.normalize("NFC", text), marks)


@functools.cache
def tokenizers_composition(*, compatible: bool) -> dict[str, Any]:
    """Of normal form C in `tokenizers`; `compatible`: of KC."""
    canonical = _decompositions(normalizers.NFD())
    shown = _decompositions(normalizers.NFKD()) if compatible else canonical
    return _tables(shown, canonical, normalizers.NFC().normalize_str, _marks())


def _tables(
    shown: Mapping[str, str], canonical: Mapping[str, str], compose: Callable[[str], str], marks: Mapping[int, int]
) -> dict[str, Any]:
    decompositions = {whole: parts for whole, parts in shown.items() if whole != parts and ord(whole) not in HANGUL}
    compositions = {}
    for whole, parts in canonical.items():
        if len(parts) > 1 and ord(whole) not in HANGUL and compose(whole) == whole:
            compositions[compose(parts[:-1]) + parts[-1]] = whole
    flat = []
    for number, group in groupby(CODES, lambda code: marks.get(code, 0)):
        codes = list(group)
        if number:
            flat += [codes[0], codes[-1] + 1, number]
    return {"decompositions": decompositions, "compositions": compositions, "marks": flat}


def _decompositions(form: Any) -> dict[str, str]:
    # Lines cannot run together: what ends one neither composes nor moves.
    letters = [chr(code) for code in CODES if code != 0x0A]
    return dict(zip(letters, str(form.normalize_str("\n".join(letters))).split("\n"), strict=True))


def _marks() -> dict[int, int]:
    """The order that `tokenizers` brings marks into: a number of each code point that moves.

    Every class that Python knows has a witness; a mark moves past the witnesses of higher classes, and those of lower
    ones move past it.
    """
    form = normalizers.NFD()
    plain = [letter for letter, parts in _decompositions(form).items() if letter == parts]
    witnesses = {unicodedata.combining(letter): letter for letter in reversed(plain)}  # the oldest, which all know
    ordered = [witnesses[number] for number in sorted(witnesses) if number]

    def swapped(first: str, second: str) -> bool:
        return bool(form.normalize_str(first + second) == second + first)

    moving = [letter for letter in plain if swapped(letter, ordered[0]) or swapped(ordered[-1], letter)]
    return {
        ord(letter): 1 + sum(1 + swapped(letter, other) - swapped(other, letter) for other in ordered)
        for letter in moving
    }
