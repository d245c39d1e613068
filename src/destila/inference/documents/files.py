"""The files of a folder that can be read: found once each, in one order, whatever links there are.

Invariants: a directory or a file is visited once, under the first name that leads to it, so that loops of links end and
a text counts once; hidden names are left out; nothing is opened here; where links must stay inside of folders, what
they lead to elsewhere is not even looked at. What cannot be looked at is told, never raised, unless it is the folder
itself.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from destila.core.errors import UserError
from destila.inference.documents.document import DocumentError, kind_of


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that may be read, and its state when it was found."""

    path: str
    state: os.stat_result


@dataclass(frozen=True, slots=True)
class OtherFile:
    """A file of a kind that is not read."""

    path: str


def is_inside(path: str | Path, folders: Sequence[Path]) -> bool:
    """Whether a path, all links followed, is one of the folders or lies below one. They are real paths."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(folder) for folder in folders)


def files_of(folder: Path, inside: Sequence[Path] | None = None) -> Iterator[FoundFile | OtherFile | DocumentError]:
    """The files below a folder: of the kinds that can be read, and others; and what could not be looked at.

    Args:
        inside: the real paths of the folders that links must not leave; None: they may lead anywhere.

    Raises:
        UserError: the folder itself cannot be listed.
    """
    try:
        state = os.stat(folder)
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UserError(str(folder), f"cannot be listed: {(error.strerror or '').lower()}", "Give a folder.") from None
    seen = {(state.st_dev, state.st_ino)}
    waiting = [os.path.join(folder, name) for name in reversed(names)]
    while waiting:
        path = waiting.pop()
        if os.path.basename(path).startswith("."):
            continue
        try:
            if inside is not None and os.path.islink(path) and not is_inside(path, inside):
                problem, remedy = "is a link that leads out of the folders that may be read", "Put a copy there."
                yield DocumentError(path, problem, remedy, code="unreadable")
                continue
            state = os.stat(path)
            if stat.S_ISDIR(state.st_mode) and _first(seen, state):
                waiting += [os.path.join(path, name) for name in sorted(os.listdir(path), reverse=True)]
            elif not stat.S_ISDIR(state.st_mode) and _first(seen, state):
                yield _file(path, state) if kind_of(path) else OtherFile(path)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            remedy = "Check the path." if isinstance(error, FileNotFoundError) else "Check its rights."
            yield DocumentError(path, f"cannot be read: {reason}", remedy, code="unreadable")


def _file(path: str, state: os.stat_result) -> FoundFile | DocumentError:
    if stat.S_ISREG(state.st_mode):
        return FoundFile(path, state)
    return DocumentError(path, "is no regular file", "Give a file.", code="unreadable")


def _first(seen: set[tuple[int, int]], state: os.stat_result) -> bool:
    """Whether this is the first time that it is met; on systems that number nothing, it always is."""
    place = (state.st_dev, state.st_ino)
    if place in seen and state.st_ino:
        return False
    seen.add(place)
    return True
