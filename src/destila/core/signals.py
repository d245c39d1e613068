"""Stop requests that wait for a good moment: the work in hand is finished and saved first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second one of a kind acts as ever."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number])

    before: dict[int, Any] = {}
    for caught in (signal.SIGINT, signal.SIGTERM):
        try:
            before[caught] = signal.signal(caught, note)
        except ValueError:  # not in the main thread: whoever runs us there handles signals
            break
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
