"""Numbers and times as words: the one place that rounds, so that a number reads the same wherever it stands."""

import time
from collections.abc import Sequence

NOTHING = "–"


def percent(value: float | None, digits: int = 2) -> str:
    """A score in percent, without the sign."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def with_interval(value: float, interval: Sequence[float], *, sign: str = "", digits: int = 2) -> str:
    """A score in percent, or a difference in points, with its 95 % interval."""
    first, low, high = (f"{number:{sign}.{digits}f}" for number in (value, *interval))
    return f"{first} [{low}, {high}]"


def share(value: float | None) -> str:
    """A share as percent."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def count(value: int | None) -> str:
    """A number of things."""
    return NOTHING if value is None else f"{value:,}"


def size(value: int | None) -> str:
    """Bytes in megabytes."""
    return NOTHING if value is None else f"{value / 1e6:,.1f} MB"


def ratio(value: float | None, to: float | None) -> str:
    """How many times `value` goes into `to`."""
    return NOTHING if not value or not to else f"{to / value:.2f} x"


def beside(value: str, compared: str) -> str:
    """A value with its ratio in brackets, if there is one."""
    return value if compared == NOTHING else f"{value} ({compared})"


def duration(seconds: float | None) -> str:
    """Hours, minutes and seconds."""
    if seconds is None:
        return NOTHING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def small(value: float) -> str:
    """A number of any size in four digits."""
    return f"{value:.4g}"


def p_value(value: float) -> str:
    """A p-value."""
    return f"{value:.4f}"


def date(seconds: float | None) -> str:
    """A day and time, in UTC."""
    return NOTHING if seconds is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """A table in Markdown; `right` are the columns that stand to the right, and cells are escaped already."""
    rule = ["---:" if place in right else "---" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def words(items: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))
