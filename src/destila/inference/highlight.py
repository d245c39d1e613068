"""Which sentences of a text an answer needs: whole ones, ranked by the run of the network that finds the answer.

Mental model: a reader gives every span of a text a probability, and a sentence is worth as much as all spans that touch
it. These sums, scaled to add up to 1, are the scores. Kept are the sentences of the answer, then the best of the others
until the scores of all that are kept add up to `keep`, or the next has no room under `most`.

Invariants: sentences are exact pieces of the text, in its order; those of the answer are always among them; a larger
`keep` or `most` keeps the same sentences and perhaps more. To weigh the question's words, too, was tried and does not
help (docs/log.md). This module runs no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from destila.core.checks import is_finite
from destila.core.errors import UserError
from destila.core.notebook import ANSWER, PALE, Mark, marked, paragraph
from destila.core.records import Answer, Prediction
from destila.data.sentences import sentences
from destila.inference.decoding import Rows

KEEP = 0.99  # benchmarks/highlight.py
GAP = " […] "


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a context.

    Attributes:
        text: `context[start:end]`.
        start: first character; `end`: one past the last.
        score: its share in [0, 1] of the scores of all sentences of the context, which add up to 1.
    """

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Highlight:
    """The sentences of a context that an answer needs.

    Attributes:
        question: what was asked.
        context: the whole text.
        answer: the reader's answer, as `Reader.answer` gives it, "no answer" included.
        sentences: what was kept, in the order of the context; at least one, if the context has a legal span.
        tokens: how many tokens of the reader's tokenizer the context has; `kept_tokens`: how many the sentences have.
    """

    question: str
    context: str
    answer: Answer
    sentences: tuple[Sentence, ...]
    tokens: int
    kept_tokens: int

    @property
    def text(self) -> str:
        """The sentences as one text: neighbors as they stand in the context, `[…]` where something was cut out."""
        parts = [one.text for one in self.sentences[:1]]
        for before, after in pairwise(self.sentences):
            between = self.context[before.end : after.start]
            parts += [GAP if between.strip() else between, after.text]
        return "".join(parts)

    @property
    def cut(self) -> float:
        """The share in [0, 1] of the context's tokens that was cut out."""
        return 1 - self.kept_tokens / self.tokens if self.tokens else 0.0

    def _repr_html_(self) -> str:
        """In a notebook: the answer stands out, and what was cut out is pale."""
        edges = [0, *(edge for one in self.sentences for edge in (one.start, one.end)), len(self.context)]
        marks: list[Mark] = [(start, end, PALE, "") for start, end in zip(edges[::2], edges[1::2], strict=True)]
        if self.answer.start is not None and self.answer.end is not None:
            marks.append((self.answer.start, self.answer.end, ANSWER, f"score {self.answer.score:.3f}"))
        said = f"{self.question} {len(self.sentences)} sentences kept, {self.cut:.0%} of {self.tokens} tokens cut out."
        return paragraph(said) + marked(self.context, marks)


class SentenceScores:
    """Gathers what the spans of one context say of its S sentences; `Reader.read` shows them to `look`.

    Attributes:
        spans: first character and one past the last of each sentence.
        log_mass: (S,) log of the sum of exp over the scores of the spans that touch it.
        tokens: (S,) how many tokens begin in it.
    """

    def __init__(self, context: str) -> None:
        self.context, self.spans = context, sentences(context)
        self._starts = np.array([start for start, _ in self.spans], np.int64)
        self.log_mass = np.full(len(self.spans), -np.inf)
        self.tokens = np.zeros(len(self.spans), np.int64)

    def look(self, rows: Rows) -> None:
        """Add the spans of N tokens to the sentences that they touch."""
        legal = rows.scores > -np.inf  # (N, K)
        real = rows.ends[:, 0] > rows.starts  # (N,): tokens that stand for something
        self.tokens += np.bincount(self._place(rows.starts[real]), minlength=len(self.spans))
        if not legal.any():
            return
        scores = rows.scores[legal].astype(np.float64)
        first = self._place(np.broadcast_to(rows.starts[:, None], legal.shape)[legal])
        last, mass = self._place(rows.ends[legal] - 1), np.zeros(len(self.spans))
        weights = np.exp(scores - (highest := scores.max()))
        while first.size:  # each time one sentence on; most spans touch one
            mass += np.bincount(first, weights, minlength=len(mass))
            more = first < last
            first, last, weights = first[more] + 1, last[more], weights[more]
        with np.errstate(divide="ignore"):
            self.log_mass = np.logaddexp(self.log_mass, highest + np.log(mass))

    def _place(self, characters: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sentences that characters stand in."""
        return np.searchsorted(self._starts, characters, side="right") - 1

    def shares(self) -> NDArray[np.float64]:
        """(S,) the score of each sentence; zero everywhere if the context has no legal span."""
        if (highest := self.log_mass.max(initial=-np.inf)) == -np.inf:
            return np.zeros(len(self.spans))
        shares = np.exp(self.log_mass - highest)
        return np.asarray(shares / shares.sum())

    def touched(self, start: int, end: int) -> list[int]:
        """The sentences that hold some of the characters [start, end)."""
        return [number for number, (first, last) in enumerate(self.spans) if first < end and last > start]

    def best(self, prediction: Prediction, *, keep: float = KEEP, most: float = 1.0) -> tuple[Sentence, ...]:
        """The sentences that are kept of the context; see `Reader.highlight`."""
        shares, best = self.shares(), prediction.best
        needed = self.touched(best.start, best.end) if best and best.start is not None and best.end is not None else []
        chosen = kept(shares, self.tokens, needed=needed, keep=keep, most=most)
        return tuple(
            Sentence(self.context[start:end], start, end, float(shares[number]))
            for number, (start, end) in ((number, self.spans[number]) for number in sorted(chosen))
        )

    def highlight(self, question: str, prediction: Prediction, *, keep: float, most: float) -> Highlight:
        """The same, with how many tokens they have."""
        found = self.best(prediction, keep=keep, most=most)
        used = self.tokens[self._place(np.array([one.start for one in found], np.int64))].sum()
        return Highlight(question, self.context, prediction.answer, found, int(self.tokens.sum()), int(used))


def kept(
    shares: NDArray[np.float64], tokens: NDArray[np.int64], *, needed: Sequence[int], keep: float, most: float
) -> list[int]:
    """Which of S sentences with their shares (S,) and tokens (S,) are kept: those needed, then the best of the others.

    No more are taken when all that are have the share `keep`, or the next would make them more than the part `most` of
    the tokens. Of equal ones the first in the text is the best.
    """
    chosen, mass, used = list(needed), float(shares[needed].sum()), int(tokens[needed].sum())
    for number in np.argsort(-shares, kind="stable").tolist():
        if number in needed:
            continue
        if mass >= keep or shares[number] == 0 or used + tokens[number] > most * tokens.sum():
            break
        chosen.append(number)
        mass, used = mass + float(shares[number]), used + int(tokens[number])
    return chosen


def check_shares(**shares: float) -> None:
    """Refuse what is no share in (0, 1].

    Raises:
        UserError: names the first that is none.
    """
    for name, share in shares.items():
        if not is_finite(share) or not 0 < share <= 1:
            raise UserError(name, f"is {share!r}", "Make it a number above 0 and at most 1.")
