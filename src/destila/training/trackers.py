"""Where the numbers of a run are shown besides its own files: TensorBoard always, and trackers that one asks for.

Mental model: metrics.jsonl is the record (`destila.core.runs`); everything here is a copy for people to look at. A
tracker (MLflow, Weights & Biases, trackio) is accelerate's, and works in a thread of its own that takes numbers from a
queue.

Invariant: training never waits for a tracker and never stops because of one. One that fails is named once, left out,
and the run goes on; one that is not installed is an error before anything has begun. A run that is resumed goes on in
the same run of its tracker. This module measures nothing.
"""

import logging
import threading
import tomllib
import uuid
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from destila.core.errors import UserError
from destila.core.runs import SETTINGS_FILE, write_text, writing

LOG = logging.getLogger(__name__)

PROJECT = "destila"
FINISH_SECONDS = 30.0  # that a tracker gets at the end for what it has not sent yet
Numbers = dict[str, int | float]


def require_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are not installed.

    Raises:
        UserError: names them all, and says what to install.
    """
    missing = [name for name in names if not find_spec(name)]
    if missing:
        remedy = f"Install it: pip install 'destila[{','.join(missing)}]'."
        raise UserError.from_problems("trackers", [f"{name} is not installed" for name in missing], remedy)


class Boards:
    """TensorBoard and the trackers of one run, for the process that writes.

    Args:
        path: the run directory.
        trackers: names of those that were asked for.
    """

    def __init__(self, path: Path, trackers: Sequence[str] = ()) -> None:
        self.path, self._writer = path, None
        self._trackers = [_Tracker(name, path) for name in dict.fromkeys(trackers)]

    def log(self, values: Mapping[str, Any], *, step: int) -> None:
        """Show what is a number among the values."""
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        with writing(self.path / "tensorboard"):
            writer = self._tensorboard(step)
            for name, value in numbers.items():
                writer.add_scalar(name, value, step)
        for tracker in self._trackers:
            tracker.queue.put((numbers, step))

    def _tensorboard(self, step: int) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # purge_step hides what an interrupted run had written beyond the checkpoint that it resumed from.
            self._writer = SummaryWriter(str(self.path / "tensorboard"), purge_step=step)
        return self._writer

    def close(self) -> None:
        """Let everybody finish."""
        if self._writer is not None:
            with writing(self.path / "tensorboard"):
                self._writer.close()
        for tracker in self._trackers:
            tracker.close()


class _Tracker:
    """One tracker and its thread."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.queue: SimpleQueue[tuple[Numbers, int] | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.queue.put(None)
        self.thread.join(FINISH_SECONDS)
        if self.thread.is_alive():
            LOG.warning(f"{self.name} has not taken everything after {FINISH_SECONDS:g} seconds; left alone")

    def _work(self) -> None:
        try:
            tracker = self._start()
            while (item := self.queue.get()) is not None:
                tracker.log(item[0], step=item[1])
            tracker.finish()
        except (Exception, SystemExit) as error:  # a service that is away, a login that is missing: anything at all
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            LOG.warning(f"{self.name} fails and is left out ({reason}); the run goes on")

    def _start(self) -> Any:
        """Start accelerate's tracker, in the same run of it as before if there was one, with the run's settings."""
        noted = self.path / "trackers" / self.name
        known = noted.read_text(encoding="utf-8").strip() if noted.exists() else None
        settings = tomllib.loads((self.path / SETTINGS_FILE).read_text(encoding="utf-8"))
        tracker, own_id = _START[self.name](self.path.resolve().name, known, _flat(settings))
        if known is None:
            write_text(noted, f"{own_id}\n")
        return tracker


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names; lists as texts, which is all that trackers take."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = str(value) if isinstance(value, list) else value
    return found


def _mlflow(name: str, known: str | None, settings: dict[str, Any]) -> tuple[Any, str]:
    from accelerate.tracking import MLflowTracker

    tracker = MLflowTracker(PROJECT, run_id=known, run_name=name)
    tracker.start()
    if known is None:
        tracker.store_init_configuration(settings)
    return tracker, str(tracker.tracker.info.run_id)


def _wandb(name: str, known: str | None, settings: dict[str, Any]) -> tuple[Any, str]:
    from accelerate.tracking import WandBTracker

    # Left to itself it would also copy what this process prints.
    tracker = WandBTracker(PROJECT, name=name, id=known, resume="allow", settings={"console": "off"})
    tracker.start()
    if known is None:
        tracker.store_init_configuration(settings)
    return tracker, str(tracker.tracker.id)


def _trackio(name: str, known: str | None, settings: dict[str, Any]) -> tuple[Any, str]:
    from accelerate import PartialState
    from accelerate.tracking import TrackioTracker

    PartialState()  # this tracker alone writes to accelerate's log, which wants to know the process
    # It goes on in the latest run of a name, so that names must be unique; and every start replaces the settings.
    unique = known or f"{name}-{uuid.uuid4().hex[:6]}"
    tracker = TrackioTracker(PROJECT, name=unique, config=settings, resume="allow" if known else "never")
    tracker.start()
    return tracker, unique


_START = {"mlflow": _mlflow, "wandb": _wandb, "trackio": _trackio}
