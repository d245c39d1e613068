"""The nouns of Destila: plain frozen records that every layer passes around.

Invariant: character positions are Python string indices (code points) into the context as the user gave it, and
`answer.text == context[answer.start:answer.end]` wherever an answer has a text. "No answer" is `text is None`, never a
magic string. This module computes nothing and imports nothing heavy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A span of a context, or the statement that the context holds no answer.

    Attributes:
        text: `context[start:end]`; None for "no answer".
        start: first character of the span; None for "no answer".
        end: one past the last character; None for "no answer".
        score: probability in [0, 1] that the reader gives to this span among all legal spans and "no answer";
            1.0 for gold answers.
    """

    text: str | None
    start: int | None
    end: int | None
    score: float = 1.0

    @classmethod
    def none(cls, score: float = 1.0) -> "Answer":
        """The statement that the context holds no answer."""
        return cls(None, None, None, score)

    @classmethod
    def at(cls, context: str, start: int, end: int, score: float = 1.0) -> "Answer":
        """The span [start, end) of a context."""
        return cls(context[start:end], start, end, score)


@dataclass(frozen=True, slots=True)
class Example:
    """A question about a context.

    Attributes:
        id: unique in its data set.
        answers: the gold answers, every one right; empty means that the question is unanswerable.
        title: the article that the context comes from; the cluster of bootstrap intervals.
        source: the data set that it comes from, if the file says so.
        labelled: False where nobody has said what the answer is (then `answers` is empty and means nothing).
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()
    title: str = ""
    source: str = ""
    labelled: bool = True


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a reader says about one example: the best span, and how sure it is that there is none.

    Attributes:
        answer: the answer given, after the no-answer threshold.
        best: the best span, whatever the threshold says; None where the context has no legal span.
        no_answer_score: score of "no answer" minus score of the best span, in logits; the threshold is set on it.
    """

    answer: Answer
    best: Answer | None
    no_answer_score: float


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


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that cannot be said, and why."""

    reason: str
