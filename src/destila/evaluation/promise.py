"""Which answers to give so that few of them are wrong, with a bound that holds for questions like those of the test.

Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei, 2021, "Learn then Test: calibrating predictive algorithms
to achieve risk control", arXiv 2110.01052), for the share of wrong answers among those given. Each of LEVELS least
probabilities is a hypothesis, "more than `max_error` of the answers are wrong". Its p-value is the binomial one: of n
answers, k are wrong, and P(Bin(n, max_error) <= k) (the test of Clopper and Pearson, 1934). Fixed-sequence testing
walks from few answers to many, from several starts that share the level of the test (Algorithm 1 there), and stops
where a p-value is too large; all that it passed hold together with CONFIDENCE.

Questions of one article are right or wrong together, so that they say less than as many independent ones. n and k are
divided by the design effect, the variance of the share of wrong answers between articles over the binomial one, at
least 1 (Kish, 1965; Korn and Graubard, 1998). That makes the bound approximate where the paper's is exact.

Invariant: a probability comes from a map that did not see the question's article. This module knows no reader.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from destila.core.calibration import Promise

CONFIDENCE = 0.9
LEVELS = 100  # least probabilities: those above which 1 %, 2 %, ... of the questions lie
STARTS = (4, 9, 19, 39)  # of the levels: the most certain 5, 10, 20 and 40 %; fewer starts could fail by one bad answer

Floats = NDArray[np.float64]


def promise(probabilities: Floats, wrong: Floats, clusters: NDArray[np.int64], *, max_error: float) -> Promise | None:
    """The least probability that gives the most answers of which at most `max_error` are wrong; None: there is none.

    Args:
        probabilities: (N,) that the best span of a question is right.
        wrong: (N,) 1 where that span is wrong, else 0; `clusters`: (N,) numbers of the articles.

    >>> import numpy as np
    >>> right, each = np.zeros(1000), np.arange(1000)
    >>> promise(np.linspace(0, 1, 1000), right, each, max_error=0.05).answered
    1.0
    """
    cuts, passed = _levels(probabilities), -1
    for start in STARTS:
        for place in range(start, len(cuts)):
            given = probabilities >= cuts[place]
            effect = design_effect(wrong[given], clusters[given])
            if p_value(wrong[given].sum(), given.sum(), max_error, effect=effect) > (1 - CONFIDENCE) / len(STARTS):
                break
            passed = max(passed, place)
    if passed < 0:
        return None
    given, count = probabilities >= cuts[passed], len(wrong)
    share = float(wrong[given].mean())
    return Promise(max_error, float(cuts[passed]), CONFIDENCE, float(given.mean()), share, count)


def smallest_error(probabilities: Floats, wrong: Floats, clusters: NDArray[np.int64]) -> float | None:
    """The smallest whole percentage that could be promised on the same questions, as a share; None: not even 99 %."""
    low, high = 0, 100  # not promised, and as if promised: what is possible stays so for greater errors
    while high - low > 1:
        middle = (low + high) // 2
        if promise(probabilities, wrong, clusters, max_error=middle / 100):
            high = middle
        else:
            low = middle
    return high / 100 if high < 100 else None


def p_value(wrong: float, answers: int, max_error: float, *, effect: float) -> float:
    """The chance of so few wrong answers if more than `max_error` are wrong: P(Bin(n, max_error) <= k), n and k divided
    by the design effect and rounded to the safe side. 1 where nothing is answered, 0 where errors do not matter.
    """
    n, k = math.floor(answers / effect), math.ceil(wrong / effect)
    if max_error >= 1 or k >= n:
        return 0.0 if max_error >= 1 else 1.0
    if max_error <= 0:
        return 1.0
    log, log_rest, whole = math.log(max_error), math.log1p(-max_error), math.lgamma(n + 1)
    terms = (
        whole - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * log + (n - i) * log_rest for i in range(int(k) + 1)
    )
    return min(1.0, math.fsum(map(math.exp, terms)))


def design_effect(values: Floats, clusters: NDArray[np.int64]) -> float:
    """How many times the variance of the mean of (N,) zeros and ones is what it would be if all were independent."""
    mean, count = float(values.mean()), len(np.unique(clusters))
    if count < 2 or mean in (0.0, 1.0):
        return 1.0
    sums = np.bincount(clusters, values - mean)
    variance = count / (count - 1) * float((sums**2).sum()) / len(values) ** 2
    return max(1.0, variance / (mean * (1 - mean) / len(values)))


def _levels(probabilities: Floats) -> Sequence[float]:
    """(LEVELS,) least probabilities, falling."""
    ranked = np.sort(probabilities)[::-1]
    places = np.ceil(np.arange(1, LEVELS + 1) / LEVELS * len(ranked)).astype(int) - 1
    return [float(value) for value in ranked[places]]
