"""The nouns of Destila: plain frozen records that every layer passes around.

Invariant: character positions are Python string indices (code points) into the context as the user gave it, and
`answer.text == context[answer.start:answer.end]` wherever an answer has a place: every answer with a text, but for gold
answers that were published with a text that their context does not hold. "No answer" is `text is None`, never a magic
string. This module computes nothing but what follows from a record's own fields (the one rule of "no answer"
among it) and imports nothing heavy.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from destila.core.notebook import ANSWER, marked, paragraph, table


@dataclass(frozen=True, slots=True)
class Answer:
    """A span of a context, or the statement that the context holds no answer.

    Attributes:
        text: `context[start:end]`; None for "no answer".
        start: first character of the span; None for "no answer", and for a gold text that stands nowhere.
        end: one past the last character; None likewise.
        score: probability in [0, 1] that the reader gives to this span among all legal spans and "no answer";
            1.0 for gold answers.
        probability: that the answer is exactly right, of the best span of a calibrated reader; None of all others.
    """

    text: str | None
    start: int | None
    end: int | None
    score: float = 1.0
    probability: float | None = None

    @classmethod
    def none(cls, score: float = 1.0) -> "Answer":
        """The statement that the context holds no answer."""
        return cls(None, None, None, score)

    @classmethod
    def at(cls, context: str, start: int, end: int, score: float = 1.0) -> "Answer":
        """The span [start, end) of a context."""
        return cls(context[start:end], start, end, score)

    def _repr_html_(self) -> str:
        """A line of a notebook; `Reader.highlight` and `Reader.explain` show the answer in its context."""
        if self.text is None:
            return paragraph(f"no answer (score {self.score:.3f})")
        place = f"characters {self.start}-{self.end}" if self.start is not None else "at no place"
        return marked(self.text, [(0, len(self.text), ANSWER, f"score {self.score:.3f}, {place}")])


@dataclass(frozen=True, slots=True)
class Example:
    """A question about a context.

    Attributes:
        id: unique in its data set.
        answers: the gold answers, every one right; empty means that the question is unanswerable.
        title: the article that the context comes from; the cluster of bootstrap intervals.
        source: the data set that it comes from, if the file says so.
        labeled: False where nobody has said what the answer is (then `answers` is empty and means nothing).
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()
    title: str = ""
    source: str = ""
    labeled: bool = True


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a reader says about one example: the best span, and how sure it is that there is none.

    Attributes:
        answer: the answer given, after the no-answer threshold.
        best: the best span, whatever the threshold says; None where the context has no legal span.
        best_logit: start and end logit of the best span, together; -inf where there is none.
        null_logit: the same of "no answer": the lowest over the windows of the context.
        spans_logit: log of the sum of exp over the logits of all legal spans; -inf where there is none.
    """

    answer: Answer
    best: Answer | None
    best_logit: float
    null_logit: float
    spans_logit: float

    @property
    def no_answer_score(self) -> float:
        """How far "no answer" stands above the best span, in logits: what thresholds are set on. inf: there is none."""
        return self.null_logit - self.best_logit

    @property
    def total_logit(self) -> float:
        """Log of the sum of exp over all legal spans and "no answer": what turns a logit into a probability."""
        low, high = sorted((self.null_logit, self.spans_logit))
        return high + math.log1p(math.exp(low - high))

    @property
    def no_answer(self) -> Answer:
        """ "No answer", with its probability."""
        return Answer.none(math.exp(self.null_logit - self.total_logit))

    def refuses(self, threshold: float | None, least_probability: float | None = None) -> bool:
        """Whether "no answer" is given under a threshold: the one rule of it. None: only where there is no span.

        Args:
            least_probability: that the best span must have, too; one that has none is refused.
        """
        if self.best is None or (threshold is not None and self.no_answer_score > threshold):
            return True
        return least_probability is not None and (self.best.probability or 0.0) < least_probability

    def under(self, threshold: float | None, least_probability: float | None = None) -> "Prediction":
        """The same prediction under another threshold."""
        best = None if self.refuses(threshold, least_probability) else self.best
        return replace(self, answer=self.no_answer if best is None else best)

    @property
    def guess(self) -> Answer | None:
        """The best span behind a refusal; None where an answer is given, or there is no span."""
        return self.best if self.answer.text is None else None


@dataclass(frozen=True, slots=True)
class Report:
    """One model on one data set under one normalizer: a score never travels without what it needs to be believed.

    Attributes:
        f1: mean token F1 in percent; `em`: exact match in percent.
        f1_ci: 95 % bootstrap interval, clustered by article; `em_ci` likewise.
        normalizer: "squad" or "mlqa-es".
        details: everything else that was measured (has-answer and no-answer scores, breakdowns, threshold).
    """

    model: str
    data: str
    n: int
    f1: float
    em: float
    f1_ci: tuple[float, float]
    em_ci: tuple[float, float]
    normalizer: str
    seed: int
    version: str
    command: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """A table of a notebook."""
        head = ("model", "data", "n", "F1 [95 %]", "EM [95 %]", "normalizer")
        scores = ((self.f1, self.f1_ci), (self.em, self.em_ci))
        cells = [f"{value:.1f} [{low:.1f}, {high:.1f}]" for value, (low, high) in scores]
        return table(head, [(self.model, self.data, f"{self.n:,}", *cells, self.normalizer)])


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that cannot be said, and why."""

    reason: str
