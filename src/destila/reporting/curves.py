"""The numbers that a run wrote to metrics.jsonl, as curves.

Invariant: a curve is thinned by keeping some of its points as they are, first and last among them; lowest and highest
value are those of all points. Nothing is smoothed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from destila.reporting.facts import Curve

POINTS = 240  # of a curve: about one for each pixel and a half
OTHERS = ("learning_rate", "gradient_norm", "tokens_per_second", "waiting", "utilization")
NO_CURVES = ("step", "epoch", "dev_n")


def curves_of(lines: Sequence[Mapping[str, Any]]) -> tuple[Curve, ...]:
    """One curve for each number: the loss and its terms first, then scores on dev, then the others.

    Args:
        lines: of metrics.jsonl, in order.
    """
    points: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for name, value in line.items():
            if name not in NO_CURVES and isinstance(value, int | float) and not isinstance(value, bool):
                points.setdefault(name, []).append((int(line["step"]), float(value)))
    made = [_curve(name, values) for name, values in points.items()]
    return tuple(sorted(made, key=lambda curve: ("loss", "dev", "other").index(curve.kind)))


def _curve(name: str, points: Sequence[tuple[int, float]]) -> Curve:
    kind = "other" if name in OTHERS else "dev" if name.startswith("dev_") else "loss"
    return Curve(
        name=name,
        kind=kind,
        points=tuple(_thinned(points)),
        low=min(points, key=lambda point: point[1]),
        high=max(points, key=lambda point: point[1]),
        count=len(points),
    )


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    if len(points) <= POINTS:
        return list(points)
    return [points[round(place * (len(points) - 1) / (POINTS - 1))] for place in range(POINTS)]
