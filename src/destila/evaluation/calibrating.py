"""Make probabilities of a reader's scores, and promise how many of its answers are wrong: what `calibrate` does.

Articles are dealt to FOLDS folds. What is said of a question, how far its probability is off and whether a promise
holds (`destila.evaluation.promise`), comes from a map (`destila.core.calibration`) that was fitted on the other folds;
the map that is kept is fitted on all. "Right" is an exact match by the rules of MLQA for Spanish, which overlook "el"
and punctuation. "Wrong", for a promise, is an answer that shares too few words with every gold answer (`JudgedSpans`),
or that is given where there is none: an answer with another boundary misleads nobody.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from destila.config import CalibrateSettings
from destila.config.loader import settings_of
from destila.core.calibration import Calibration, Promise
from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.progress import Listener, listening
from destila.core.records import Example, Prediction
from destila.data.negatives import paired
from destila.data.sources import load_gold, require_labeled
from destila.evaluation.calibration import Reliability, judge_spans, reliability
from destila.evaluation.metrics import Scores
from destila.evaluation.promise import promise, smallest_error
from destila.evaluation.threshold import ANSWERABLE, OFF_TOPIC, UNANSWERABLE
from destila.inference.reader import Reader

FOLDS = 5
STEPS, RIDGE = 50, 1e-6  # of Newton's method, which takes about ten; keeps what separates perfectly finite
LONGEST = 30.0  # odds beyond it are as good as certain, and exp overflows

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibrated:
    """A calibration, and what was measured on articles that their map was not fitted on.

    Attributes:
        model: its name; `data`: what it was fitted and tested on.
        questions: how many there were, by group: "answerable", "unanswerable", "off-topic".
        articles: how many there were.
        before: reliability of the scores as they are, over the best spans of all questions.
        after: the same of the probabilities.
        smallest: of each share of wrong answers that could not be promised, the smallest that could be; None: none.
    """

    model: str
    data: str
    calibration: Calibration
    questions: Mapping[str, int]
    articles: int
    before: Reliability
    after: Reliability
    smallest: Mapping[float, float | None]

    @property
    def promises(self) -> tuple[Promise, ...]:
        """What holds of the answers above some probability."""
        return self.calibration.promises


def calibrate(
    model: "str | Path | Reader | None" = None,
    data: str | Path | Sequence[str | Path] | Sequence[Example] = (),
    *,
    settings: CalibrateSettings | Mapping[str, Any] | None = None,
    progress: Listener | None = None,
    **changes: Any,
) -> Calibrated:
    """Fit the probability that an answer is right, and test what can be promised of answers above some probability.

    >>> import destila
    >>> found = destila.calibrate(data="data/nativa/test.json", max_error=[0.5])
    >>> 0 <= found.after.error < found.before.error
    True

    Args:
        model: a reader, a local directory or a hub id; None: the bundled model.
        data: files, named sources, or examples.
        settings: a `CalibrateSettings`, or None for the defaults.
        progress: is told of all progress; None: nobody is.
        changes: settings that differ, such as max_error=[0.1] or write=True.

    Raises:
        UserError: data without labels, of a single article, or without both right and wrong answers; a model or a file
            that cannot be read, or not be written.
    """
    chosen = settings_of(CalibrateSettings, settings, changes)
    asked: Any = chosen.model if model is None else model
    items: list[Any] = [data] if isinstance(data, str | Path) else list(data) or list(chosen.data)
    _check(chosen, asked, items)
    with listening(progress):
        given = [item for item in items if isinstance(item, Example)]
        names = [str(item) for item in items if not isinstance(item, Example)]
        examples = [one for one in given + (load_gold(names) if names else []) if one.labeled]
        name = ", ".join(names) or f"{len(given)} examples"
        require_labeled(examples, name)
        elsewhere = paired(examples, paragraphs=chosen.off_topic, seed=chosen.seed, labeled=True)
        reader = asked if isinstance(asked, Reader) else _reader(chosen, asked)
        predictions = reader.predict([*examples, *elsewhere])
        found = fit(
            [*examples, *elsewhere],
            predictions,
            max_errors=chosen.max_error,
            seed=chosen.seed,
            model=reader.name,
            data=name,
        )
        if chosen.write:
            directory = Path(str(asked))
            about = ModelMetadata.read(directory).changed(calibration=found.calibration.as_json())
            about.write(directory)
    return replace(
        found,
        questions={
            ANSWERABLE: sum(bool(one.answers) for one in examples),
            UNANSWERABLE: sum(not one.answers for one in examples),
            OFF_TOPIC: len(elsewhere),
        },
    )


def fit(
    examples: Sequence[Example],
    predictions: Mapping[str, Prediction],
    *,
    max_errors: Sequence[float] = (),
    seed: int = 1,
    model: str = "model",
    data: str = "data",
) -> Calibrated:
    """The same of predictions that were made already.

    Args:
        examples: labeled; `predictions`: by id, under any threshold.
        max_errors: shares of wrong answers to promise.

    Raises:
        UserError: the examples are of a single article, or some folds lack right or wrong spans.
    """
    judged = judge_spans(examples, predictions)
    scores, said, answered = judged.scores, judged.said, judged.answered
    right, wrong = scores.em * answered, judged.misleading.astype(float)
    folds, quantities = _folds(scores, seed, data), _quantities(said)
    probabilities = np.zeros(len(said))
    for fold in range(folds.max() + 1):
        weights = _fitted(quantities, right, answered & (folds != fold), data)
        held_out = Calibration(*weights)
        for place in np.flatnonzero(folds == fold):
            probabilities[place] = held_out.probability(said[place])
    tested = probabilities[answered], wrong[answered], scores.clusters[answered]
    promises = {most: promise(*tested, max_error=most) for most in max_errors}
    raw = np.array([one.best.score for one in said if one.best])
    kept = Calibration(*_fitted(quantities, right, answered, data))
    return Calibrated(
        model=model,
        data=data,
        calibration=replace(kept, promises=tuple(one for one in promises.values() if one)),
        questions={},
        articles=len(np.unique(scores.clusters)),
        before=reliability(raw, right[answered]),
        after=reliability(probabilities[answered], right[answered]),
        smallest={most: smallest_error(*tested) for most, one in promises.items() if one is None},
    )


# ---------------------------------------------------------------------------------------------------- parts
def _check(settings: CalibrateSettings, model: Any, data: Sequence[Any]) -> None:
    problems = [] if data else ["--data: is required"]
    if len(set(settings.max_error)) < len(settings.max_error):
        problems.append("--max-error: the same share stands twice")
    if settings.write and (isinstance(model, Reader) or model is None or not Path(str(model)).is_dir()):
        name = model.name if isinstance(model, Reader) else model or "the bundled model"
        problems.append(f"--write: {name} is not named as a local directory")
    if problems:
        raise UserError.from_problems("destila calibrate", problems, "Run it with --help for every setting.")


def _reader(settings: CalibrateSettings, model: Any) -> Reader:
    name = None if model is None else str(model)
    return Reader.load(name, backend=settings.backend, revision=settings.revision, threads=settings.threads)


def _folds(scores: Scores, seed: int, data: str) -> NDArray[np.int64]:
    """(N,) the fold of each question: articles are kept whole, the largest dealt first, each to the smallest fold."""
    sizes = Counter(scores.clusters.tolist())
    if len(sizes) < 2:
        raise UserError(data, "holds a single article, and none to test on", "Give data of several articles.")
    articles, held = list(sizes), [0] * min(FOLDS, len(sizes))
    random.Random(seed).shuffle(articles)
    fold = dict[int, int]()
    for article in sorted(articles, key=lambda article: -sizes[article]):
        fold[article] = held.index(min(held))
        held[fold[article]] += sizes[article]
    return np.array([fold[article] for article in scores.clusters.tolist()])


def _quantities(said: Sequence[Prediction]) -> Floats:
    """(N, 3) one, margin and share of `Calibration`; zeros where there is no span."""
    rows = [(1.0, -one.no_answer_score, one.best_logit - one.spans_logit) if one.best else (0.0,) * 3 for one in said]
    return np.array(rows)


def _fitted(quantities: Floats, right: Floats, chosen: NDArray[np.bool_], data: str) -> tuple[float, float, float]:
    """Bias and the two weights; a weight that would fall below 0 is 0, so that the map rises in both quantities."""
    if not 0 < right[chosen].sum() < chosen.sum():
        found = "no wrong answers" if chosen.any() and right[chosen].all() else "no right answers"
        problem = f"some of the articles have {found}, so nothing can be learned of how to tell them apart"
        raise UserError(data, problem, "Give more questions.")
    used = [True, True, True]
    while True:
        weights = np.zeros(3)
        weights[used] = logistic(quantities[chosen][:, used], right[chosen])
        if not (falling := [place for place in (1, 2) if weights[place] < 0]):
            return float(weights[0]), float(weights[1]), float(weights[2])
        used[min(falling, key=lambda place: weights[place])] = False


def logistic(quantities: Floats, right: Floats) -> Floats:
    """The (Q,) weights of logistic regression, by Newton's method.

    Args:
        quantities: (N, Q), a column of ones among them if there shall be a bias.
        right: (N,) zeros and ones.
    """
    weights = np.zeros(quantities.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(quantities @ weights, -LONGEST, LONGEST)))
        slope = quantities.T @ (chance - right) + RIDGE * weights
        curve = (quantities * (chance * (1 - chance))[:, None]).T @ quantities + RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curve, slope)
        weights -= step
        if np.abs(step).max() < RIDGE:
            break
    return weights
