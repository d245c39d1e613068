"""Several trainings in a row from one settings file: each is a plain run, of the model that the one before left.

Mental model: a stage is the file's settings with some of its tables changed, a directory of its own (`output`-name; the
last: `output`), and it starts from the directory of the stage before. So each stage has its own settings.toml, metrics,
checkpoints and best model, and can be repeated alone. When a run is resumed, stages that have finished are skipped, the
one that was interrupted goes on, and the rest begin.

This module trains nothing itself.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from destila.config import CALL_SETTINGS, DistillSettings, FinetuneSettings
from destila.config.loader import resolve, to_toml
from destila.config.resuming import check_same
from destila.core.errors import UserError
from destila.core.outputs import check_directory
from destila.core.runs import RUN_FILE, read_json
from destila.training.opening import noted
from destila.training.task import TrainingResult

Staged = TypeVar("Staged", DistillSettings, FinetuneSettings)
# What a stage starts from, when another one came before it.
START = {DistillSettings: ("student", {}), FinetuneSettings: ("model", {"grow": False, "revision": None})}


def run_stages(
    settings: Staged, run: Callable[[Staged], TrainingResult], *, check: Callable[[Staged], None] = lambda stage: None
) -> TrainingResult:
    """Train every stage that has not finished. Returns how the last one that ran ended, those before it in `earlier`.

    Args:
        run: trains one stage.
        check: refuses the settings of a stage; all are checked before the first is trained.
    """
    stages, first = stages_to_do(settings), stages_of(settings)[0].output
    for stage in stages:
        check_directory("--output", stage.output)
        check(stage)
        if stage.resume:  # where an earlier stage lies is no matter: its model has been loaded
            check_same(stage, without="" if stage.output == first else f"{START[type(stage)][0]}.name")
    results: list[TrainingResult] = []
    for stage in stages:
        with noted(_recipe(settings, stage)):
            results.append(run(stage))
        if not results[-1].finished:
            break
    return dataclasses.replace(results[-1], earlier=tuple(results[:-1]))


def _recipe(settings: Staged, stage: Staged) -> dict[str, str] | None:
    """What a stage notes of the whole, so that its directory is enough to go on with all stages; None: it is all."""
    if not settings.stages:
        return None
    name = Path(stage.output).name.removeprefix(Path(settings.output).name).removeprefix("-")
    text = to_toml(settings, without=CALL_SETTINGS)
    return {"stage": name, "output": settings.output, "settings": text}


def stages_to_do(settings: Staged) -> list[Staged]:
    """The settings of every stage that has not finished, without stages of their own; at least the last.

    Raises:
        UserError: a stage changes what there is not, two have one name, or there are runs that may not be replaced.
    """
    stages = stages_of(settings)
    if len(stages) == 1:
        return stages
    states = [_state(stage.output) for stage in stages]
    if not settings.resume:
        taken = [stage.output for stage, state in zip(stages, states, strict=True) if state]
        if taken and not settings.overwrite:
            again = f"Continue with --resume {settings.output}, replace with --overwrite"
            remedy = f"{again}, or choose another --output."
            raise UserError.from_problems("output", [f"{path} holds a run already" for path in taken], remedy)
        return stages
    if not any(states):
        raise UserError(settings.output, "there is no run to resume here", "Leave --resume out to start one.")
    done = next((place for place, state in enumerate(states) if state != "finished"), len(stages) - 1)
    return [
        dataclasses.replace(stage, resume=bool(state))
        for stage, state in zip(stages[done:], states[done:], strict=True)
    ]


def _state(output: str) -> str:
    """The status of the run of a stage; empty if there is none."""
    path = Path(output) / RUN_FILE
    return str(read_json(path)["status"]) if path.exists() else ""


def stages_of(settings: Staged) -> list[Staged]:
    """The settings of every stage; of one training without stages, its own.

    Raises:
        UserError: a stage changes what there is not, or two have one name.
    """
    names = [stage.name for stage in settings.stages]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError("stages", f"the name {repeated[0]!r} stands twice", "Give each stage a name of its own.")
    if not names:
        return [settings]
    (start, reset), stages = START[type(settings)], list[Staged]()
    for stage in settings.stages:
        values: dict[str, Any] = dataclasses.asdict(settings) | {"stages": []}
        for table, changes in dataclasses.asdict(stage).items():
            if table != "name":
                values[table] |= changes
        if stage is not settings.stages[-1]:
            values["output"] = f"{settings.output}-{stage.name}"
        if stages:
            values[start] |= {"name": stages[-1].output, **reset}
        stages.append(resolve(type(settings), values, where=f"stage {stage.name!r}"))
    return stages
