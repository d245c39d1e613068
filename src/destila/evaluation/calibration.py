"""Whether a reader's scores mean what they say, and what its refusals gain and cost.

Reliability: answers are sorted into ten bins by their score; where scores are probabilities, the share of right answers
in a bin is its mean score (Guo et al. 2017, "On calibration of modern neural networks", whose expected calibration
error is `Reliability.error`). "Right" is an exact match under the report's normalizer.

The no-answer curve: every threshold on `Prediction.no_answer_score` gives other questions an answer. Invariant: its
`used` point is what the reader's own answers score.

The risk curve: where only spans of at least some probability are given, so many questions get an answer, and so many of
these answers mislead (El-Yaniv and Wiener 2010, "On the foundations of noise-free selective classification").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from destila.core.calibration import Calibration
from destila.core.records import Example, Missing, Prediction
from destila.evaluation import metrics
from destila.evaluation.threshold import best_f1

BINS = 10
POINTS = 60  # of a curve; more cannot be told apart
RULES, HALF = "mlqa-es", 0.5  # a span whose F1 with every gold answer is below a half misleads

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers whose score lies in [low, high): how many, their mean score, and the share that is exactly right."""

    low: float
    high: float
    n: int
    score: float
    right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """Whether scores are probabilities."""

    bins: tuple[Bin, ...]  # those that hold answers
    error: float  # expected calibration error, the mean over answers of |share right - mean score| of their bin
    score: float  # mean score of all answers
    right: float  # share of them that is exactly right


@dataclass(frozen=True, slots=True)
class ThresholdPoint:
    """What a no-answer threshold gives (None: always answer)."""

    threshold: float | None
    answered: float  # share of the questions that get an answer
    f1: float  # over all questions
    has_answer: float  # over those with an answer
    no_answer: float  # over those without


@dataclass(frozen=True, slots=True)
class NoAnswerCurve:
    """F1 for every no-answer threshold: thinned, from never answering to always."""

    points: tuple[ThresholdPoint, ...]
    used: ThresholdPoint  # the reader's own threshold
    best: ThresholdPoint  # the one of highest F1 on these very questions


@dataclass(frozen=True, slots=True)
class RiskPoint:
    """What is given where a span needs at least this probability."""

    least_probability: float
    answered: float  # share of the questions that get an answer
    wrong: float  # share of these answers that mislead; 0 where there are none


@dataclass(frozen=True, slots=True)
class RiskCurve:
    """How many answers mislead, from the surest alone to all."""

    points: tuple[RiskPoint, ...]
    promises: tuple[tuple[float, RiskPoint], ...]  # the most that a promise allows, and what is found here


def reliability(scores: Floats, right: Floats) -> Reliability:
    """Bins of answers by their score.

    Args:
        scores: (N,) in [0, 1], of the answers given; `right`: (N,) 1 where the answer is exactly right, else 0.
    """
    places = np.minimum((scores * BINS).astype(int), BINS - 1)  # a score of 1 belongs to the last bin
    bins = tuple(
        Bin(
            place / BINS,
            (place + 1) / BINS,
            int(inside.sum()),
            float(scores[inside].mean()),
            float(right[inside].mean()),
        )
        for place in range(BINS)
        if (inside := places == place).any()
    )
    error = sum(one.n * abs(one.right - one.score) for one in bins) / len(scores)
    return Reliability(bins, error, float(scores.mean()), float(right.mean()))


def no_answer_curve(
    examples: Sequence[Example], predictions: Mapping[str, Prediction], *, threshold: float | None, normalizer: str
) -> NoAnswerCurve | Missing:
    """F1 by threshold, over the labeled examples.

    Args:
        threshold: the reader's own.
    """
    spans = {name: prediction.best.text if prediction.best else None for name, prediction in predictions.items()}
    answering = metrics.score(examples, spans, normalizer=normalizer)
    if answering.has_answer.all():
        return Missing("every question of these data has an answer, so there is nothing to refuse.")
    refusing = metrics.score(examples, dict.fromkeys(spans), normalizer=normalizer).f1
    said = [predictions[name] for name in answering.ids]

    def point(cut: float | None) -> ThresholdPoint:
        refused = np.array([prediction.refuses(cut) for prediction in said])
        f1, has = np.where(refused, refusing, answering.f1), answering.has_answer
        parts = [100 * float(part.mean()) if part.size else 0.0 for part in (f1, f1[has], f1[~has])]
        return ThresholdPoint(cut, float((~refused).mean()), *parts)

    odds = np.array([prediction.no_answer_score for prediction in said])

    finite = np.unique(odds[np.isfinite(odds)])
    best, _ = best_f1(examples, predictions, normalizer=normalizer)
    cuts = finite[np.linspace(0, len(finite) - 1, POINTS).round().astype(int)] if finite.size else finite
    lowest = [float(finite[0]) - 1.0] if finite.size else []  # below all scores: never answer
    points = tuple(point(float(cut)) for cut in sorted({*lowest, *cuts.tolist()}))
    return NoAnswerCurve(points, point(threshold), point(best))


@dataclass(frozen=True)
class JudgedSpans:
    """The best span of each labeled question, whatever the reader refuses, by RULES."""

    scores: metrics.Scores
    said: list[Prediction]  # in the order of the scores
    answered: NDArray[np.bool_]  # (N,) whether there is a span
    misleading: NDArray[np.bool_]  # (N,) whether it says something else, or there is nothing to be said


def judge_spans(examples: Sequence[Example], predictions: Mapping[str, Prediction]) -> JudgedSpans:
    """Score the best spans of labeled examples.

    Args:
        predictions: by id, under any threshold.
    """
    spans = {one.id: best.text if (best := predictions[one.id].best) else None for one in examples}
    scores = metrics.score(examples, spans, normalizer=RULES)
    said = [predictions[name] for name in scores.ids]
    answered = np.array([one.best is not None for one in said])
    return JudgedSpans(scores, said, answered, ~(answered & scores.has_answer & (scores.f1 >= HALF)))


def risk_curve(
    examples: Sequence[Example], predictions: Mapping[str, Prediction], calibration: Calibration | None
) -> RiskCurve | Missing:
    """How many of the best spans mislead, over the labeled examples, by how sure the reader is of them."""
    if calibration is None:
        return Missing("there are no probabilities: destila calibrate makes them.")
    judged = judge_spans(examples, predictions)
    sure, wrong = np.array([calibration.probability(one) for one in judged.said]), judged.misleading

    def point(least: float) -> RiskPoint:
        given = sure >= least
        return RiskPoint(least, float(given.mean()), float(wrong[given].mean()) if given.any() else 0.0)

    steps = np.unique(sure[sure > 0])[::-1]
    chosen = steps[np.linspace(0, len(steps) - 1, POINTS).round().astype(int)] if steps.size else steps
    points = tuple(point(float(least)) for least in dict.fromkeys(chosen.tolist()))
    promises = tuple((one.max_error, point(one.least_probability)) for one in calibration.promises)
    return RiskCurve(points, promises) if points else Missing("no question got a span.")
