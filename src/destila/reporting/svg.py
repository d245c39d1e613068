"""Pictures, drawn as SVG without a plotting library, as XML trees: whatever stands in a label is text.

- A picture of the report is as wide as a phone and scales up a little; colors come from the page's style sheet, so that
  light, dark and print are the page's matter; lines also differ by dashes, marks by shape. Each is a role="img" with a
  <title> and a <desc>.
- A chart is a file of its own, of a fixed size and in colors of its own.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from destila.evaluation.calibration import Bin
from destila.reporting.document import Picture

WIDTH, HEIGHT = 360, 220  # pixels of a plain picture
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 38
STYLES = 4  # of lines and marks; a fifth model looks like the first
BAR, GAP, BARS_LEFT, BARS_WIDTH = 22, 8, 330, 480  # pixels of a chart of bars
PLOT_LEFT, PLOT_WIDTH, PLOT_HEIGHT, MARGIN = 70, 640, 380, 220  # of a chart of dots
CHART_TOP = 60
LARGEST = 26.0  # radius of the largest dot
BLUE = "#3b7dd8"

Point = tuple[float, float]
Line = tuple[str, Sequence[Point]]  # name, and points to be joined, ascending
Interval = tuple[float, float, float]  # value, low, high
Look = Mapping[str, str | float]  # attributes of an element


@dataclass(frozen=True, slots=True)
class Axes:
    """From numbers to pixels, x and y."""

    x: tuple[float, float]
    y: tuple[float, float]
    height: int = HEIGHT
    left: int = LEFT

    def at(self, x: float, y: float) -> Point:
        """Where a point stands."""
        across, up = ((at - ends[0]) / (ends[1] - ends[0]) for at, ends in ((x, self.x), (y, self.y)))
        width, height = WIDTH - self.left - RIGHT, self.height - TOP - BOTTOM
        return self.left + across * width, TOP + (1 - up) * height


# ---------------------------------------------------------------------------------------------------- pictures
def curves(lines: Sequence[Line], *, title: str, description: str, across: str, marks: Sequence[Point] = ()) -> Picture:
    """Lines over a common axis, which `across` names; `marks` stand out, one for each of the first lines."""
    xs, ys = zip(*(point for _, points in lines for point in points), strict=True)
    axes = Axes(_ends(xs, tight=True), _ends(ys))
    svg, inside = _picture(title, description, HEIGHT)
    _grid(inside, axes, across=across)
    for place, (_, line) in enumerate(lines):
        points = [axes.at(*point) for point in line]
        if len(points) == 1:  # a line of one point shows nothing
            _circle(inside, points[0], 4, _styled("dot", place))
        _polyline(inside, points, _styled("line", place))
    for place, mark in enumerate(marks):
        _circle(inside, axes.at(*mark), 4, _styled("dot", place))
    return Picture(_text(svg), title, description, _legend([name for name, _ in lines]))


def intervals(
    rows: Sequence[tuple[str, Sequence[Interval]]], labels: Sequence[str], *, title: str, description: str
) -> Picture:
    """F1 from 0 to 100 with its interval: a row for each group, a mark for each model, which `labels` name."""
    step = 14 * len(labels) + 12
    left = 16 + 7 * min(18, max(len(name) for name, _ in rows))
    height = TOP + BOTTOM + step * len(rows)
    axes = Axes((0, 100), (len(rows), 0), height=height, left=left)  # row 0 at the top
    svg, inside = _picture(title, description, height)
    for tick in range(0, 101, 25):
        _across_tick(inside, axes, tick)
    _label(inside, (left + WIDTH - RIGHT) / 2, height - 8, "F1", "middle")
    for row, (name, found) in enumerate(rows):
        _, top = axes.at(0, row)
        _label(inside, left - 8, top + step / 2 + 4, name if len(name) <= 18 else f"{name[:17]}…", "end")
        for place, values in enumerate(found):
            y = top + 13 + 14 * place
            value, low, high = ((axes.at(x, 0)[0], y) for x in values)
            _line(inside, low, high, _styled("line", place))
            _circle(inside, value, 4, _styled("dot", place))
    return Picture(_text(svg), title, description, _legend(labels))


def reliability(bins: Sequence[Bin], *, title: str, description: str) -> Picture:
    """Share of right answers over the mean score of each bin; on the diagonal scores are probabilities."""
    axes = Axes((0.0, 1.0), (0.0, 1.0))
    svg, inside = _picture(title, description, HEIGHT)
    _grid(inside, axes, across="score of the answer")
    _line(inside, axes.at(0, 0), axes.at(1, 1), {"class": "ideal"})
    most = max(one.n for one in bins)
    for one in bins:
        radius = 3 + 6 * math.sqrt(one.n / most)
        _circle(inside, axes.at(one.score, one.right), radius, {"class": "dot s0 many"})
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
            look: Look = {"class": "cell", "fill-opacity": min(1.0, max(0.0, value))}
            _rectangle(inside, (LEFT + width * column, y), width - 1, cell - 1, look)
    for row, column in enumerate(outlined):
        corner = LEFT + width * (column - first), TOP + cell * row
        _rectangle(inside, corner, width - 1, cell - 1, {"class": "outline"})
    for column in range(0, columns, max(1, columns // 8)):
        _label(inside, LEFT + width * (column + 0.5), height - BOTTOM + 14, str(first + column), "middle")
    _label(inside, (LEFT + WIDTH - RIGHT) / 2, height - 8, "layer of the teacher", "middle")
    _upward(inside, 12, TOP + cell * len(matrix) / 2, "student")
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
        _line(inside, (axes.left, y), (WIDTH - RIGHT, y), {"class": "grid"})
        _label(inside, axes.left - 6, y + 4, _short(tick), "end")
    for tick in _ticks(axes.x):
        _across_tick(inside, axes, tick)
    _label(inside, (axes.left + WIDTH - RIGHT) / 2, axes.height - 6, across, "middle")


def _across_tick(inside: Element, axes: Axes, tick: float) -> None:
    x, _ = axes.at(tick, axes.y[0])
    _line(inside, (x, TOP), (x, axes.height - BOTTOM), {"class": "grid"})
    _label(inside, x, axes.height - BOTTOM + 14, _short(tick), "middle")


def _legend(labels: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """What the lines and marks of several models stand for."""
    return tuple((f"s{place % STYLES}", label) for place, label in enumerate(labels)) if len(labels) > 1 else ()


def _short(number: float) -> str:
    if abs(number) >= 10_000:
        return f"{number / 1000:.4g}k"
    return re.sub(r"e-0(\d)", r"e-\1", f"{number:.4g}")


# ---------------------------------------------------------------------------------------------------- charts
@dataclass(frozen=True)
class Bar:
    """A bar from the left edge to `value`, with a whisker to `upper`; `note` stands behind it."""

    label: str
    value: float
    upper: float
    note: str


def bar_chart(bars: Sequence[Bar], *, title: str, axis: str, logarithmic: bool = True) -> str:
    """Horizontal bars, at least one, of positive values, as the text of an SVG file.

    Args:
        logarithmic: false: the axis begins at zero.
    """
    lowest, highest = min(bar.value for bar in bars), max(bar.upper for bar in bars)
    if logarithmic:
        powers = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest) + 1e-9) + 1)
        ticks = [10.0**power for power in powers]
    else:  # two to ten equal steps from zero
        step = 10.0 ** math.floor(math.log10(highest))
        ticks = [number * step for number in range(math.ceil(highest / step) + 1)]

    def x(value: float) -> float:
        if logarithmic:
            return BARS_LEFT + BARS_WIDTH * math.log(value / ticks[0]) / math.log(ticks[-1] / ticks[0])
        return BARS_LEFT + BARS_WIDTH * value / ticks[-1]

    bottom = CHART_TOP + len(bars) * (BAR + GAP)
    svg = _chart(title, BARS_LEFT + BARS_WIDTH + 120, bottom + 50)
    for tick in ticks:
        _line(svg, (x(tick), CHART_TOP - 6), (x(tick), bottom), {"stroke": "#ddd"})
        _label(svg, x(tick), bottom + 18, f"{tick:g}", "middle")
    _label(svg, BARS_LEFT + BARS_WIDTH / 2, bottom + 40, axis, "middle")
    for number, bar in enumerate(bars):
        y, end, whisker = CHART_TOP + number * (BAR + GAP), x(bar.value), x(bar.upper)
        middle = y + BAR / 2
        _label(svg, BARS_LEFT - 8, middle + 4, bar.label, "end")
        _rectangle(svg, (BARS_LEFT, y), max(end - BARS_LEFT, 1), BAR, {"fill": BLUE})
        _line(svg, (end, middle), (whisker, middle), {"stroke": "#222"})
        _label(svg, whisker + 6, middle + 4, bar.note)
    return f"{_text(svg)}\n"


@dataclass(frozen=True)
class Dot:
    """A dot at (x, y), its area `size`, explained by `note`; those `on_line` are joined, the `chosen` one is filled."""

    label: str
    x: float
    y: float
    size: float
    on_line: bool = False
    chosen: bool = False
    note: str = ""


def scatter_chart(
    dots: Sequence[Dot],
    *,
    title: str,
    x_axis: str,
    y_axis: str,
    x_limit: float | None = None,
    y_limit: float | None = None,
    logarithmic: bool = True,
    largest: float = LARGEST,
) -> str:
    """Dots of positive x and size, the `largest` with a radius of so many pixels, as an SVG file; limits are lines."""
    xs = [dot.x for dot in dots] + [limit for limit in (x_limit,) if limit] or [1.0, 10.0]
    ys = [dot.y for dot in dots] + [limit for limit in (y_limit,) if limit is not None]
    left, right = (min(xs) / 1.3, max(xs) * 1.3) if logarithmic else (min(xs) - 2, max(xs) + 2)
    low, high = (min(ys) - 2, max(ys) + 2) if ys else (0.0, 100.0)

    def place(x: float, y: float) -> Point:
        part = math.log(x / left) / math.log(right / left) if logarithmic else (x - left) / (right - left)
        across = PLOT_WIDTH * part
        return PLOT_LEFT + across, CHART_TOP + PLOT_HEIGHT * (high - y) / (high - low)

    bottom = CHART_TOP + PLOT_HEIGHT
    svg = _chart(title, PLOT_LEFT + PLOT_WIDTH + MARGIN, bottom + 60)
    _rectangle(svg, (PLOT_LEFT, CHART_TOP), PLOT_WIDTH, PLOT_HEIGHT, {"fill": "none", "stroke": "#999"})
    _label(svg, PLOT_LEFT + PLOT_WIDTH / 2, bottom + 44, x_axis, "middle")
    _upward(svg, 18, CHART_TOP + PLOT_HEIGHT / 2, y_axis)
    ticks = [left + (right - left) * number / 4 for number in range(5)]
    if logarithmic:
        powers = range(math.floor(math.log10(left)), math.ceil(math.log10(right)) + 1)
        ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    for value in (tick for tick in ticks if left <= tick <= right):
        _label(svg, place(value, low)[0], bottom + 18, f"{value:.4g}", "middle")
    for value in (low + (high - low) * number / 4 for number in range(5)):
        _label(svg, PLOT_LEFT - 8, place(left, value)[1] + 4, f"{value:.1f}", "end")
    limit = {"stroke": "#c33", "stroke-dasharray": "6 4"}
    if x_limit:
        _line(svg, place(x_limit, high), place(x_limit, low), limit)
    if y_limit is not None:
        _line(svg, place(left, y_limit), place(right, y_limit), limit)
    joined = [place(dot.x, dot.y) for dot in sorted(dots, key=lambda dot: dot.x) if dot.on_line]
    _polyline(svg, joined, {"fill": "none", "stroke": BLUE})
    for dot in sorted(dots, key=lambda dot: -dot.size):
        _dot(svg, dot, place(dot.x, dot.y), max(3.0, largest * math.sqrt(dot.size / max(one.size for one in dots))))
    return f"{_text(svg)}\n"


def _dot(svg: Element, dot: Dot, place: Point, radius: float) -> None:
    fill, weight = (BLUE, "bold") if dot.chosen else (f"{BLUE}33", "normal")
    circle = _circle(svg, place, radius, {"fill": fill, "stroke": "#1d4f91"})
    SubElement(circle, "title").text = dot.note or dot.label
    _label(svg, place[0] + radius + 5, place[1] + 4, dot.label, font_weight=weight)


# ---------------------------------------------------------------------------------------------------- elements
def _picture(title: str, description: str, height: int) -> tuple[Element, Element]:
    """An empty picture of the report, and the group to draw in."""
    svg = Element("svg", {"role": "img", "viewBox": f"0 0 {WIDTH} {height}", "aria-label": title})
    SubElement(svg, "title").text = title
    SubElement(svg, "desc").text = description
    return svg, SubElement(svg, "g", {"aria-hidden": "true"})


def _chart(title: str, width: int, height: int) -> Element:
    """A white sheet with a headline."""
    size = {"xmlns": "http://www.w3.org/2000/svg", "width": str(width), "height": str(height)}
    svg = Element("svg", {**size, "font-family": "sans-serif", "font-size": "13"})
    SubElement(svg, "rect", {"width": "100%", "height": "100%", "fill": "white"})
    _label(svg, 10, 28, title, font_size="17", font_weight="bold")
    return svg


def _add(parent: Element, name: str, attributes: Look) -> Element:
    texts = {key: value if isinstance(value, str) else f"{round(value, 2):g}" for key, value in attributes.items()}
    return SubElement(parent, name, texts)


def _styled(kind: str, place: int) -> Look:
    """The class of a line or dot of the model at a place."""
    return {"class": f"{kind} s{place % STYLES}"}


def _line(parent: Element, start: Point, end: Point, look: Look) -> None:
    _add(parent, "line", {**look, "x1": start[0], "y1": start[1], "x2": end[0], "y2": end[1]})


def _polyline(parent: Element, points: Sequence[Point], look: Look) -> None:
    _add(parent, "polyline", {**look, "points": " ".join(f"{x:.2f},{y:.2f}" for x, y in points)})


def _circle(parent: Element, place: Point, radius: float, look: Look) -> Element:
    return _add(parent, "circle", {**look, "cx": place[0], "cy": place[1], "r": radius})


def _rectangle(parent: Element, corner: Point, width: float, height: float, look: Look) -> None:
    _add(parent, "rect", {**look, "x": corner[0], "y": corner[1], "width": width, "height": height})


def _label(parent: Element, x: float, y: float, text: str, anchor: str = "start", **look: str) -> None:
    style = {name.replace("_", "-"): value for name, value in look.items()}
    _add(parent, "text", {"x": x, "y": y, "text-anchor": anchor, **style}).text = text


def _upward(parent: Element, x: float, y: float, text: str) -> None:
    _label(parent, x, y, text, "middle", transform=f"rotate(-90 {x:.0f} {y:.0f})")


def _text(svg: Element) -> str:
    return tostring(svg, encoding="unicode", short_empty_elements=False)
