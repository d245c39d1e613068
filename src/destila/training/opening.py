"""The directory of a run, opened by the main process, and what it notes of the whole that it is a stage of."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any

from destila.config import CALL_SETTINGS, RunSettings
from destila.config.loader import to_toml
from destila.config.resuming import verb_of
from destila.core.errors import UserError
from destila.core.runs import Run
from destila.training.processes import is_main_process, main_process_first
from destila.training.trackers import require_trackers

WRITTEN = ("output", "cache", "store")  # settings that name where something goes
_recipe: ContextVar[Mapping[str, str] | None] = ContextVar("recipe", default=None)


@contextmanager
def noted(recipe: Mapping[str, str] | None) -> Iterator[None]:
    """Let a run that is opened in this block note what it is a stage of; None: it is none."""
    token = _recipe.set(recipe)
    try:
        yield
    finally:
        _recipe.reset(token)


def open_run(settings: RunSettings) -> Run:
    """Open the run directory on the main process; the others get a view of it that they do not write to.

    Raises:
        UserError: as `require_trackers` and `Run.create` do.
    """
    require_trackers(settings.trackers)
    path, recipe = Path(settings.output), _recipe.get()
    if settings.overwrite:
        _keep_inputs(path, asdict(settings))
    with main_process_first(settings.training):
        if is_main_process():
            return Run.create(
                path,
                settings_text=to_toml(settings, without=CALL_SETTINGS),
                seed=settings.training.seed,
                resume=bool(settings.resume),
                overwrite=settings.overwrite,
                verb=verb_of(type(settings)),
                **({"recipe": dict(recipe)} if recipe else {}),
            )
        return Run(path, {"status": "running"})


def _keep_inputs(output: Path, settings: Mapping[str, Any]) -> None:
    """Refuse to empty a directory that holds what the run is made from.

    Raises:
        UserError: names the settings that lead there.
    """
    real = output.resolve()
    inside = [
        f"{name} = {value} lies there, and --overwrite would delete it"
        for name, value in _named_paths(settings)
        if Path(value).exists() and Path(value).resolve().is_relative_to(real)
    ]
    if inside:
        raise UserError.from_problems(str(output), inside, "Choose another --output.")


def _named_paths(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text among settings that may be a path to read, with the name of its setting."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key not in WRITTEN:
                yield from _named_paths(each, f"{name}.{key}".removeprefix("."))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _named_paths(each, name)
    elif isinstance(value, str) and value:
        yield name, value
