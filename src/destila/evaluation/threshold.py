"""When a reader says "no answer": the threshold on `no_answer_score`, fitted on data by one of two criteria.

- "f1": the threshold that is best for mean F1 on the data. On SQuAD 2.0 data this refuses nearly everything while a
  reader is weak.
- "equal-errors": the threshold at which the reader refuses as large a share of the answerable questions as it answers
  of off-topic ones. An off-topic question is an answerable one asked of another paragraph of the same article, which
  hardly ever answers it (`destila.data.negatives`): what people meet when a text treats of something else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from destila.config.fields import ThresholdCriterion
from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.records import Example, Prediction
from destila.data.negatives import paired
from destila.evaluation.bootstrap import bootstrap_interval
from destila.evaluation.metrics import Scores, score

ANSWERABLE, OFF_TOPIC, UNANSWERABLE = "answerable", "off-topic", "unanswerable"


@dataclass(frozen=True, slots=True)
class FittedThreshold:
    """A threshold, and what follows from it on the data that it was fitted on."""

    criterion: ThresholdCriterion
    threshold: float  # a question gets "no answer" where its `no_answer_score` is greater, in logits
    # how many were asked, by group: "answerable", "unanswerable" (of the data) and, for equal errors, "off-topic"
    questions: Mapping[str, int]
    refused: Mapping[str, float]  # share of each group that gets "no answer"
    # for each group without answers, the chance that one of it scores above an answerable question (area under the ROC
    # curve): 0.5 is chance, 1 a perfect separation
    area: Mapping[str, float]
    # F1 and exact match in percent of the answerable questions if all are answered, by the SQuAD rules
    must_answer: Mapping[str, Any]


def fit_threshold(
    examples: Sequence[Example],
    predictions: Mapping[str, Prediction],
    *,
    criterion: ThresholdCriterion,
    ask: Callable[[Sequence[Example]], Mapping[str, Prediction]],
    seed: int = 1,
    resamples: int = 2000,
) -> FittedThreshold:
    """Fit the no-answer threshold of a reader.

    Args:
        predictions: what the reader predicts for `examples`, by id, under any threshold.
        ask: the reader's `predict`, for the off-topic questions.
        seed: of the other paragraphs and of the interval.

    Raises:
        UserError: the data lack what the criterion needs: unanswerable questions for "f1"; answerable ones of two
            different contexts for "equal-errors".
    """
    found = {name: [predictions[one.id] for one in group] for name, group in _groups(examples).items()}
    if criterion == "f1":
        threshold, _ = best_f1(examples, predictions)
    else:
        answerable = [example for example in examples if example.answers]
        found[OFF_TOPIC] = list(ask(_off_topic(answerable, seed)).values())
        threshold = round(equal_errors(_odds(found[ANSWERABLE]), _odds(found[OFF_TOPIC])), 2)
    odds = {name: _odds(group) for name, group in found.items() if group}
    absent = {name: scores for name, scores in odds.items() if name != ANSWERABLE and ANSWERABLE in odds}
    return FittedThreshold(
        criterion=criterion,
        threshold=threshold,
        questions={name: len(scores) for name, scores in odds.items()},
        refused={name: float((scores > threshold).mean()) for name, scores in odds.items()},
        area={name: area(odds[ANSWERABLE], scores) for name, scores in absent.items()},
        must_answer=_must_answer(examples, predictions, seed=seed, resamples=resamples),
    )


def write_threshold(model: Path, threshold: float) -> None:
    """Put a threshold into a model's destila.json; everything else in it stays."""
    ModelMetadata.read(model).changed(no_answer_threshold=threshold).write(model)


# ---------------------------------------------------------------------------------------------------- criteria
def best_f1(
    examples: Sequence[Example], predictions: Mapping[str, Prediction], *, normalizer: str = "squad"
) -> tuple[float, float]:
    """The threshold on `no_answer_score` that maximizes mean F1, as `best_f1_thresh` of evaluate-v2.0.py does.

    A question gets "no answer" where its score is greater than the threshold, so the candidates are the scores
    themselves and one below all of them (never answer). Among equally good thresholds the lowest is taken, as there.
    Two differences make the F1 returned the one that the threshold gives: questions of equal score are accepted
    together (the script may stop between them), and "never answer" yields the lowest score minus 1 (the script says
    0.0).

    Returns:
        The threshold and its mean F1 in [0, 1].

    Raises:
        UserError: no question is unanswerable, or ids do not fit.
    """
    answering = _answering(examples, predictions, normalizer=normalizer)
    if answering.has_answer.all():
        raise UserError(
            "data",
            "no question is unanswerable, so no threshold is best for F1",
            "Give data with unanswerable questions, or fit by equal errors (--fit-threshold equal-errors).",
        )
    refusing = score(examples, dict.fromkeys(answering.ids), normalizer=normalizer).f1
    odds = _odds([predictions[name] for name in answering.ids])
    order = np.argsort(odds, kind="stable")
    ranked = odds[order]
    total = refusing.sum() + np.cumsum((answering.f1 - refusing)[order])
    # A legal cut lies after the last of equal scores; infinite scores (no legal span) are never worth a cut.
    legal = np.append(ranked[1:] != ranked[:-1], True) & np.isfinite(ranked)
    cuts = np.append(ranked[np.isfinite(ranked)][:1] - 1.0, ranked[legal])
    totals = np.append(refusing.sum(), total[legal])
    # Rounded, so that sums which differ by the order of addition alone still tie.
    best = int(np.argmax(totals.round(9)))
    return (float(cuts[best]) if cuts.size else 0.0), float(totals[best] / len(odds))


def equal_errors(answerable: NDArray[np.float64], absent: NDArray[np.float64]) -> float:
    """The threshold at which the share of `answerable` scores above it is nearest to that of `absent` ones below.

    Args:
        answerable: (N,) scores of questions that have an answer; infinite where no span is legal.
        absent: (M,) scores of questions that have none.
    """
    candidates = np.unique(np.concatenate([answerable, absent]))
    if not (candidates := candidates[np.isfinite(candidates)]).size:
        return 0.0
    refused = 1 - np.searchsorted(np.sort(answerable), candidates, side="right") / len(answerable)
    answered = np.searchsorted(np.sort(absent), candidates, side="right") / len(absent)
    return float(candidates[np.abs(refused - answered).argmin()])


def area(answerable: NDArray[np.float64], absent: NDArray[np.float64]) -> float:
    """The chance that a random `absent` score is above a random `answerable` one; ties count half."""
    ordered = np.sort(answerable)
    below, upto = (np.searchsorted(ordered, absent, side=side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / len(answerable))


# ---------------------------------------------------------------------------------------------------- parts
def _groups(examples: Sequence[Example]) -> dict[str, list[Example]]:
    return {
        ANSWERABLE: [example for example in examples if example.answers],
        UNANSWERABLE: [example for example in examples if example.labeled and not example.answers],
    }


def _off_topic(answerable: Sequence[Example], seed: int) -> list[Example]:
    if not answerable:
        raise UserError("data", "hold no question that has an answer", "Give other questions.")
    if not (elsewhere := paired(answerable, paragraphs=1, seed=seed)):
        raise UserError("data", "hold a single paragraph, and no other to ask about", "Give more paragraphs.")
    return elsewhere


def _odds(predictions: Sequence[Prediction]) -> NDArray[np.float64]:
    return np.array([one.no_answer_score for one in predictions], dtype=np.float64)


def _answering(examples: Sequence[Example], predictions: Mapping[str, Prediction], *, normalizer: str) -> Scores:
    """The scores of always answering."""
    spans = {name: prediction.best.text if prediction.best else None for name, prediction in predictions.items()}
    return score(examples, spans, normalizer=normalizer)


def _must_answer(
    examples: Sequence[Example], predictions: Mapping[str, Prediction], *, seed: int, resamples: int
) -> dict[str, Any]:
    """F1 and exact match in percent of always answering what has an answer; empty if nothing has one."""
    answerable = _groups(examples)[ANSWERABLE]
    if not answerable:
        return {}
    scores = _answering(answerable, {one.id: predictions[one.id] for one in answerable}, normalizer="squad")
    interval = bootstrap_interval(scores.f1, scores.clusters, seed=seed, resamples=resamples).scaled(100)
    return {"f1": 100 * float(scores.f1.mean()), "f1_ci": interval, "em": 100 * float(scores.em.mean())}
