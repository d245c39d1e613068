"""How sure a mean is, when questions about one article are not independent.

Questions come in articles: a model that misreads an article loses many of them at once, so an interval that treats
questions as independent is too narrow. Everything here resamples whole articles ("clusters"). A mean over questions is
then a ratio of sums over articles, because articles differ in size.

Every function is a pure function of its arguments and `seed`. It knows nothing of answers or models: values are arrays.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
LEVEL = 0.95
_CELLS = 2_000_000  # random numbers held at once: 16 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float
    clusters: int  # how many units were resampled
    unit: str  # what they are: "articles", or "questions" where all questions belong to one article

    def scaled(self, factor: float) -> tuple[float, float]:
        """Both ends times a factor, 100 for percent."""
        return self.low * factor, self.high * factor


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference of means (second minus first), its 95 % interval and the two-sided p-value of "no difference"."""

    difference: float
    interval: Interval
    p: float


def bootstrap_interval(values: ArrayLike, clusters: ArrayLike, *, seed: int, resamples: int = 2000) -> Interval:
    """95 % bootstrap interval of the mean of `values` (N,), resampling whole clusters (N,) with replacement.

    With a single cluster there is nothing to resample; questions are resampled instead and the interval says so in
    `unit`.
    """
    values = np.asarray(values, dtype=np.float64)
    return ratio_interval(values, np.ones_like(values), clusters, seed=seed, resamples=resamples)


def ratio_interval(
    numerators: ArrayLike, denominators: ArrayLike, clusters: ArrayLike, *, seed: int, resamples: int = 2000
) -> Interval:
    """95 % cluster bootstrap interval of sum(numerators) / sum(denominators), all (N,); the latter is above zero.

    The plain percentile interval is too short with few clusters; its quantiles are widened as Hesterberg (2015, "What
    teachers should know about the bootstrap", The American Statistician 69:4, expanded percentile interval) says: level
    alpha / 2 becomes Phi(-sqrt(n / (n - 1)) t(alpha / 2, n - 1)) for n clusters.
    """
    codes, unit = _units(clusters)
    above, below = _sums(numerators, codes), _sums(denominators, codes)
    count, ratios = len(above), []
    random = np.random.default_rng(seed)
    for rows in _chunks(resamples, count):
        drawn = random.integers(count, size=(rows, count))
        sums = below[drawn].sum(axis=1)
        ratios.append(above[drawn].sum(axis=1)[sums > 0] / sums[sums > 0])
    tail = _widened_tail(count)
    low, high = np.quantile(np.concatenate(ratios), [tail, 1 - tail])
    return Interval(float(low), float(high), count, unit)


def paired_test(
    first: ArrayLike, second: ArrayLike, clusters: ArrayLike, *, seed: int, resamples: int = 2000
) -> Comparison:
    """Compare two systems on the same questions: mean(second) - mean(first), all (N,).

    The p-value is that of the approximate randomization test (Noreen 1989; Yeh 2000, "More accurate tests for the
    statistical significance of result differences"; recommended by Dror et al. 2018 for F1): if the systems were
    equal, their outputs could be swapped, here for all questions of an article together, which flips the sign of the
    article's difference. Unlike a bootstrap test it holds its level exactly for any number of articles; with n
    articles it cannot fall below 2^(1 - n). (1 + hits) / (1 + resamples) keeps it from being zero (Phipson and Smyth
    2010). The interval is the cluster bootstrap's.
    """
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    sums = _sums(differences, _units(clusters)[0])
    observed = abs(sums.sum())
    random = np.random.default_rng(seed)
    hits = 0
    for rows in _chunks(resamples, len(sums)):
        signs = random.integers(2, size=(rows, len(sums)), dtype=np.int8) * 2.0 - 1.0
        hits += int((np.abs(signs @ sums) >= observed - 1e-9).sum())  # equal up to the order of addition
    interval = bootstrap_interval(differences, clusters, seed=seed, resamples=resamples)
    return Comparison(float(differences.mean()), interval, (1 + hits) / (1 + resamples))


def _units(clusters: ArrayLike) -> tuple[NDArray[np.int64], str]:
    """The unit that each question belongs to, numbered from 0, and what the units are."""
    names, codes = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) > 1:
        return codes, "articles"
    return np.arange(len(codes)), "questions"


def _sums(values: ArrayLike, codes: NDArray[np.int64]) -> Floats:
    return np.bincount(codes, weights=np.asarray(values, dtype=np.float64)).astype(np.float64)


def _chunks(resamples: int, count: int) -> Iterator[int]:
    """Numbers of resamples that add up to all, each small enough to hold."""
    rows = max(1, _CELLS // count)
    for start in range(0, resamples, rows):
        yield min(rows, resamples - start)


def _widened_tail(count: int) -> float:
    """The quantile to read at each end, for `count` clusters."""
    if count < 2:
        return 0.0
    z, freedom = NormalDist().inv_cdf((1 + LEVEL) / 2), count - 1
    # Quantile of Student's t by Cornish-Fisher (Abramowitz and Stegun 26.7.5). It is some per cent low for 2 or 3
    # clusters, where the tail is under 1e-6 either way: the interval spans all resamples.
    t = (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
    return NormalDist().cdf(-math.sqrt(count / freedom) * t)
