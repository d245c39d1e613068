"""The directory of a run, opened by the main process, and what it notes of the whole that it is a stage of."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from destila.config import CALL_SETTINGS, RunSettings
from destila.config.loader import to_toml
from destila.config.resuming import verb_of
from destila.core.runs import Run
from destila.training.loop import is_main_process, main_process_first
from destila.training.trackers import require_trackers

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
