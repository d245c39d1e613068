"""Commands and scripts in processes of their own, forked from this one.

A fresh interpreter imports torch and transformers for ten seconds before it does anything; a fork has them. It has a
process id, a session, signals, a working directory and streams of its own, but shares what was set in this process
before: two runs that are compared are both forked.
"""

import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from destila.cli.main import main


@dataclass(frozen=True)
class Finished:
    """What a process left."""

    returncode: int
    stdout: str
    stderr: str


class Running:
    """A process that makes a call, with a name and arguments as its command line."""

    def __init__(self, call: Callable[[], object], *line: object, cwd: Path | None = None) -> None:
        self._place = tempfile.TemporaryDirectory()
        self._streams = [Path(self._place.name, name) for name in ("stdout", "stderr")]
        given = (call, [str(word) for word in line], cwd, self._streams)
        self._process = multiprocessing.get_context("fork").Process(target=_run, args=given, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit status, or minus the signal that it died of; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Tell it and its children."""
        os.killpg(self.pid, number)

    def wait(self, timeout: float = 240) -> Finished:
        """Let it end, and at most so many seconds."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            self.send_signal(signal.SIGKILL)
            raise TimeoutError(f"still running after {timeout} s")
        out, err = (file.read_text(encoding="utf-8") if file.exists() else "" for file in self._streams)
        return Finished(code, out, err)


def start(*arguments: object, cwd: Path | None = None) -> Running:
    """`destila` with these arguments."""
    return Running(main, "destila", *arguments, cwd=cwd)


def finish(*arguments: object, cwd: Path | None = None) -> Finished:
    """The same, to its end, which must be a good one."""
    done = start(*arguments, cwd=cwd).wait()
    assert done.returncode == 0, done.stderr
    return done


def script(path: Path, *arguments: object, cwd: Path | None = None) -> Finished:
    """A program of the project, to its end."""
    return Running(lambda: runpy.run_path(str(path), run_name="__main__"), path, *arguments, cwd=cwd).wait()


def _run(call: Callable[[], object], line: list[str], cwd: Path | None, streams: list[Path]) -> None:
    os.setsid()
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]  # it may have children
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number, name in enumerate(("stdout", "stderr")):
        file = streams[number].open("w", encoding="utf-8", buffering=1)
        os.dup2(file.fileno(), number + 1)
        setattr(sys, name, file)
    sys.argv = line
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    if cwd:
        os.chdir(cwd)
    call()
