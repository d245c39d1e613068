"""A run: a directory that holds everything needed to repeat, resume or use what was trained in it.

    run/
      run.json          status (running, interrupted, finished), command, version, seed, environment, seconds, score
      settings.toml     the resolved settings
      metrics.jsonl     one JSON object a line: {"step": ..., "loss": ..., ...}
      tensorboard/      the same for TensorBoard
      checkpoints/      step-00000100/ (all state needed to resume), best-00000100/ (a loadable model)
      config.json, model.safetensors, tokenizer.json, destila.json      the best model, once the run has finished

Invariant: every file and directory appears whole or not at all. Writers fill a temporary neighbor, flush it to the
disk and rename it; a kill at any moment leaves either the old or the new content.
"""

import contextlib
import errno
import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from destila.core.errors import UnwritableError, UserError
from destila.core.holds import hold, let_go
from destila.core.strict_json import dumps, finite
from destila.core.suggestions import nearest_path

RUN_FILE, SETTINGS_FILE, METRICS_FILE = "run.json", "settings.toml", "metrics.jsonl"
DISK_FULL = ("the disk is full", "Free some space and run again; nothing was half-written.")
NO_PLACE = ("cannot be written: there is no such directory, and none can be made", "Choose another place.")
ALMOST_NOTHING = 2**16  # bytes free when a write failed because of a full disk: less than one block was left
LINEAGE_FILE = "lineage.json"  # beside a bundled model: the records of the runs behind it


def destila_version() -> str:
    """The installed version of Destila."""
    from importlib.metadata import PackageNotFoundError, version  # brings email and zip with it: 20 ms

    try:
        return version("destila")
    except PackageNotFoundError:
        return "unknown"


def command_line() -> str:
    """The command that this process was started with, as one would type it."""
    name = Path(sys.argv[0]).name
    program = ["python", "-m", "destila"] if name == "__main__.py" else [name]
    return shlex.join([*program, *sys.argv[1:]])


def environment() -> dict[str, Any]:
    """What a reader of a figure wants to know of the machine and the libraries; imports none of them."""
    from importlib.metadata import PackageNotFoundError, version

    libraries = {}
    for name in ("torch", "transformers", "accelerate", "tokenizers", "numpy", "onnxruntime", "openvino"):
        with contextlib.suppress(PackageNotFoundError):
            libraries[name] = version(name)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "libraries": libraries,
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals while `path` is written (full disk, read-only) into a `UserError`."""
    try:
        yield
    except OSError as error:
        reason = NO_PLACE if _is_nowhere(error, path) else refusal(error)
        if reason is None:
            raise
        raise UnwritableError(str(path), *reason) from error
    except UserError:
        raise
    except Exception as error:  # libraries written in C++ and Rust do not say what the system told them
        if _free_bytes(path) >= ALMOST_NOTHING:
            raise
        raise UnwritableError(str(path), *DISK_FULL) from error


def refusal(error: OSError) -> tuple[str, str] | None:
    """What was refused and what to do about it; None if the system is not to blame."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DISK_FULL
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return "cannot be written: permission denied or read-only", "Choose another place."
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return "cannot be written: a file stands where a directory is needed", "Choose another place."
    if error.errno == errno.EISDIR:
        return "cannot be written: it is a directory", "Choose another place."
    if error.errno == errno.ENAMETOOLONG:
        return "cannot be written: its name is too long", "Choose a shorter one."
    if error.errno == errno.EFBIG:
        return "cannot be written: files may not grow so large here", "Raise the limit (ulimit -f) and run again."
    return None


def _is_nowhere(error: OSError, path: Path) -> bool:
    """Whether there is, and can be, no directory for `path`; a file that is missing elsewhere is another matter."""
    beside = Path(str(error.filename)).parent == path.parent
    return error.errno == errno.ENOENT and (beside or not path.parent.exists())


def _free_bytes(path: Path) -> int:
    """Free space where `path` is, or is to be."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def flush(path: Path) -> None:
    """Wait until a file's content, or a directory's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_special(path: Path) -> bool:
    """Whether it is a device or a pipe: it can be written to, but never replaced or continued."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same directory; on success it replaces `path`, on failure it vanishes.

    A device or a pipe is never replaced: what the temporary file holds is written to it.
    """
    if is_special(path):
        with writing(path), tempfile.TemporaryDirectory() as directory:
            yield Path(directory, path.name)
            path.write_bytes(Path(directory, path.name).read_bytes())
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            flush(temporary)
            os.replace(temporary, path)
            flush(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory beside `path`; on success it becomes `path`, which must not exist before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            yield temporary
            for file in sorted(temporary.rglob("*")):
                if file.is_file():
                    # Some libraries write files that nobody else may read; the directory has what the umask allows.
                    file.chmod(temporary.stat().st_mode & 0o666)
                flush(file)
            flush(temporary)
            os.replace(temporary, path)
            flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a whole JSON file, atomically."""
    write_text(path, dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that a program wrote.

    Raises:
        UserError: the file is missing, cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(str(path), f"does not exist{nearest_path(path)}", "Check the path.") from None
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise UserError(str(path), problem, "Check what it is, and its permissions.") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or numbers and brackets beyond all reason
        raise UserError(str(path), f"is not JSON ({error})", "Was it cut short? Make or download it again.") from error


class Run:
    """A run directory that is being written. Make one with `Run.create`."""

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path, self.record, self.settings_text = path, record, ""
        # Time of the calls before this one; what a killed call did after its last update is lost.
        self._opened = time.monotonic() - float(record.get("seconds", 0.0))

    @classmethod
    def create(
        cls, path: Path, *, settings_text: str, seed: int, resume: bool = False, overwrite: bool = False, **more: Any
    ) -> "Run":
        """Open a run directory.

        Args:
            settings_text: the settings as TOML. Whether a run may be resumed with them is the caller's business; they
                are kept when it asks for it.
            more: what else run.json is to hold.

        Raises:
            UserError: it holds a run already and neither `resume` nor `overwrite` is set; there is nothing to resume;
                another process is at it.
        """
        if path.is_dir() or not resume:
            with writing(path):
                path.mkdir(parents=True, exist_ok=True)
            hold(path)
        try:
            return cls._begun(path, settings_text, seed, resume=resume, overwrite=overwrite, more=more)
        except BaseException:
            let_go(path)
            raise

    @classmethod
    def _begun(
        cls, path: Path, settings_text: str, seed: int, *, resume: bool, overwrite: bool, more: Mapping[str, Any]
    ) -> "Run":
        old = read_json(path / RUN_FILE) if (path / RUN_FILE).exists() else None
        if resume:
            return cls._resumed(path, old, settings_text)
        if old and not overwrite:
            raise UserError(
                str(path),
                f"holds a run already ({old['status']})",
                f"Continue it with --resume {path}, replace it with --overwrite, or choose another --output.",
            )
        if path.is_dir() and not old and any(path.iterdir()):
            raise UserError(str(path), "is not empty and is not a run", "Choose another place.")
        if old:
            _empty(path)
        run = cls(path, {"status": "running", "command": command_line(), "version": destila_version(), "seed": seed})
        run.record |= {"environment": environment(), "started": time.time(), **more}
        run.settings_text = settings_text
        run.keep_settings()
        write_json(path / RUN_FILE, run.record)
        return run

    @classmethod
    def _resumed(cls, path: Path, old: dict[str, Any] | None, settings_text: str) -> "Run":
        if not old:
            raise UserError(str(path), "there is no run to resume here", "Leave --resume out to start one.")
        run = cls(path, old)
        run.settings_text = settings_text
        return run

    def keep_settings(self) -> None:
        """Write the settings that it was opened with into the directory."""
        write_text(self.path / SETTINGS_FILE, self.settings_text)

    @property
    def checkpoints(self) -> Path:
        """The directory of checkpoints."""
        return self.path / "checkpoints"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.record["status"] == "finished")

    def close(self) -> None:
        """Let other processes at the directory."""
        let_go(self.path)

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with writing(self.path / METRICS_FILE), open(self.path / METRICS_FILE, "a", encoding="utf-8") as file:
            file.write(dumps(finite(metrics)) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the metrics of steps after `step`, torn last lines included: they will be made again."""
        path = self.path / METRICS_FILE
        if not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
        write_text(path, "".join(kept))

    def update(self, **fields: Any) -> None:
        """Change run.json, and note in it the seconds that all calls took so far."""
        self.record |= {**fields, "seconds": round(time.monotonic() - self._opened, 3)}
        write_json(self.path / RUN_FILE, self.record)


def _empty(path: Path) -> None:
    """Remove what a directory holds; itself may be a link, and is held."""
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
