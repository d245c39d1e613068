"""Texts that look alike: where a context holds an answer in other characters than the answer is written in.

Alike are accents composed or beside their letter, compatibility forms (NFKC), any white space (a run counts as one
space), quotation marks and dashes of all kinds; what shows nothing (soft hyphens, zero-width spaces) is nothing.
Capitals and missing accents are no likeness: who writes "lima" for "Lima" may mean something else.
"""

import unicodedata
from functools import lru_cache
from typing import NamedTuple

from destila.core.characters import HIDDEN
from destila.data.reading_form import clusters

_ALIKE = {"'": "‘’‚‛ʼ′´`", '"': "“”„‟″«»", "-": "‐‑‒–—―−"}
_PLAIN = {ord(letter): plain for plain, letters in _ALIKE.items() for letter in letters}


class Plain(NamedTuple):
    """A text as it looks, and for each of its characters which original ones [start, end) it stands for."""

    text: str
    starts: list[int]
    ends: list[int]


@lru_cache(maxsize=8)
def plain_form(text: str) -> Plain:
    """The text as it looks."""
    letters, starts, ends = list[str](), list[int](), list[int]()
    for start, end in clusters(text):
        piece = HIDDEN.sub("", unicodedata.normalize("NFKC", text[start:end].translate(_PLAIN)))
        if piece.isspace():
            if letters and letters[-1] == " ":
                ends[-1] = end
                continue
            piece = " "
        letters += piece
        starts += [start] * len(piece)
        ends += [end] * len(piece)
    return Plain("".join(letters), starts, ends)


def begins_alike(context: str, text: str, place: int) -> bool:
    """Whether what stands at `place` looks like the text."""
    wanted = _looks(text)
    # The look of a whole context is made once, and tells most often that there is nothing to find.
    found = bool(wanted) and wanted in _looks(context)
    return found and _looks(context[place : place + 4 * len(text) + 16]).startswith(wanted)


def look_alikes(context: str, text: str) -> list[tuple[int, int]]:
    """Every span of the context that looks like the text."""
    wanted = _looks(text)
    if not wanted or wanted not in _looks(context):
        return []
    found, (plain, starts, ends) = list[tuple[int, int]](), plain_form(context)
    at = plain.find(wanted)
    while at >= 0:
        last = at + len(wanted) - 1
        opens = at == 0 or starts[at - 1] != starts[at]
        closes = last + 1 == len(plain) or starts[last] != starts[last + 1]
        if opens and closes:  # not a part of what stands for one character
            found.append((starts[at], ends[last]))
        at = plain.find(wanted, at + 1)
    return found


@lru_cache(maxsize=64)
def _looks(text: str) -> str:
    """The text of `plain_form`, without white space at its ends."""
    return " ".join(HIDDEN.sub("", unicodedata.normalize("NFKC", text.translate(_PLAIN))).split())
