"""Progress on stderr: a bar with rate and time left on a terminal, plain lines elsewhere, nothing for quick things."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")

QUIET_SECONDS = 2.0  # what takes less than this shows nothing
LINE_SECONDS = 15.0  # between plain lines


class Progress:
    """A bar or lines, advanced by hand.

    Args:
        total: units in all; None if unknown.
        what: what is being done, in a few words.
        unit: what is counted.
        initial: units done before, by a run that is being resumed.
    """

    def __init__(self, total: int | None, *, what: str, unit: str = "it", initial: int = 0, show: bool = True) -> None:
        self.total, self.what, self.unit, self.done, self.initial = total, what, unit, initial, initial
        self.started = self.last_line = time.monotonic()
        self.terminal, self.show = sys.stderr.isatty(), show
        self.bar = None
        if show and self.terminal:
            from tqdm import tqdm  # its import takes as long as a short answer

            self.bar = tqdm(total=total, desc=what, unit=unit, initial=initial, delay=QUIET_SECONDS, dynamic_ncols=True)

    def advance(self, units: int = 1, **values: str) -> None:
        """Count `units` more; `values` (a loss, say) are shown beside the rate."""
        self.done += units
        if self.bar is not None:
            if values:
                self.bar.set_postfix(values, refresh=False)
            self.bar.update(units)
        now = time.monotonic()
        if self.show and not self.terminal and now - self.last_line > LINE_SECONDS:
            self.last_line = now
            self._line(now - self.started, values)

    def _line(self, seconds: float, values: dict[str, str]) -> None:
        rate = (self.done - self.initial) / seconds
        left = f", {(self.total - self.done) / rate:.0f} s left" if self.total and rate else ""
        shown = "".join(f", {name} {value}" for name, value in values.items())
        share = f"{self.done:,}/{self.total:,}" if self.total else f"{self.done:,}"
        print(f"{self.what}: {share} {self.unit}, {rate:.2f} {self.unit}/s{left}{shown}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()


def track(items: Iterable[Item], *, what: str, total: int | None = None, unit: str = "it") -> Iterator[Item]:
    """Yield the items and show progress while they are worked on."""
    known = len(items) if isinstance(items, Sized) else None
    progress = Progress(known if total is None else total, what=what, unit=unit)
    try:
        for item in items:
            yield item
            progress.advance()
    finally:
        progress.close()
