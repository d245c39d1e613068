"""How many cores this process may really use: what every run time sets its threads by.

A container's quota and a process' affinity both hide cores that `os.cpu_count()` still counts; threads beyond them only
wait for one another. This module sets nothing.
"""

import functools
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path

from destila.core.checks import whole_number

LOG = logging.getLogger(__name__)


def usable_cores(root: Path = Path("/")) -> int:
    """The cores that affinity and the quotas of all enclosing control groups leave, at least one.

    Args:
        root: where /proc and /sys lie.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min([float(allowed), *_quotas(root)])))


def thread_count(wanted: int, *, what: str = "threads") -> int:
    """`wanted` threads or processes, but no more than there are usable cores; for 0 as many.

    More would only wait for one another. Where fewer are given than asked for, a warning says so, once.

    Raises:
        UserError: it is no whole number, or negative.
    """
    cores = usable_cores()
    if whole_number(what, wanted, least=0) > cores:
        _say_fewer(what, int(wanted), cores)
    return min(int(wanted) or cores, cores)


@functools.cache
def _say_fewer(what: str, wanted: int, cores: int) -> None:
    LOG.warning(f"{what}: {wanted:,} are more than the cores that this process may use; {cores} taken.")


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
