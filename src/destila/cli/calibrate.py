"""`destila calibrate`: the probability that an answer is right, and what is promised of answers above some of it."""

from collections.abc import Iterator
from dataclasses import asdict

from destila.cli.result import show
from destila.config import CalibrateSettings
from destila.core.language import say
from destila.evaluation.calibrating import Calibrated, calibrate


def run(settings: CalibrateSettings) -> None:
    """Calibrate, and print how far scores and probabilities were off, and what is promised."""
    found = calibrate(settings=settings)
    smallest = [{"max_error": wanted, "smallest": least} for wanted, least in found.smallest.items()]
    result = {**asdict(found), "calibration": found.calibration.as_json(), "smallest": smallest}
    show(result, "\n".join(map(say, _lines(found, settings))), json=settings.json)


def _lines(found: Calibrated, settings: CalibrateSettings) -> Iterator[str]:
    yield f"{sum(found.questions.values()):,} questions of {found.articles} articles"
    yield f"expected calibration error: scores {found.before.error:.3f}, probabilities {found.after.error:.3f}"
    for one in found.promises:
        yield (
            f"at most {one.max_error:.1%} wrong, with {one.confidence:.0%} confidence: answers of a probability of at "
            f"least {one.least_probability:.3f}, to {one.answered:.1%} of the questions; {one.wrong:.1%} are wrong"
        )
    for wanted, least in found.smallest.items():
        if least is None:
            yield f"at most {wanted:.1%} wrong: cannot be promised, and no other share can"
        else:
            yield f"at most {wanted:.1%} wrong: cannot be promised; the smallest share that can is {least:.0%}"
    if settings.write:
        yield f"written to the destila.json of {found.model}"
