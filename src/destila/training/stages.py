"""Several trainings in a row from one settings file: each is a plain run, of the student that the one before left.

Mental model: a stage is the file's settings with some of its tables changed, a directory of its own (`output`-name; the
last: `output`) and `student.name` set to the directory of the stage before. So each stage has its own settings.toml,
metrics, checkpoints and best model, and can be repeated alone. With `--resume`, stages that have finished are skipped,
the one that was interrupted goes on, and the rest begin.

This module trains nothing.
"""

import dataclasses
from pathlib import Path
from typing import Any

from destila.config import DistillSettings
from destila.config.loader import resolve
from destila.core.errors import UserError
from destila.core.runs import RUN_FILE, read_json


def stages_to_do(settings: DistillSettings) -> list[DistillSettings]:
    """The settings of every stage that has not finished, without stages of their own; at least the last.

    Raises:
        UserError: a stage changes what there is not, two have one name, or there are runs that may not be replaced.
    """
    stages = _expanded(settings)
    if len(stages) == 1:
        return stages
    states = [_state(stage) for stage in stages]
    if not settings.resume:
        taken = [stage.output for stage, state in zip(stages, states, strict=True) if state]
        if taken and not settings.overwrite:
            remedy = "Continue with --resume, replace with --overwrite, or choose another --output."
            raise UserError.from_problems("output", [f"{path} holds a run already" for path in taken], remedy)
        return stages
    if not any(states):
        raise UserError(settings.output, "there is no run to resume here", "Leave --resume out to start one.")
    done = next((place for place, state in enumerate(states) if state != "finished"), len(stages) - 1)
    return [
        dataclasses.replace(stage, resume=bool(state))
        for stage, state in zip(stages[done:], states[done:], strict=True)
    ]


def _state(stage: DistillSettings) -> str:
    """The status of the run of a stage; empty if there is none."""
    path = Path(stage.output) / RUN_FILE
    return str(read_json(path)["status"]) if path.exists() else ""


def _expanded(settings: DistillSettings) -> list[DistillSettings]:
    names = [stage.name for stage in settings.stages]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError("stages", f"the name {repeated[0]!r} stands twice", "Give each stage a name of its own.")
    if not names:
        return [settings]
    expanded: list[DistillSettings] = []
    for stage in settings.stages:
        values: dict[str, Any] = dataclasses.asdict(settings) | {"stages": []}
        for table in ("data", "teacher", "unlabelled", "loss", "training"):
            values[table] |= getattr(stage, table)
        if stage is not settings.stages[-1]:
            values["output"] = f"{settings.output}-{stage.name}"
        if expanded:
            values["student"]["name"] = expanded[-1].output
        expanded.append(resolve(DistillSettings, values, where=f"stage {stage.name!r}"))
    return expanded
