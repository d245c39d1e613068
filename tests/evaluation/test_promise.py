"""What is promised holds, on draws from a known truth; p-values by exact sums; questions of one article."""

import math
from fractions import Fraction

import numpy as np
import pytest

from destila.evaluation.promise import CONFIDENCE, design_effect, p_value, promise, smallest_error


@pytest.mark.parametrize(("wrong", "answers", "most"), [(0, 45, 0.05), (3, 100, 0.1), (40, 120, 0.4), (7, 7, 0.9)])
def test_the_p_value_is_the_binomial_tail(wrong: int, answers: int, most: float) -> None:
    share = Fraction(most)
    tail = sum(math.comb(answers, k) * share**k * (1 - share) ** (answers - k) for k in range(wrong + 1))
    assert p_value(wrong, answers, most, effect=1.0) == pytest.approx(float(tail), rel=1e-9)


def test_the_p_value_where_nothing_is_answered_or_nothing_matters() -> None:
    assert p_value(0, 0, 0.5, effect=1.0) == 1.0
    assert p_value(3, 10, 0.0, effect=1.0) == 1.0
    assert p_value(3, 10, 1.0, effect=1.0) == 0.0


def test_the_promise_holds_as_often_as_it_says() -> None:
    """Probabilities that are right, evenly spread: above t, (1 - t) / 2 of the answers are wrong in truth."""
    generator, broken, given = np.random.default_rng(1), 0, 0
    draws, most = 300, 0.2
    for _ in range(draws):
        probabilities = generator.random(600)
        wrong = (generator.random(600) > probabilities).astype(float)
        found = promise(probabilities, wrong, np.arange(600), max_error=most)
        if found is not None:
            given += 1
            broken += (1 - found.least_probability) / 2 > most
            assert found.wrong <= most
            assert found.answered == np.mean(probabilities >= found.least_probability)
    assert given > draws / 2, "it promises something"
    assert broken <= (1 - CONFIDENCE) * draws


def test_the_promise_holds_where_articles_are_right_or_wrong_as_a_whole() -> None:
    """Eight questions of each article are copies of one: they say no more than one does."""
    generator, draws, most = np.random.default_rng(2), 200, 0.2
    broken = {True: 0, False: 0}
    for _ in range(draws):
        first = generator.random(100)
        probabilities = np.repeat(first, 8)
        wrong = np.repeat((generator.random(100) > first).astype(float), 8)
        for by_article in broken:
            clusters = np.repeat(np.arange(100), 8) if by_article else np.arange(800)
            found = promise(probabilities, wrong, clusters, max_error=most)
            broken[by_article] += found is not None and (1 - found.least_probability) / 2 > most
    assert broken[True] <= (1 - CONFIDENCE) * draws
    assert broken[False] > broken[True], "without the articles the bound would be broken more often"


def test_copies_count_as_one() -> None:
    values = np.repeat((np.arange(50) % 2).astype(float), 4)
    assert design_effect(values, np.repeat(np.arange(50), 4)) == pytest.approx(4 * 50 / 49)
    assert design_effect(values, np.arange(200)) == pytest.approx(1.0, abs=0.01)
    assert design_effect(np.zeros(5), np.arange(5)) == 1.0


def test_what_cannot_be_promised_is_not_and_the_smallest_that_can_is_said() -> None:
    generator = np.random.default_rng(3)
    probabilities, wrong = generator.random(400), (generator.random(400) < 0.3).astype(float)
    given = probabilities, wrong, np.arange(400)
    smallest = smallest_error(*given)
    assert smallest is not None
    assert 0.3 < smallest < 0.45
    assert promise(*given, max_error=smallest) is not None
    assert promise(*given, max_error=smallest - 0.01) is None
    assert smallest_error(probabilities, np.ones(400), np.arange(400)) is None
