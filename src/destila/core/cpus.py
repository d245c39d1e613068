"""How many cores this process may really use: what every run time sets its threads by.

A container's quota and a process' affinity both hide cores that `os.cpu_count()` still counts; threads beyond them only
wait for one another. This module sets nothing.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from destila.core.errors import UserError


def usable_cores(root: Path = Path("/")) -> int:
    """The cores that affinity and the quotas of all enclosing control groups leave, at least one.

    Args:
        root: where /proc and /sys lie.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min([float(allowed), *_quotas(root)])))


def thread_count(wanted: int) -> int:
    """`wanted` threads, or as many as there are usable cores for 0.

    Raises:
        UserError: a negative number.
    """
    if wanted < 0:
        raise UserError("threads", f"{wanted} is negative", "Give a number of threads, or 0 for one per usable core.")
    return wanted or usable_cores()


def _quotas(root: Path) -> Iterator[float]:
    """The quota in cores of each control group that this process is in, version 1 or 2."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        group = mount / path.lstrip("/")
        # Inside a container the path is often that of the host, so the mount itself is asked too.
        for directory in {mount, group, *(parent for parent in group.parents if parent.is_relative_to(mount))}:
            yield from _quota(directory)


def _quota(group: Path) -> Iterator[float]:
    if maximum := _read(group / "cpu.max").split():  # version 2: "max 100000" or "150000 100000"
        quota, period = maximum
    else:
        quota, period = _read(group / "cpu.cfs_quota_us").strip(), _read(group / "cpu.cfs_period_us").strip()
    if quota not in ("", "max", "-1"):
        yield int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
