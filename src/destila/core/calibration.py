"""From the reader's own quantities to the probability that its best span is exactly right, and what that promises.

The map is logistic regression on two log-odds (Platt, 1999, on one; temperature scaling, Guo et al., 2017, is the case
of one weight and no bias): how far the best span stands above "no answer", and the logarithm of its share among all
spans. It rises in both. Kept in destila.json under "calibration"; `destila.evaluation.calibrating` fits it.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from destila.core.checks import is_finite
from destila.core.errors import UserError
from destila.core.records import Prediction


@dataclass(frozen=True, slots=True)
class Promise:
    """A least probability, and the share of wrong answers that its answers do not exceed with `confidence`.

    Attributes:
        max_error: the most answers that are wrong, as a share of those given.
        least_probability: an answer is given where its probability is at least this.
        confidence: how sure the bound is, over draws of the questions that it was tested on.
        answered: share of those questions that get an answer; `wrong`: share of these answers that is wrong.
        questions: how many there were.
    """

    max_error: float
    least_probability: float
    confidence: float
    answered: float
    wrong: float
    questions: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """The map `sigmoid(bias + margin * m + share * s)`, and the promises that were tested with it.

    m is the best span's logit less that of "no answer"; s is the logarithm of its share among all spans, 0 or less.

    >>> calibration = Calibration(bias=0.0, margin=1.0, share=1.0)
    >>> found = Prediction(Answer.none(), Answer("Lima", 0, 4), best_logit=2.0, null_logit=2.0, spans_logit=2.0)
    >>> calibration.probability(found)
    0.5
    """

    bias: float
    margin: float
    share: float
    promises: tuple[Promise, ...] = ()

    def probability(self, prediction: Prediction) -> float:
        """That the best span is exactly right, in [0, 1]; 0 where there is none."""
        if prediction.best is None:
            return 0.0
        share = prediction.best_logit - prediction.spans_logit
        odds = self.bias - self.margin * prediction.no_answer_score + self.share * share
        return 1 / (1 + math.exp(-odds)) if odds > 0 else math.exp(odds) / (1 + math.exp(odds))

    def least_probability(self, max_error: float, *, where: str) -> float:
        """The least probability of an answer under a promise.

        Raises:
            UserError: nothing of the kind was promised.
        """
        for promise in self.promises:
            if promise.max_error == max_error:
                return promise.least_probability
        promised = ", ".join(f"{promise.max_error:g}" for promise in self.promises) or "nothing"
        remedy = f"Choose one of these, or run destila calibrate --max-error {max_error:g} --write."
        raise UserError(where, f"no error of at most {max_error:g} was promised; these were: {promised}", remedy)

    def as_json(self) -> dict[str, Any]:
        """As destila.json holds it."""
        return asdict(self) | {"promises": [asdict(promise) for promise in self.promises]}

    @classmethod
    def problems(cls, value: Any) -> list[str]:
        """What is wrong with one that was read from a file."""
        found = _wrong(cls, value, "calibration", apart=("promises",))
        promises = value.get("promises") if isinstance(value, Mapping) else []
        if not isinstance(promises, list):
            return [*found, "the promises of calibration are no list"]
        for promise in promises:
            found += _wrong(Promise, promise, "a promise of calibration")
        return found

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "Calibration":
        """One that was read from a file and has no `problems`."""
        return cls(**{**value, "promises": tuple(Promise(**promise) for promise in value["promises"])})


def _wrong(kind: Any, value: Any, name: str, apart: tuple[str, ...] = ()) -> list[str]:
    """Keys that are missing or unknown; values that are no finite numbers, or negative where that makes no sense."""
    if not isinstance(value, Mapping):
        return [f"{name} is {value!r} and not a JSON object"]
    wanted = {one.name for one in fields(kind)}
    if value.keys() != wanted:
        return [f"{name} has the keys {', '.join(sorted(value))}, not {', '.join(sorted(wanted))}"]
    return [
        f"{key} of {name} is {number!r}: it is a finite number{'' if key == 'bias' else ' of 0 or more'}"
        for key, number in value.items()
        if key not in apart and not (is_finite(number) and (key == "bias" or number >= 0))
    ]
