"""How alike two people answer the same questions: what a reader can at most be asked for.

Invariants: the measures are symmetric but for F1 with several answers to a question; no answer is an answer like any
other. Nothing here says who is right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from destila.core.records import Example
from destila.evaluation.bootstrap import bootstrap_interval
from destila.evaluation.metrics import exact_match, f1, gold_texts

NORMALIZER = "squad"


@dataclass(frozen=True)
class Difference:
    """A question that two people answer differently; None: no answer."""

    id: str
    question: str
    first: str | None
    second: str | None


@dataclass(frozen=True)
class Agreement:
    """What two people have in common.

    Attributes:
        n: questions that both have; `only_first`, `only_second`: that one of them alone has.
        exact: share with the same answer after normalization, in percent; `f1`: mean token F1, likewise.
        answerable: share of which both say that they have an answer, or both that they have none, in percent.
        kappa: Cohen's kappa of that, 1 for full agreement and 0 for that of chance (Cohen 1960, "A coefficient of
            agreement for nominal scales"); None where both always say the same one thing, and there is nothing to
            agree on by chance.
        exact_ci, f1_ci, answerable_ci: 95 % bootstrap intervals, clustered by article.
        differing: the questions that are not answered the same.
    """

    n: int
    only_first: int
    only_second: int
    exact: float
    exact_ci: tuple[float, float]
    f1: float
    f1_ci: tuple[float, float]
    answerable: float
    answerable_ci: tuple[float, float]
    kappa: float | None
    differing: tuple[Difference, ...]
    normalizer: str = NORMALIZER


def agreement_of(first: Sequence[Example], second: Sequence[Example], *, seed: int = 1) -> Agreement | None:
    """Compare two people's answers; None where they have no question in common.

    A question is the same where its context is, and its id or its words.
    """
    pairs = _pairs(first, second)
    if not pairs:
        return None
    texts = [(_text(one), gold_texts(one), _text(other)) for one, other in pairs]
    exact = np.array([exact_match(other, golds, normalizer=NORMALIZER) for _, golds, other in texts])
    overlap = np.array([f1(other, golds, normalizer=NORMALIZER) for _, golds, other in texts])
    answered = np.array([(one is not None, other is not None) for one, _, other in texts])
    same = (answered[:, 0] == answered[:, 1]).astype(np.float64)
    clusters = [one.title or one.context for one, _ in pairs]
    intervals = [bootstrap_interval(values, clusters, seed=seed).scaled(100) for values in (exact, overlap, same)]
    differing = [
        Difference(one.id, one.question, mine, other)
        for (one, _), (mine, _, other), equal in zip(pairs, texts, exact, strict=True)
        if not equal
    ]
    shares = answered.mean(axis=0)
    by_chance = float(shares.prod() + (1 - shares).prod())
    return Agreement(
        n=len(pairs),
        only_first=len(first) - len(pairs),
        only_second=len(second) - len(pairs),
        exact=100 * float(exact.mean()),
        exact_ci=intervals[0],
        f1=100 * float(overlap.mean()),
        f1_ci=intervals[1],
        answerable=100 * float(same.mean()),
        answerable_ci=intervals[2],
        kappa=(float(same.mean()) - by_chance) / (1 - by_chance) if by_chance < 1 else None,
        differing=tuple(differing),
    )


def _pairs(first: Sequence[Example], second: Sequence[Example]) -> list[tuple[Example, Example]]:
    """The questions that both have, each once."""
    by_id = {(example.context, example.id): example for example in second}
    by_words = {(example.context, _words(example)): example for example in second}
    found = dict[str, tuple[Example, Example]]()
    for one in first:
        other = by_id.get((one.context, one.id)) or by_words.get((one.context, _words(one)))
        if other is not None:
            found.setdefault(other.id, (one, other))
    return list(found.values())


def _words(example: Example) -> str:
    return " ".join(example.question.casefold().split())


def _text(example: Example) -> str | None:
    return next(iter(gold_texts(example)), None)
