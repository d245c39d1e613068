"""One question to several texts: their answers on one scale, best first.

Mental model: texts are one long context of which only some pieces are read. One softmax over the spans of all pieces
and "no answer" gives the probabilities (shared normalization, Clark & Gardner 2018), so a text that has nothing to say
cannot win by being sure of the best that it has. "No answer" has the lowest logit of all pieces, as it has over the
windows of one context.

Invariants: an answer's offsets are those of its whole text; where pieces of a text overlap an answer counts once; what
is shown beside the best follows the rule of `destila.inference.decoding`; "no answer" wins only if every piece says so.
This module knows neither files nor pipelines, and runs no model itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, Unpack

from destila.core.errors import UserError
from destila.core.records import Answer, Example, Prediction
from destila.inference.decoding import SHOWN_SHARE, same_words
from destila.inference.reader import Reader, Refusing, overrides

Source = TypeVar("Source")  # what tells texts apart: a path, a number


@dataclass(frozen=True, slots=True)
class Piece(Generic[Source]):
    """A piece of a text: which text, where the piece begins there, and its characters."""

    source: Source
    start: int
    text: str


@dataclass(frozen=True, slots=True)
class Reading(Generic[Source]):
    """What the reader says about one piece; the answers' offsets are those of the piece."""

    piece: Piece[Source]
    prediction: Prediction
    answers: Sequence[Answer]


@dataclass(frozen=True, slots=True)
class _Candidate(Generic[Source]):
    """An answer with its place in its text and its score among all; `refused`: its piece says "no answer"."""

    source: Source
    start: int
    end: int
    text: str
    score: float
    refused: bool

    def repeats(self, other: "_Candidate[Source]") -> bool:
        """Whether it says the same, or stands in the same place."""
        overlaps = self.source == other.source and self.start < other.end and other.start < self.end
        return overlaps or same_words(self.text) == same_words(other.text)


def answers_from(
    reader: Reader, question: str, pieces: Sequence[Piece[Source]], *, top_k: int, **refusing: Unpack[Refusing]
) -> list[tuple[Source | None, Answer]]:
    """Read the pieces and rank their answers together: (text, answer with its offsets in the text), best first.

    "No answer" stands first, as (None, Answer.none), where every piece says it; what follows then is the best guess
    behind it.
    """
    if is_bounded(reader, **refusing):
        problem = "is promised of answers from one text, and not of the best of several"
        raise UserError("max_error", problem, "Leave it out, or ask each text by itself.")
    examples = [Example(f"passage {number}", question, piece.text) for number, piece in enumerate(pieces, 1)]
    read = reader.read(examples, top_k=top_k, **refusing)
    readings = [Reading(piece, *said) for piece, said in zip(pieces, read, strict=True)]
    return ranked_together(readings, reader.threshold(**refusing))[:top_k]


def is_bounded(reader: Reader, **refusing: Unpack[Refusing]) -> bool:
    """Whether a share of errors is promised of each answer: then texts can be asked one by one only."""
    return reader.least_probability is not None and not overrides(refusing)


def ranked_together(readings: Sequence[Reading[Source]], threshold: float | None) -> list[tuple[Source | None, Answer]]:
    """The answers of the readings on one scale, best first, as far as they deserve to be shown beside the best.

    Args:
        threshold: of "no answer", which stands first where every piece says it; where only some do, their answers come
            after all others. None: it stands nowhere but alone.
    """
    null = min((reading.prediction.null_logit for reading in readings), default=0.0)
    total = _log_sum_exp([null, *(reading.prediction.spans_logit for reading in readings)])
    candidates = [candidate for reading in readings for candidate in _candidates(reading, total, threshold)]
    chosen = list[_Candidate[Source]]()
    for candidate in sorted(candidates, key=lambda candidate: (candidate.refused, -candidate.score)):
        is_shown = not chosen or candidate.score >= SHOWN_SHARE * chosen[0].score
        if is_shown and not any(map(candidate.repeats, chosen)):
            chosen.append(candidate)
    found: list[tuple[Source | None, Answer]] = [
        (one.source, Answer(one.text, one.start, one.end, one.score)) for one in chosen
    ]
    if not chosen or chosen[0].refused:
        found.insert(0, (None, Answer.none(math.exp(null - total))))
    return found


def _candidates(reading: Reading[Source], total: float, threshold: float | None) -> list[_Candidate[Source]]:
    """The answers of a piece, moved from its own scale to that of all pieces."""
    refused, piece = reading.prediction.refuses(threshold), reading.piece
    shift = reading.prediction.total_logit - total  # above 0 where the piece is surer of "no answer" than another
    return [
        _Candidate(
            piece.source,
            piece.start + answer.start,
            piece.start + answer.end,
            answer.text,
            math.exp(min(0.0, math.log(answer.score) + shift)) if answer.score else 0.0,
            refused,
        )
        for answer in reading.answers
        if answer.text is not None and answer.start is not None and answer.end is not None
    ]


def _log_sum_exp(values: Sequence[float]) -> float:
    highest = max(values)
    return highest + math.log(sum(math.exp(value - highest) for value in values))
