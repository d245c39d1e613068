"""What a verb prints: its result, as text for people or as JSON for programs, and nothing else on standard output."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from destila.core.strict_json import dumps


def show(result: Any, text: str, *, json: bool) -> None:
    """Print a result: with --json as one JSON object on a line of its own, else as the text for people."""
    print(dumps(result) if json else text)


@contextmanager
def only_results() -> Iterator[None]:
    """Send what libraries print in this block to stderr: standard output is for the result."""
    with redirect_stdout(sys.stderr):
        yield
