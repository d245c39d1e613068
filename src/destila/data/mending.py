"""Mend answers: find where they stand in their context, and complete the words that they cut."""

import unicodedata
from collections.abc import Collection, Sequence

from destila.data.lookalikes import look_alikes
from destila.data.offsets import CHARACTERS, character_at, places

# Scripts from here up (Chinese, Japanese...) write no spaces: no letter there says where a word ends.
UNSPACED_SCRIPTS = "\u2e80"

Span = tuple[int, int]


def locate(context: str, text: str, start: int, *, unit: str = CHARACTERS) -> Span | None:
    """Where exactly this text stands in its context, if anywhere.

    Where `start` points if it counts what the file counts (`unit`), else characters, UTF-16 units or bytes; else the
    occurrence nearest to `start`, whole words before parts of words. None if the context does not hold the text.
    """
    for place in places(context, start, unit):
        if context.startswith(text, place):
            return place, place + len(text)
    return _nearest(context, _occurrences(context, text), start, unit)


def _nearest(context: str, found: Collection[Span], start: int, unit: str) -> Span | None:
    near = character_at(context, start, unit) if start >= 0 else start
    return min(found, key=lambda span: (_cuts(context, span), abs(span[0] - near)), default=None)


def _occurrences(context: str, text: str) -> list[Span]:
    found, at = list[Span](), context.find(text)
    while at >= 0:
        found.append((at, at + len(text)))
        at = context.find(text, at + 1)
    return found


def complete(context: str, start: int, end: int) -> Span:
    """Widen a span until it cuts no word.

    Only a border between two letters or two digits is inside a word (`30|km` is not), and none before a capital that
    follows a small letter: there a space is missing (`llamada|Nueva Holanda`).
    """
    while _inside_word(context, start):
        start -= 1
    while _inside_word(context, end):
        end += 1
    return start, end


def _cuts(context: str, span: Span) -> bool:
    return any(_inside_word(context, border) for border in span)


def _inside_word(context: str, border: int) -> bool:
    if not 0 < border < len(context):
        return False
    left, right = context[border - 1], context[border]
    if left >= UNSPACED_SCRIPTS or right >= UNSPACED_SCRIPTS:
        return False
    if not (_is_letter(left) and _is_letter(right)):
        return left.isdigit() and right.isdigit()
    return not (_is_capital(right) and _before_marks(context, border).islower())


def _is_letter(character: str) -> bool:
    return character.isalpha() or unicodedata.combining(character) > 0


def _is_capital(character: str) -> bool:
    return character.isupper() or character.istitle()


def _before_marks(context: str, border: int) -> str:
    """The character before a border, whatever marks stand upon it."""
    while border > 1 and unicodedata.combining(context[border - 1]):
        border -= 1
    return context[border - 1]


def mend(
    context: str, answers: Sequence[tuple[str, int]], *, unit: str = CHARACTERS
) -> list[tuple[Span | None, list[str]]]:
    """The spans that the answers of a question mean, and the kinds of problem of each.

    A word that an answer cuts is completed, but not where another answer of the question is the same text and cuts
    none: it is right as it is.

    Args:
        answers: (text, answer_start) pairs.
        unit: what `answer_start` counts in the file; see `destila.data.offsets`.

    Returns:
        For each answer its span, None if it cannot be mended, and keys of `destila.data.repair.PROBLEM_KINDS`.
    """
    found = [_find(context, text, start, unit) for text, start in answers]
    whole = {context[slice(*span)] for span, _ in found if span and not _cuts(context, span)}
    mended = list[tuple[Span | None, list[str]]]()
    for span, kinds in found:
        completed = span
        if span and context[slice(*span)] not in whole:
            completed = complete(context, *span)
        mended.append((completed, kinds if completed == span else [*kinds, "cut"]))
    return mended


def _find(context: str, text: str, start: int, unit: str) -> tuple[Span | None, list[str]]:
    """Where an answer stands, with the words that it cuts, and the kinds of problem that it has."""
    trimmed = text.strip()
    if not trimmed:
        return None, ["void"]
    problems = [] if trimmed == text else ["spaces"]
    first = start if start < 0 else start + len(text) - len(text.lstrip())
    if found := locate(context, trimmed, first, unit=unit):
        exact = start >= 0 and context.startswith(text, start) and found[0] == first
        return found, problems if exact else [*problems, "mismatch"]
    if found := _nearest(context, look_alikes(context, trimmed), first, unit):
        return found, [*problems, "look-alike"]
    return None, ["absent"]
