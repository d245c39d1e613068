"""Progress and messages of long work: told to whoever listens, and by default to nobody.

Mental model: a library prints nothing. `Progress` counts and tells each count to the listener of this context
(`listening`); messages go to the logger "destila". `on_stderr` is what a command line wants: bars with rate and time
left on a terminal, plain lines elsewhere, nothing for quick things, and the messages as they are.
"""

import io
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from destila.core.characters import harmless
from destila.core.language import say

Item = TypeVar("Item")

QUIET_SECONDS = 2.0  # what takes less than this shows nothing
LINE_SECONDS = 15.0  # between plain lines


class Progress:
    """A count, advanced by hand; whoever listened when it began is told of its beginning, of each step and of its end.

    Attributes:
        total: units in all; None if unknown.
        what: what is being done, in a few words.
        unit: what is counted.
        initial: units done before, by a run that is being resumed; `done`: units done by now.
        values: what was last said beside the count (a loss, say).
        closed: whether it is over.
    """

    def __init__(self, total: int | None, *, what: str, unit: str = "it", initial: int = 0, show: bool = True) -> None:
        self.total, self.what, self.unit, self.done, self.initial = total, what, unit, initial, initial
        self.values: dict[str, str] = {}
        self.closed, self.started = False, time.monotonic()
        self._listener = _listener.get() if show else None
        self._tell()

    def advance(self, units: int = 1, **values: str) -> None:
        """Count `units` more; `values` are shown beside the rate."""
        self.done += units
        self.values = values or self.values
        self._tell()

    def close(self) -> None:
        """It is over, or given up."""
        if not self.closed:
            self.closed = True
            self._tell()

    @property
    def rate(self) -> float:
        """Units a second since it began."""
        return (self.done - self.initial) / max(1e-9, time.monotonic() - self.started)

    def _tell(self) -> None:
        if self._listener is not None:
            self._listener(self)


Listener = Callable[[Progress], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Let `listener` be told of the progress that begins in this block; None: whoever listens already goes on."""
    token = _listener.set(listener or _listener.get())
    try:
        yield
    finally:
        _listener.reset(token)


def track(items: Iterable[Item], *, what: str, total: int | None = None, unit: str = "it") -> Iterator[Item]:
    """Yield the items and tell the progress while they are worked on."""
    known = len(items) if isinstance(items, Sized) else None
    progress = Progress(known if total is None else total, what=what, unit=unit)
    try:
        for item in items:
            yield item
            progress.advance()
    finally:
        progress.close()


# ---------------------------------------------------------------------------------------------------- stderr
@contextmanager
def on_stderr() -> Iterator[None]:
    """Show progress and messages on stderr while this block runs, as the command line does."""
    logger, handler = logging.getLogger("destila"), _Messages()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a library may give the root logger a handler, which would say everything again
    try:
        with listening(_Shown()):
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def ready_streams() -> None:
    """Let printing never fail: a stream that the caller closed is one again, and letters that one lacks are codes."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (for as long as the process lives)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Messages(logging.Handler):
    """Each message on a line of stderr, which may be another one by now (a test's, say)."""

    def emit(self, record: logging.LogRecord) -> None:
        print(harmless(say(self.format(record))), file=sys.stderr, flush=True)


class _Shown:
    """A listener that draws bars on a terminal and writes plain lines elsewhere."""

    def __init__(self) -> None:
        self._bars: dict[Progress, Any] = {}
        self._spoken: dict[Progress, float] = {}  # when it last wrote a line

    def __call__(self, progress: Progress) -> None:
        if sys.stderr.isatty():
            self._draw(progress)
        else:
            self._write(progress)

    def _draw(self, progress: Progress) -> None:
        bar = self._bars.get(progress)
        if progress.closed:
            if bar is not None:
                self._bars.pop(progress).close()
        elif bar is None:
            from tqdm import tqdm  # its import takes as long as a short answer

            names = {"desc": say(progress.what), "unit": say(progress.unit), "initial": progress.initial}
            self._bars[progress] = tqdm(total=progress.total, delay=QUIET_SECONDS, dynamic_ncols=True, **names)
        else:
            if progress.values:
                bar.set_postfix(progress.values, refresh=False)
            bar.update(progress.done - bar.n)

    def _write(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.closed:
            self._spoken.pop(progress, None)
        elif now - self._spoken.setdefault(progress, progress.started) > LINE_SECONDS:
            self._spoken[progress] = now
            print(_line(progress), file=sys.stderr, flush=True)


def _line(progress: Progress) -> str:
    rate, total = progress.rate, progress.total
    left = say(f", {(total - progress.done) / rate:.0f} s left") if total and rate else ""
    what, unit = say(progress.what), say(progress.unit)
    shown = "".join(f", {name} {value}" for name, value in progress.values.items())
    share = f"{progress.done:,}/{total:,}" if total else f"{progress.done:,}"
    return f"{what}: {share} {unit}, {rate:.2f} {unit}/s{left}{shown}"
