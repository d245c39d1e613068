"""Intervals and tests against simulation, plain loops and full enumeration."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destila.evaluation.bootstrap import bootstrap_interval, paired_test, ratio_interval


def draw_articles(random, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores that vary between articles of unequal size (the size says nothing of the score); their mean is 0.7."""
    sizes = random.integers(5, 30, size=count)
    values = 0.7 + np.repeat(random.normal(0, 0.1, size=count), sizes) + random.normal(0, 0.3, size=sizes.sum())
    return values, np.repeat(np.arange(count), sizes)


@pytest.mark.parametrize("count", [6, 12, 40])
def test_the_interval_covers_the_truth_as_often_as_it_says(count: int) -> None:
    random = np.random.default_rng(7)
    trials, covered, naive = 400, 0, 0
    for trial in range(trials):
        values, clusters = draw_articles(random, count)
        interval = bootstrap_interval(values, clusters, seed=trial, resamples=400)
        covered += interval.low <= 0.7 <= interval.high
        naive += abs(values.mean() - 0.7) <= 1.96 * values.std() / math.sqrt(len(values))
    # Two standard errors of a share of 400 are 0.022; few articles cost a little more.
    assert 0.91 <= covered / trials <= 0.99
    assert naive / trials < 0.88  # what treating questions as independent would have covered


def test_the_interval_equals_a_plain_loop_over_articles() -> None:
    values, clusters = draw_articles(np.random.default_rng(3), 20)
    found = bootstrap_interval(values, clusters, seed=11, resamples=300)
    random, means = np.random.default_rng(11), []
    groups = [values[clusters == name] for name in range(20)]
    for _ in range(300):
        means.append(np.concatenate([groups[pick] for pick in random.integers(20, size=20)]).mean())
    assert min(means) <= found.low < np.quantile(means, 0.025) + 1e-12
    assert np.quantile(means, 0.975) - 1e-12 < found.high <= max(means)
    assert (found.clusters, found.unit) == (20, "articles")


def test_intervals_are_seeded_and_do_not_depend_on_names_or_order_of_questions() -> None:
    values, clusters = draw_articles(np.random.default_rng(5), 15)
    first = bootstrap_interval(values, clusters, seed=1)
    assert first == bootstrap_interval(values, clusters, seed=1)
    assert first != bootstrap_interval(values, clusters, seed=2)
    assert first == bootstrap_interval(values, [f"article {name:02}" for name in clusters], seed=1)
    backwards = bootstrap_interval(values[::-1], clusters[::-1], seed=1)
    assert (first.low, first.high) == pytest.approx((backwards.low, backwards.high))


def test_one_article_falls_back_to_questions_and_says_so() -> None:
    values = np.array([0.0, 1.0] * 50)
    interval = bootstrap_interval(values, np.zeros(100), seed=1)
    assert (interval.clusters, interval.unit) == (100, "questions")
    assert interval.low == pytest.approx(0.4, abs=0.03)
    single = bootstrap_interval([0.5], ["a"], seed=1)
    assert (single.low, single.high) == (0.5, 0.5)


def test_many_questions_are_resampled_in_pieces() -> None:
    values = np.random.default_rng(1).random(30_000)
    interval = bootstrap_interval(values, np.arange(30_000), seed=1, resamples=300)
    half = 1.96 * values.std() / math.sqrt(30_000)
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 4)


def test_a_ratio_brackets_the_retention() -> None:
    random = np.random.default_rng(2)
    teacher, clusters = draw_articles(random, 30)
    interval = ratio_interval(0.9 * teacher, teacher, clusters, seed=1)
    assert (interval.low, interval.high) == pytest.approx((0.9, 0.9))


def exact_sign_flip(differences: list[float]) -> float:
    observed = abs(sum(differences))
    flips = [
        sum(sign * value for sign, value in zip(signs, differences, strict=True))
        for signs in itertools.product([1, -1], repeat=len(differences))
    ]
    return sum(abs(value) >= observed - 1e-9 for value in flips) / len(flips)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=4), min_size=2, max_size=7)
)
def test_p_equals_all_sign_flips_of_articles(articles) -> None:
    differences = [value for article in articles for value in article]
    clusters = [number for number, article in enumerate(articles) for _ in article]
    found = paired_test(np.zeros(len(differences)), differences, clusters, seed=1, resamples=4000)
    assert found.p == pytest.approx(exact_sign_flip([sum(article) for article in articles]), abs=0.035)
    assert found.difference == pytest.approx(np.mean(differences))


def test_p_holds_its_level_and_finds_a_real_difference() -> None:
    random = np.random.default_rng(9)
    false_alarms, found = 0, 0
    for trial in range(300):
        noise, clusters = draw_articles(random, 12)
        first = np.zeros_like(noise)
        false_alarms += paired_test(first, noise - 0.7, clusters, seed=trial, resamples=199).p <= 0.05
        found += paired_test(first, noise - 0.5, clusters, seed=trial, resamples=199).p <= 0.05
    assert false_alarms / 300 <= 0.08
    assert found / 300 >= 0.95


def test_identical_systems_do_not_differ() -> None:
    values, clusters = draw_articles(np.random.default_rng(1), 10)
    found = paired_test(values, values, clusters, seed=1)
    assert (found.difference, found.p, found.interval.low, found.interval.high) == (0, 1, 0, 0)
