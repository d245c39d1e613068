"""Where a text may be cut: sentences, and passages of whole sentences that a reader takes in at once.

Invariants: spans are [start, end) in code points of the text, in order, without white space at their edges; together
they hold every character that is not white space; a passage is no longer than asked. Time is linear in the text. The
rules are for Spanish and small on purpose: a wrong cut costs a passage its neighbour's context, no answer its text.
"""

import re
from collections.abc import Iterator

Span = tuple[int, int]

# Marks that end a sentence with the quotes that close after them, or an empty line. The lookbehind keeps rows of dots
# linear.
BOUNDARY = re.compile(r"(?<![.!?…])[.!?…]++[\"»”’)\]]*+(?=\s)|\n[^\S\n]*+\n")
ABBREVIATION = re.compile(
    r"(?:^|[\s(«\"])(?:[A-ZÁÉÍÓÚÑ]|[DS]ra?s?|Dña|Ud|Uds|Excm[oa]|Ilm[oa]|St[oa]?|EE|UU|[Aa]rts?|[Nn]úms?|[Pp]ágs?|[Cc]ap|"
    r"[Vv]ol|[Aa]v|[Aa]vda|[Tt]el|[Ff]ig|[Ee]d|[Aa]prox|vs|cf|ej|p|pp|ss|s)\.$"
)
BEGINNING = re.compile(r"\s*[¿¡«\"“‘'(\[—–-]*\s?[^\Wa-zà-ÿ_]")
LONGEST_ABBREVIATION = 9
OVERLAP = 3  # a passage repeats the sentence before it if that takes no more than this part of it
SHOWN = 400  # most characters of a sentence that is shown around an answer


def sentences(text: str) -> list[Span]:
    """The sentences of a text."""
    return list(_stripped(text, _cuts(text)))


def _cuts(text: str) -> Iterator[int]:
    """Where one sentence ends and another may begin, in order; the end of the text comes last."""
    for found in BOUNDARY.finditer(text):
        cut = found.end()
        if found[0].startswith("\n") or (BEGINNING.match(text, cut) and not _abbreviates(text, found)):
            yield cut
    yield len(text)


def _abbreviates(text: str, found: re.Match[str]) -> bool:
    before = text[max(0, found.end() - LONGEST_ABBREVIATION) : found.end()]
    return found[0] == "." and ABBREVIATION.search(before) is not None


def _stripped(text: str, cuts: Iterator[int]) -> Iterator[Span]:
    start = 0
    for end in cuts:
        piece = text[start:end]
        left = len(piece) - len(piece.lstrip())
        if left < len(piece):
            yield start + left, start + len(piece.rstrip())
        start = end


def passages(text: str, most: int) -> list[Span]:
    """Passages of at most `most` characters that together hold all of the text.

    A passage is as many whole sentences as fit; it begins with the last sentence of the one before if that is short, so
    that a sentence is read beside what it refers to.
    """
    pieces = [piece for span in sentences(text) for piece in _pieces(text, span, most)]
    found, first = list[Span](), 0
    while first < len(pieces):
        start, last = pieces[first][0], first
        while last + 1 < len(pieces) and pieces[last + 1][1] - start <= most:
            last += 1
        found.append((start, pieces[last][1]))
        short = pieces[last][1] - pieces[last][0] <= most // OVERLAP
        # Going back one sentence must leave room for the next, or the passage after would hold nothing new.
        again = last + 1 < len(pieces) and last > first and pieces[last + 1][1] - pieces[last][0] <= most
        first = last if short and again else last + 1
    return found


def _pieces(text: str, span: Span, most: int) -> Iterator[Span]:
    """A sentence, cut between words if it is too long for a passage."""
    start, end = span
    while end - start > most:
        space = max(text.rfind(" ", start + 1, start + most), text.rfind("\n", start + 1, start + most))
        cut = space if space > 0 else start + most
        yield from _stripped_span(text, start, cut)
        start = cut
    yield from _stripped_span(text, start, end)


def _stripped_span(text: str, start: int, end: int) -> Iterator[Span]:
    for left, right in _stripped(text[start:end], iter((end - start,))):
        yield start + left, start + right


def sentence_around(text: str, start: int, end: int) -> Span:
    """The sentence, or sentences, that hold the span [start, end); of a very long one the words around it."""
    left, right = max(0, start - SHOWN), min(len(text), end + SHOWN)
    touched = [(a + left, b + left) for a, b in sentences(text[left:right]) if a + left < end and b + left > start]
    first, last = touched[0][0], touched[-1][1]
    if last - first > SHOWN:
        room = max(0, SHOWN - (end - start)) // 2
        first, last = max(first, start - room), min(last, end + room)
    if first > 0 and not text[first - 1].isspace():  # it was cut within a word
        first = min(start, text.find(" ", first, start) + 1 or start)
    if last < len(text) and not text[last].isspace():
        last = max(end, text.rfind(" ", end, last))
    return first, last
