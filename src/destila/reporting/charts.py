"""One picture: horizontal bars on a logarithmic or a plain axis, written as SVG by hand, without a plotting library."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

BAR, GAP, LEFT, WIDTH, TOP = 22, 8, 330, 480, 60  # pixels


@dataclass(frozen=True)
class Bar:
    """A bar from the left edge to `value`, with a whisker to `upper`; `note` stands behind it."""

    label: str
    value: float
    upper: float
    note: str


def bar_chart(bars: Sequence[Bar], *, title: str, axis: str, logarithmic: bool = True) -> str:
    """The chart as the text of an SVG file.

    Args:
        bars: at least one, with positive values.
        axis: what the values are.
        logarithmic: false: the axis begins at zero.
    """
    ticks = _powers(bars) if logarithmic else _multiples(bars)

    def x(value: float) -> float:
        if logarithmic:
            return LEFT + WIDTH * math.log(value / ticks[0]) / math.log(ticks[-1] / ticks[0])
        return LEFT + WIDTH * value / ticks[-1]

    bottom = TOP + len(bars) * (BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 120}" height="{bottom + 50}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="28" font-size="17" font-weight="bold">{escape(title)}</text>',
    ]
    for tick in ticks:
        place = x(tick)
        parts.append(f'<line x1="{place:.1f}" y1="{TOP - 6}" x2="{place:.1f}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{place:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{LEFT + WIDTH / 2}" y="{bottom + 40}" text-anchor="middle">{escape(axis)}</text>')
    for number, bar in enumerate(bars):
        parts += _bar(bar, y=TOP + number * (BAR + GAP), end=x(bar.value), whisker=x(bar.upper))
    return "\n".join([*parts, "</svg>\n"])


def _powers(bars: Sequence[Bar]) -> list[float]:
    """Powers of ten around all values."""
    lowest = math.floor(math.log10(min(bar.value for bar in bars)))
    highest = math.ceil(math.log10(max(bar.upper for bar in bars)) + 1e-9)
    return [10.0**power for power in range(lowest, highest + 1)]


def _multiples(bars: Sequence[Bar]) -> list[float]:
    """Two to ten equal steps from zero to the highest value."""
    highest = max(bar.upper for bar in bars)
    step = 10.0 ** math.floor(math.log10(highest))
    return [number * step for number in range(math.ceil(highest / step) + 1)]


def _bar(bar: Bar, *, y: int, end: float, whisker: float) -> list[str]:
    middle = y + BAR / 2
    return [
        f'<text x="{LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect x="{LEFT}" y="{y}" width="{max(end - LEFT, 1):.1f}" height="{BAR}" fill="#3b7dd8"/>',
        f'<line x1="{end:.1f}" y1="{middle}" x2="{whisker:.1f}" y2="{middle}" stroke="#222"/>',
        f'<text x="{whisker + 6:.1f}" y="{middle + 4}">{escape(bar.note)}</text>',
    ]


# ---------------------------------------------------------------------------------------------------- dots
PLOT_LEFT, PLOT_WIDTH, PLOT_TOP, PLOT_HEIGHT, MARGIN = 70, 640, 60, 380, 220
LARGEST = 26.0  # radius of the largest dot


@dataclass(frozen=True)
class Dot:
    """A dot at (x, y) whose area is `size`; those `on_line` are joined, the `chosen` one is filled."""

    label: str
    x: float
    y: float
    size: float
    on_line: bool = False
    chosen: bool = False


def scatter_chart(
    dots: Sequence[Dot],
    *,
    title: str,
    x_axis: str,
    y_axis: str,
    x_limit: float | None = None,
    y_limit: float | None = None,
) -> str:
    """The chart as the text of an SVG file.

    Args:
        dots: with positive x and size; x runs logarithmically.
        x_limit: drawn as a line, as is `y_limit`.
    """
    xs = [dot.x for dot in dots] + [limit for limit in (x_limit,) if limit]
    ys = [dot.y for dot in dots] + [limit for limit in (y_limit,) if limit is not None]
    left, right = (min(xs) / 1.3, max(xs) * 1.3) if xs else (1.0, 10.0)
    low, high = (min(ys) - 2, max(ys) + 2) if ys else (0.0, 100.0)

    def place(x: float, y: float) -> tuple[float, float]:
        across = PLOT_WIDTH * math.log(x / left) / math.log(right / left)
        return PLOT_LEFT + across, PLOT_TOP + PLOT_HEIGHT * (high - y) / (high - low)

    bottom, middle = PLOT_TOP + PLOT_HEIGHT, PLOT_TOP + PLOT_HEIGHT / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{PLOT_LEFT + PLOT_WIDTH + MARGIN}" height="{bottom + 60}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="28" font-size="17" font-weight="bold">{escape(title)}</text>',
        f'<rect x="{PLOT_LEFT}" y="{PLOT_TOP}" width="{PLOT_WIDTH}" height="{PLOT_HEIGHT}" fill="none" stroke="#999"/>',
        f'<text x="{PLOT_LEFT + PLOT_WIDTH / 2}" y="{bottom + 44}" text-anchor="middle">{escape(x_axis)}</text>',
        f'<text x="18" y="{middle}" text-anchor="middle" transform="rotate(-90 18 {middle})">{escape(y_axis)}</text>',
    ]
    for value in _ticks(left, right):
        x = place(value, low)[0]
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>')
    for value in (low + (high - low) * number / 4 for number in range(5)):
        y = place(left, value)[1]
        parts.append(f'<text x="{PLOT_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.1f}</text>')
    if x_limit:
        parts.append(_limit(*place(x_limit, high), *place(x_limit, low)))
    if y_limit is not None:
        parts.append(_limit(*place(left, y_limit), *place(right, y_limit)))
    line = [place(dot.x, dot.y) for dot in sorted(dots, key=lambda dot: dot.x) if dot.on_line]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
    parts.append(f'<polyline points="{points}" fill="none" stroke="#3b7dd8"/>')
    largest = max((dot.size for dot in dots), default=1.0)
    for dot in sorted(dots, key=lambda dot: -dot.size):
        parts += _dot(dot, *place(dot.x, dot.y), radius=max(3.0, LARGEST * math.sqrt(dot.size / largest)))
    return "\n".join([*parts, "</svg>\n"])


def _ticks(left: float, right: float) -> list[float]:
    """1, 2 and 5 times powers of ten within the axis."""
    powers = range(math.floor(math.log10(left)), math.ceil(math.log10(right)) + 1)
    return [
        value for power in powers for value in (10.0**power, 2 * 10.0**power, 5 * 10.0**power) if left <= value <= right
    ]


def _limit(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#c33" stroke-dasharray="6 4"/>'


def _dot(dot: Dot, x: float, y: float, *, radius: float) -> list[str]:
    fill, weight = ("#3b7dd8", "bold") if dot.chosen else ("#3b7dd833", "normal")
    text = f"{escape(dot.label)}: {dot.y:.1f}, {dot.x:.1f} ms, {dot.size:.1f} MB"
    return [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}" stroke="#1d4f91">'
        f"<title>{text}</title></circle>",
        f'<text x="{x + radius + 5:.1f}" y="{y + 4:.1f}" font-weight="{weight}">{escape(dot.label)}</text>',
    ]
