"""The frontier and the choice against a reference that asks every point everything, for any points and budgets."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from destila.evaluation.pareto import Budget, Point, ask, choose, dominates, frontier, nearest, why_nothing_fits

SCORE = st.sampled_from([0.0, 0.25, 0.5, 1.0])  # sums of these are exact
NUMBER = st.integers(1, 6).map(float)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Point], list[list[float]], Budget]:
    count, questions = draw(st.integers(1, 6)), draw(st.integers(1, 23))
    points = [Point(f"p{number}", draw(NUMBER), draw(NUMBER)) for number in range(count)]
    scores = [draw(st.lists(SCORE, min_size=questions, max_size=questions)) for _ in points]
    limit = st.one_of(st.just(math.inf), st.integers(1, 7).map(float))
    return points, scores, Budget(draw(limit), draw(limit), draw(st.sampled_from([0.0, 25.0, 50.0, 80.0, 100.0])))


def asked_everything(points: list[Point], scores: list[list[float]]) -> list[Point]:
    return [Point(p.name, p.ms, p.mb, 100 * sum(own) / len(own)) for p, own in zip(points, scores, strict=True)]


def reference_frontier(points: list[Point]) -> set[str]:
    """By the definition: a point is out if another is as good on all three axes and better on one."""
    axes = {point.name: (point.ms, point.mb, -point.f1) for point in points}
    return {
        name
        for name, own in axes.items()
        if not any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in axes.values())
    }


def reference_choice(points: list[Point], budget: Budget) -> set[tuple[float, ...]]:
    """What the best may look like, spelled out; several points may look like it."""
    fitting = [p for p in points if p.ms <= budget.max_ms and p.mb <= budget.max_mb and p.f1 >= budget.min_f1]
    keys = [(p.ms, -p.f1, p.mb) if budget.min_f1 else (-p.f1, p.ms, p.mb) for p in fitting]
    return {min(keys)} if keys else set()


@given(cases())
def test_giving_up_changes_no_outcome(case: tuple[list[Point], list[list[float]], Budget]) -> None:
    points, scores, budget = case
    asked: list[tuple[int, int]] = []

    def score(place: int, start: int, stop: int) -> float:
        assert start < stop
        asked.extend((place, question) for question in range(start, stop))
        return sum(scores[place][start:stop])

    found = ask(points, budget, score, questions=len(scores[0]))
    whole = asked_everything(points, scores)
    assert len(set(asked)) == len(asked), "no question twice"
    for before, after, true in zip(points, found, whole, strict=True):
        assert (after.name, after.ms, after.mb) == (before.name, before.ms, before.mb)
        assert after.f1 in (None, true.f1)
        assert (after.f1 is None) == bool(after.skipped)
    choice = choose(found, budget)
    expected = reference_choice(whole, budget)
    if choice is None:
        assert not expected
        assert all(point.f1 is not None or "not asked: breaks" in point.skipped for point in found)
        assert why_nothing_fits(found, budget)
    else:
        key = (choice.ms, -choice.f1, choice.mb) if budget.min_f1 else (-choice.f1, choice.ms, choice.mb)
        assert {key} == expected
    if not budget.min_f1:
        within = [p for p in whole if p.ms <= budget.max_ms and p.mb <= budget.max_mb]
        assert {p.name for p in frontier(found)} == reference_frontier(within)


@given(cases())
def test_the_frontier_is_that_of_the_definition(case: tuple[list[Point], list[list[float]], Budget]) -> None:
    points = asked_everything(case[0], case[1])
    assert {point.name for point in frontier(points)} == reference_frontier(points)
    assert all(not dominates(point, point) for point in points)


def no_questions(place: int, start: int, stop: int) -> float:
    raise AssertionError("a point that breaks a limit is asked nothing")


def test_what_breaks_a_limit_is_asked_nothing() -> None:
    points = [Point("slow", 9, 1), Point("large", 1, 9)]
    found = ask(points, Budget(max_ms=5, max_mb=5), no_questions, questions=10)
    assert [point.skipped for point in found] == ["not asked: breaks --max-ms", "not asked: breaks --max-mb"]
    assert choose(found, Budget(max_ms=5, max_mb=5)) is None


def test_work_is_saved_and_the_reasons_are_told() -> None:
    rates = {"tiny": 0.4, "good": 0.9, "worse": 0.3, "slower": 0.95}
    points = [Point("tiny", 1, 1), Point("good", 2, 2), Point("worse", 3, 3), Point("slower", 4, 4)]
    counts = dict.fromkeys(rates, 0)

    def score(place: int, start: int, stop: int) -> float:
        counts[points[place].name] += stop - start
        return rates[points[place].name] * (stop - start)

    free = ask(points, Budget(), score, questions=100)
    assert counts == {"tiny": 100, "good": 100, "worse": 20, "slower": 100}
    assert free[2].skipped == "given up after 20 of 100 questions: F1 of at most 86.0, dominated by good"
    assert choose(free, Budget()).name == "slower"
    counts.update(dict.fromkeys(rates, 0))
    strict = ask(points, Budget(min_f1=80), score, questions=100)
    assert counts == {"tiny": 40, "good": 100, "worse": 0, "slower": 0}
    assert strict[0].skipped == "given up after 40 of 100 questions: F1 of at most 76.0"
    assert strict[3].skipped == "not asked: slower than good, which is good enough"
    assert choose(strict, Budget(min_f1=80)).name == "good"


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (Budget(max_ms=4), ["--max-ms 4: the fastest, a, takes 5.0 ms", "The nearest is a", "--max-ms by 25%"]),
        (Budget(max_mb=10), ["--max-mb 10: the smallest, b, has 20.0 MB", "The nearest is b", "--max-mb by 100%"]),
        (Budget(max_ms=6, max_mb=30), ["Each limit can be kept, but not all together", "b (8.0 ms, 20.0 MB)", "33%"]),
        (
            Budget(min_f1=90),
            ["--min-f1 90: none of the 2 within", "The nearest is b (8.0 ms, 20.0 MB, F1 60.0)", "33%"],
        ),
    ],
)
def test_a_budget_that_nothing_meets_names_the_limit_and_the_nearest(budget: Budget, expected: list[str]) -> None:
    points = [Point("a", 5, 50), Point("b", 8, 20)]
    found = ask(points, budget, lambda place, start, stop: (0.5, 0.6)[place] * (stop - start), questions=100)
    assert choose(found, budget) is None
    said = why_nothing_fits(found, budget)
    for part in expected:
        assert part in said, said
    assert nearest([], budget) is None
