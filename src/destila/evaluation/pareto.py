"""Which of several readers to take: quality against latency against size, under a budget, with little work.

Mental model: size is free to know and latency cheap, quality is dear. So points that break a limit of size or latency
are never asked a question; the others are asked portions of the questions, the fast ones first, and a point is given up
as soon as even right answers to all that is left could not help it. Where no point keeps all limits, those given up
for their quality are asked the rest, so that the nearest is known.

Invariant: giving up never changes the outcome: the choice, and without a limit of quality the frontier too, are those
that asking every point everything would give. This module times and asks nothing itself: `Score` does.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

CLOSE = 1e-9  # sums of scores are compared with this much room


@dataclass(frozen=True, slots=True)
class Point:
    """One way to run one model."""

    name: str
    ms: float  # of a query
    mb: float  # of the files that it takes
    f1: float | None = None  # in percent; None where it was not asked everything
    skipped: str = ""  # why it was not; empty where it was


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits; the defaults are none."""

    max_ms: float = math.inf
    max_mb: float = math.inf
    min_f1: float = 0.0

    def excesses(self, point: Point) -> dict[str, float]:
        """The limits that a point is known to break, and by how much of the limit."""
        found = {}
        if point.ms > self.max_ms:
            found["--max-ms"] = point.ms / self.max_ms - 1
        if point.mb > self.max_mb:
            found["--max-mb"] = point.mb / self.max_mb - 1
        if point.f1 is not None and point.f1 < self.min_f1 - CLOSE:
            found["--min-f1"] = 1 - point.f1 / self.min_f1
        return found


# (which point, first question, one past the last) -> sum of their F1, each from 0 to 1
Score = Callable[[int, int, int], float]


def dominates(better: Point, worse: Point) -> bool:
    """Whether a point is nowhere worse than another, and somewhere better; both have been asked everything."""
    assert better.f1 is not None
    assert worse.f1 is not None
    nowhere_worse = better.ms <= worse.ms and better.mb <= worse.mb and better.f1 >= worse.f1
    return nowhere_worse and (better.ms < worse.ms or better.mb < worse.mb or better.f1 > worse.f1)


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points of known quality that no other dominates."""
    known = [point for point in points if point.f1 is not None]
    return [point for point in known if not any(dominates(other, point) for other in known)]


def choose(points: Sequence[Point], budget: Budget) -> Point | None:
    """The point to take: with a limit of quality the fastest that keeps all limits, else the best that does.

    Ties go to what is faster, better, smaller, first named. None: no point of known quality keeps all limits.
    """
    fitting = [point for point in points if point.f1 is not None and not budget.excesses(point)]
    if budget.min_f1:
        return min(fitting, key=lambda point: (point.ms, -(point.f1 or 0), point.mb), default=None)
    return min(fitting, key=lambda point: (-(point.f1 or 0), point.ms, point.mb), default=None)


def ask(points: Sequence[Point], budget: Budget, score: Score, *, questions: int, portions: int = 10) -> list[Point]:
    """Find the quality of all points that may matter; the others say why they were given up.

    Args:
        points: with latency and size, without quality.
        score: asks; every point is asked the same questions in the same order.
        questions: how many there are.
    """
    found, sums = list(points), [_Sum() for _ in points]
    for place in sorted(range(len(points)), key=lambda index: (points[index].ms, points[index].mb)):
        point = points[place]
        if broken := budget.excesses(point):
            found[place] = replace(point, skipped=f"not asked: breaks {' and '.join(broken)}")
            continue
        chosen = choose(found, budget) if budget.min_f1 else None
        if chosen and chosen.ms < point.ms:
            found[place] = replace(point, skipped=f"not asked: slower than {chosen.name}, which is good enough")
            continue
        stops = {questions * number // portions for number in range(1, portions + 1)} - {0}
        for stop in sorted(stops):
            sums[place].add(score(place, sums[place].asked, stop), stop)
            reason = _hopeless(point, sums[place], found, budget, questions=questions)
            if reason and stop < questions:
                found[place] = replace(point, skipped=f"given up after {stop:,} of {questions:,} questions: {reason}")
                break
        else:
            found[place] = replace(point, f1=100 * sums[place].total / questions)
    if choose(found, budget) is None:
        for place, given_up in enumerate(sums):
            if 0 < given_up.asked < questions:
                given_up.add(score(place, given_up.asked, questions), questions)
                found[place] = replace(points[place], f1=100 * given_up.total / questions)
    return found


@dataclass(slots=True)
class _Sum:
    """What a point's answers to the first so many questions are worth together."""

    total: float = 0.0
    asked: int = 0

    def add(self, more: float, asked: int) -> None:
        self.total, self.asked = self.total + more, asked


def _hopeless(point: Point, answers: _Sum, found: Sequence[Point], budget: Budget, *, questions: int) -> str:
    """Why a point cannot win even if all further answers are right; empty if it can."""
    most = 100 * (answers.total + questions - answers.asked) / questions
    at_best = replace(point, f1=most)
    if "--min-f1" in budget.excesses(at_best):
        return f"F1 of at most {most:.1f}"
    for other in found:
        if other.f1 is not None and other.f1 > most + CLOSE and dominates(other, at_best):
            return f"F1 of at most {most:.1f}, dominated by {other.name}"
    return ""


# ---------------------------------------------------------------------------------------------------- nothing fits
def why_nothing_fits(points: Sequence[Point], budget: Budget) -> str:
    """Which limits fail, and the nearest point; for when `choose` finds none."""
    lines = []
    if not any(point.ms <= budget.max_ms for point in points):
        best = min(points, key=lambda point: point.ms)
        lines.append(f"--max-ms {budget.max_ms:g}: the fastest, {best.name}, takes {best.ms:.1f} ms.")
    if not any(point.mb <= budget.max_mb for point in points):
        best = min(points, key=lambda point: point.mb)
        lines.append(f"--max-mb {budget.max_mb:g}: the smallest, {best.name}, has {best.mb:.1f} MB.")
    asked = [point for point in points if point.f1 is not None]
    if asked:  # they keep the other limits, so quality is what failed
        lines.append(f"--min-f1 {budget.min_f1:g}: none of the {len(asked)} within the other limits reaches it.")
    elif not lines:
        lines.append("Each limit can be kept, but not all together.")
    near = nearest(points, budget)
    if near:
        numbers = f"{near.ms:.1f} ms, {near.mb:.1f} MB" + (f", F1 {near.f1:.1f}" if near.f1 is not None else "")
        excesses = ", ".join(f"{name} by {share:.0%}" for name, share in budget.excesses(near).items())
        lines.append(f"The nearest is {near.name} ({numbers}): it misses {excesses}.")
    return "\n".join(lines)


def nearest(points: Sequence[Point], budget: Budget) -> Point | None:
    """The point whose worst excess is least, among those that are known to break a limit."""
    broken = [point for point in points if budget.excesses(point)]
    asked = [point for point in broken if point.f1 is not None]
    return min(asked or broken, key=lambda point: max(budget.excesses(point).values()), default=None)
