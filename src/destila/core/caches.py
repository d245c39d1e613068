"""What is kept to be used again: where it cannot be written it costs a line and its making, never the result."""

import atexit
import contextlib
import functools
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from destila.core.errors import UnwritableError

LOG = logging.getLogger(__name__)
Result = TypeVar("Result")


def with_cache(directory: Path, work: Callable[[Path], Result]) -> Result:
    """`work(directory)`; where it turns out that nothing can be written there, once more with a temporary directory.

    Raises:
        UserError: as `work` does.
    """
    try:
        return work(directory)
    except UnwritableError as error:
        if not Path(error.where).is_relative_to(directory):
            raise
        return work(temporary(directory, error.problem))


@contextlib.contextmanager
def optional(what: str) -> Iterator[None]:
    """A block that writes what can be made again: if it cannot, a warning says what is not kept."""
    try:
        yield
    except UnwritableError as error:
        LOG.warning(f"{error.where}: {error.problem}; {what} is not kept.")


@functools.cache
def temporary(directory: Path, problem: str) -> Path:
    """Takes the place of a directory until this process ends."""
    LOG.warning(f"{directory}: {problem}; a temporary directory takes its place, and nothing is kept.")
    path = Path(tempfile.mkdtemp(prefix="destila-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path
