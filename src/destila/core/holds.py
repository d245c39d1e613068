"""One process at a time: a file that is written piece by piece, and the directory of a run, keep others off.

The system lifts a hold when the process ends, however it does. On file systems without locks, and on Windows, there is
none.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from destila.core.errors import UserError

_held: dict[str, int] = {}  # descriptors of the directories that this process holds, by real path


def lock(file: int | BinaryIO) -> bool:
    """Keep other processes off an open file; False: one is at it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def hold(directory: Path) -> None:
    """Keep other processes out of a directory until `let_go`; what this process holds already it goes on holding.

    Raises:
        UserError: another process is at it.
    """
    let_go(directory)
    if os.name == "nt":  # opens no directories
        return
    descriptor = os.open(directory, os.O_RDONLY)
    if not lock(descriptor):
        os.close(descriptor)
        remedy = "Wait for it, stop it, or choose another --output."
        raise UserError(str(directory), "is being written by another process", remedy)
    _held[os.path.realpath(directory)] = descriptor


def let_go(directory: str | Path) -> None:
    """Let other processes in; nothing if it is not held."""
    if (descriptor := _held.pop(os.path.realpath(directory), None)) is not None:
        import fcntl

        with suppress(OSError):  # at once, although a helper that was just forked may have it, too
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _leave_to_parent() -> None:
    while _held:
        os.close(_held.popitem()[1])


if hasattr(os, "register_at_fork"):  # a helper that outlives a killed run must not keep its directory
    os.register_at_fork(after_in_child=_leave_to_parent)
