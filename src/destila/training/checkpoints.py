"""The checkpoints of a run: training states to resume from and models to use, each a directory that appears whole.

checkpoints/
  step-00000100/state.pt      weights, optimizer and position after step 100; the last one is kept
  best-00000080/              a loadable model: the best evaluation so far; one is kept
  final-00000100/             a loadable model: the last step, where there is no best
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from destila.core.errors import UserError
from destila.core.model_files import find_files
from destila.core.runs import atomic_directory, atomic_file

STATE_FILE = "state.pt"


class Checkpoints:
    """The `checkpoints` directory of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def last_state(self) -> Path | None:
        """The newest training state."""
        found = self._all("step-")
        return found[-1] if found else None

    def save_state(self, step: int, state: dict[str, Any]) -> None:
        """Write a training state, then remove those before it."""
        path = self.path / f"step-{step:08d}"
        if not path.exists():
            with atomic_directory(path) as directory:
                torch.save(state, directory / STATE_FILE)
        self._remove_others("step-", path)

    def load_state(self) -> dict[str, Any] | None:
        """The newest training state, on the CPU; None if there is none.

        Raises:
            UserError: it cannot be read.
        """
        path = self.last_state()
        if path is None:
            return None
        try:
            state: dict[str, Any] = torch.load(path / STATE_FILE, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises half a dozen kinds for a damaged or foreign file
            raise UserError(str(path), f"is no readable checkpoint ({error})", "Remove it and resume again.") from error
        return state

    def save_model(self, kind: str, step: int, save: Callable[[Path], None]) -> Path:
        """Let `save` write a model of a kind ("best", "final"), then remove the others of its kind."""
        path = self.model_path(kind, step)
        shutil.rmtree(path, ignore_errors=True)  # written by a run that was killed before its next training state
        with atomic_directory(path) as directory:
            save(directory)
        self._remove_others(f"{kind}-", path)
        return path

    def model_path(self, kind: str, step: int) -> Path:
        """Where the model of a kind and step lies."""
        return self.path / f"{kind}-{step:08d}"

    def forget_after(self, best_step: int) -> None:
        """Remove what steps that will be done again have left, and the temporary remains of a kill."""
        self._remove_others("best-", self.model_path("best", best_step))
        for remains in self.path.glob(".*.tmp"):
            shutil.rmtree(remains, ignore_errors=True)

    def _all(self, prefix: str) -> list[Path]:
        return sorted(path for path in self.path.glob(f"{prefix}*") if path.is_dir())

    def _remove_others(self, prefix: str, kept: Path) -> None:
        for path in self._all(prefix):
            if path != kept:
                shutil.rmtree(path)


def publish_model(source: Path, target: Path) -> None:
    """Copy the files of a model into an existing directory, each whole, the one that makes it loadable last."""
    for path in find_files(source):
        with atomic_file(target / path.name) as temporary:
            shutil.copyfile(path, temporary)
