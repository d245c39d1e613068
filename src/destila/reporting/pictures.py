"""Small pictures, drawn as SVG without a plotting library: curves, intervals, reliability, agreement of layers.

Mental model: a picture is drawn as wide as a phone and scales up a little; colours come from the page's style sheet by
class, so that light, dark and print are the page's matter, and lines differ by dashes, marks by shape, not by colour
alone. It is built as an XML tree, so that whatever stands in a label is text.

Invariant: every picture is a role="img" with a <title> and a <desc>.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from destila.evaluation.calibration import Bin
from destila.reporting.document import Picture

WIDTH, HEIGHT = 360, 220  # pixels of a plain picture
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 38
STYLES = 4  # of lines and marks; a fifth model looks like the first

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """Points to be joined, ascending; `label` for the legend."""

    label: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Whisker:
    """A value with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Axes:
    """From numbers to pixels, x and y."""

    x: tuple[float, float]
    y: tuple[float, float]
    height: int = HEIGHT
    left: int = LEFT

    def at(self, x: float, y: float) -> Point:
        """Where a point stands."""
        across, up = _share(x, self.x), _share(y, self.y)
        width, height = WIDTH - self.left - RIGHT, self.height - TOP - BOTTOM
        return self.left + across * width, TOP + (1 - up) * height


def _share(value: float, ends: tuple[float, float]) -> float:
    return (value - ends[0]) / (ends[1] - ends[0])


# ---------------------------------------------------------------------------------------------------- pictures
def curves(lines: Sequence[Line], *, title: str, description: str, across: str, marks: Sequence[Point] = ()) -> Picture:
    """Lines over a common axis.

    Args:
        across: what the horizontal axis is.
        marks: points that stand out, one for each of the first lines.
    """
    xs, ys = zip(*(point for line in lines for point in line.points), strict=True)
    axes = Axes(_ends(xs, tight=True), _ends(ys))
    svg, inside = _picture(title, description, HEIGHT)
    _grid(inside, axes, across=across)
    for place, line in enumerate(lines):
        points = [axes.at(*point) for point in line.points]
        if len(points) == 1:  # a line of one point shows nothing
            _circle(inside, *points[0], f"dot {_style(place)}")
        _add(
            inside,
            "polyline",
            {"class": f"line {_style(place)}", "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points)},
        )
    for place, mark in enumerate(marks):
        _circle(inside, *axes.at(*mark), f"dot {_style(place)}")
    legend = tuple((_style(place), line.label) for place, line in enumerate(lines)) if len(lines) > 1 else ()
    return Picture(_text(svg), title, description, legend)


def intervals(
    rows: Sequence[tuple[str, Sequence[Whisker]]], labels: Sequence[str], *, title: str, description: str
) -> Picture:
    """F1 from 0 to 100 with its interval: a row for each group, a mark for each model.

    Args:
        rows: (name, one whisker for each model); `labels`: of the models.
    """
    step = 14 * len(labels) + 12
    left = 16 + 7 * min(18, max(len(name) for name, _ in rows))
    height = TOP + BOTTOM + step * len(rows)
    axes = Axes((0, 100), (len(rows), 0), height=height, left=left)  # row 0 at the top
    svg, inside = _picture(title, description, height)
    for tick in range(0, 101, 25):
        x, _ = axes.at(tick, 0)
        _add(inside, "line", {"class": "grid", "x1": x, "x2": x, "y1": TOP, "y2": height - BOTTOM})
        _label(inside, x, height - BOTTOM + 14, str(tick), "middle")
    _label(inside, (left + WIDTH - RIGHT) / 2, height - 8, "F1", "middle")
    for row, (name, whiskers) in enumerate(rows):
        _, top = axes.at(0, row)
        _label(inside, left - 8, top + step / 2 + 4, name if len(name) <= 18 else f"{name[:17]}…", "end")
        for place, whisker in enumerate(whiskers):
            y = top + 13 + 14 * place
            ends = [axes.at(end, 0)[0] for end in (whisker.low, whisker.high)]
            _add(inside, "line", {"class": f"line {_style(place)}", "x1": ends[0], "x2": ends[1], "y1": y, "y2": y})
            _circle(inside, axes.at(whisker.value, 0)[0], y, f"dot {_style(place)}")
    legend = tuple((_style(place), label) for place, label in enumerate(labels)) if len(labels) > 1 else ()
    return Picture(_text(svg), title, description, legend)


def reliability(bins: Sequence[Bin], *, title: str, description: str) -> Picture:
    """Share of right answers over the mean score of each bin; on the diagonal scores are probabilities."""
    axes = Axes((0.0, 1.0), (0.0, 1.0))
    svg, inside = _picture(title, description, HEIGHT)
    _grid(inside, axes, across="score of the answer")
    (x1, y1), (x2, y2) = axes.at(0, 0), axes.at(1, 1)
    _add(inside, "line", {"class": "ideal", "x1": x1, "y1": y1, "x2": x2, "y2": y2})
    most = max(one.n for one in bins)
    for one in bins:
        _circle(inside, *axes.at(one.score, one.right), "dot s0 many", radius=3 + 6 * math.sqrt(one.n / most))
    legend = (("circle", "answers; a larger circle holds more of them"), ("ideal", "score = share of right answers"))
    return Picture(_text(svg), title, description, legend)


def heatmap(
    matrix: Sequence[Sequence[float]], outlined: Sequence[int], *, first: int, title: str, description: str
) -> Picture:
    """Agreement in [0, 1], rows of the student by columns of the teacher; darker is more alike.

    Args:
        outlined: the column that each row learned from, counted from `first`, which both axes begin with.
    """
    columns, cell = len(matrix[0]), 18
    height = TOP + BOTTOM + cell * len(matrix)
    width = (WIDTH - LEFT - RIGHT) / columns
    svg, inside = _picture(title, description, height)
    for row, values in enumerate(matrix):
        y = TOP + cell * row
        _label(inside, LEFT - 8, y + cell / 2 + 4, str(first + row), "end")
        for column, value in enumerate(values):
            box = {"x": LEFT + width * column, "y": y, "width": width - 1, "height": cell - 1}
            _add(inside, "rect", {"class": "cell", "fill-opacity": min(1.0, max(0.0, value)), **box})
    for row, column in enumerate(outlined):
        x, y = LEFT + width * (column - first), TOP + cell * row
        _add(inside, "rect", {"class": "outline", "x": x, "y": y, "width": width - 1, "height": cell - 1})
    for column in range(0, columns, max(1, columns // 8)):
        _label(inside, LEFT + width * (column + 0.5), height - BOTTOM + 14, str(first + column), "middle")
    _label(inside, (LEFT + WIDTH - RIGHT) / 2, height - 8, "layer of the teacher", "middle")
    _label(inside, 12, TOP + cell * len(matrix) / 2, "student", "middle", turned=True)
    return Picture(_text(svg), title, description, (("outline", "the layer that the student's learns from"),))


# ---------------------------------------------------------------------------------------------------- axes
def _ends(values: Sequence[float], *, tight: bool = False) -> tuple[float, float]:
    """Ends of an axis that holds all values: as they are, or round numbers."""
    low, high = min(values), max(values)
    if low == high:
        margin = abs(low) / 10 or 1.0
        return low - margin, high + margin
    if tight:
        return low, high
    step = _step(high - low)
    return math.floor(low / step) * step, math.ceil(high / step) * step


def _step(span: float, *, count: int = 4) -> float:
    """A round number that fits about `count` times into the span."""
    power = 10.0 ** math.floor(math.log10(span / count))
    return next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= count)


def _ticks(ends: tuple[float, float]) -> list[float]:
    step = _step(ends[1] - ends[0])
    first = math.ceil(ends[0] / step - 1e-9)
    return [step * place for place in range(first, math.floor(ends[1] / step + 1e-9) + 1)]


def _grid(inside: Element, axes: Axes, *, across: str) -> None:
    for tick in _ticks(axes.y):
        _, y = axes.at(axes.x[0], tick)
        _add(inside, "line", {"class": "grid", "x1": axes.left, "x2": WIDTH - RIGHT, "y1": y, "y2": y})
        _label(inside, axes.left - 6, y + 4, _short(tick), "end")
    for tick in _ticks(axes.x):
        x, _ = axes.at(tick, axes.y[0])
        _add(inside, "line", {"class": "grid", "x1": x, "x2": x, "y1": TOP, "y2": axes.height - BOTTOM})
        _label(inside, x, axes.height - BOTTOM + 14, _short(tick), "middle")
    _label(inside, (axes.left + WIDTH - RIGHT) / 2, axes.height - 6, across, "middle")


def _short(number: float) -> str:
    if abs(number) >= 10_000:
        return f"{number / 1000:.4g}k"
    return re.sub(r"e-0(\d)", r"e-\1", f"{number:.4g}")


# ---------------------------------------------------------------------------------------------------- elements
def _picture(title: str, description: str, height: int) -> tuple[Element, Element]:
    """An empty picture, and the group to draw in."""
    svg = Element("svg", {"role": "img", "viewBox": f"0 0 {WIDTH} {height}", "aria-label": title})
    SubElement(svg, "title").text = title
    SubElement(svg, "desc").text = description
    return svg, SubElement(svg, "g", {"aria-hidden": "true"})


def _add(parent: Element, name: str, attributes: dict[str, str | float]) -> Element:
    texts = {
        key: value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
        for key, value in attributes.items()
    }
    return SubElement(parent, name, texts)


def _style(place: int) -> str:
    return f"s{place % STYLES}"


def _circle(parent: Element, x: float, y: float, kind: str, *, radius: float = 4) -> None:
    _add(parent, "circle", {"class": kind, "cx": x, "cy": y, "r": radius})


def _label(parent: Element, x: float, y: float, text: str, anchor: str, *, turned: bool = False) -> None:
    turn: dict[str, str | float] = {"transform": f"rotate(-90 {x:.0f} {y:.0f})"} if turned else {}
    _add(parent, "text", {"x": x, "y": y, "text-anchor": anchor, **turn}).text = text


def _text(svg: Element) -> str:
    return tostring(svg, encoding="unicode", short_empty_elements=False)
