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
