"""What a reader says of each token of a text: how probably the answer starts there, and how probably it ends there.

Mental model: one softmax over all legal spans and "no answer" gives each span its probability. A token's start
probability is the sum over the spans that start there, its end probability that over those that end there. So either
adds up to 1 over all tokens together with the probability of "no answer".

Invariants: tokens are in the order of the text, their offsets are those of what shows of them; a token that shows
nothing is left out, and no answer starts or ends there. This module runs no model.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from destila.core.notebook import Mark, marked, paragraph
from destila.core.records import Answer, Prediction
from destila.inference.decoding import Rows

SHOWN_FROM = 0.01  # a lower probability has no color in a notebook
START, END = "255,179,0", "30,136,229"  # yellow and blue; their opacity follows
LINE = "text-decoration:underline;"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a context.

    Attributes:
        text: `context[start:end]`.
        start: first character; `end`: one past the last. Tokens that are parts of one character share its place.
        starts: probability in [0, 1] that the answer starts with this token.
        ends: probability that it ends with it.
    """

    text: str
    start: int
    end: int
    starts: float
    ends: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a reader sees the answer to a question begin and end.

    Attributes:
        question: what was asked.
        context: the whole text.
        answer: the reader's answer, as `Reader.answer` gives it.
        no_answer: probability of "no answer".
        tokens: all tokens that show something, in order; their `starts`, and their `ends`, add up to 1 - no_answer.
    """

    question: str
    context: str
    answer: Answer
    no_answer: float
    tokens: tuple[Token, ...]

    def _repr_html_(self) -> str:
        """In a notebook: the context, yellow where the answer starts, blue where it ends; the answer is underlined."""
        said = "no answer" if self.answer.text is None else f"{self.answer.text} (score {self.answer.score:.3f})"
        legend = "yellow: the answer starts; blue: it ends; underlined: the answer"
        return paragraph(f"{self.question} {said}; no answer {self.no_answer:.3f}; {legend}.") + marked(
            self.context, self._marks()
        )

    def _marks(self) -> Iterator[Mark]:
        """A mark for each place with a color or a line; tokens that share a place are one."""
        places = list[Token]()
        for token in self.tokens:
            if places and token.start < (last := places[-1]).end:
                starts, ends = last.starts + token.starts, last.ends + token.ends
                token = replace(places.pop(), end=max(last.end, token.end), starts=starts, ends=ends)
            places.append(token)
        for place in places:
            inside = (self.answer.start or 0) <= place.start < (self.answer.end or 0)
            if inside or max(place.starts, place.ends) >= SHOWN_FROM:
                colors = ",".join(
                    f"rgba({color},{share:.2f})"
                    for color, share in zip((START, END), (place.starts, place.ends), strict=True)
                )
                style = f"{LINE * inside}background:linear-gradient({colors})"
                yield place.start, place.end, style, f"start {place.starts:.3f}, end {place.ends:.3f}"


class TokenScores:
    """Gathers what the spans of one context say of its tokens; `Reader.read` shows them to `look`."""

    def __init__(self) -> None:
        self._places = list[NDArray[np.int64]]()  # (N, 2) each: first character and one past the last
        self._starts = list[Floats]()  # (N,) each: log of the sum of exp over the spans that start there
        self._ends = [np.zeros(0)]  # the same of those that end there; the last reaches beyond the tokens seen so far

    def look(self, rows: Rows) -> None:
        """Add the spans that start at N tokens."""
        tokens, longest = rows.scores.shape
        self._places.append(np.stack([rows.starts, rows.ends[:, 0]], axis=1))
        self._starts.append(np.logaddexp.reduce(rows.scores.astype(np.float64), axis=1))
        ends = np.full(tokens + longest - 1, -np.inf)
        carried = self._ends.pop()
        ends[: len(carried)] = carried
        for more in range(longest):  # the span in column `more` ends so many tokens later
            ends[more : more + tokens] = np.logaddexp(ends[more : more + tokens], rows.scores[:, more])
        self._ends += [ends[:tokens], ends[tokens:]]

    def explanation(self, question: str, context: str, prediction: Prediction) -> Explanation:
        """What was gathered, as probabilities."""
        places = np.concatenate(self._places)
        real = places[:, 0] < places[:, 1]
        count, number = int(real.sum()), np.cumsum(real)  # of the tokens that show something
        sides = []
        # A span that starts at a token that shows nothing starts at the next; one that ends there, at the one before.
        for logits, to in ((self._starts, number - real), (self._ends[:-1], number - 1)):
            shares = np.exp(np.concatenate(logits) - prediction.total_logit)
            sides.append(np.bincount(to.clip(0, max(0, count - 1)), shares, minlength=count).clip(0.0, 1.0))
        tokens = (
            Token(context[start:end], start, end, float(starts), float(ends))
            for (start, end), starts, ends in zip(places[real].tolist(), *sides, strict=False)
        )
        return Explanation(question, context, prediction.answer, prediction.no_answer.score, tuple(tokens))
