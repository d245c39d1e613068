"""Going on with a run: by the settings that lie in it, and by no others.

Mental model: `resume` is true, and the settings say which run is meant; or it names the run, and the run says the
settings. Either way they are compared, one by one, with those that the run was started with. Only how a run is called
may be another (`CALL_SETTINGS`), and the budget of one that has finished, which is then lengthened. Each of several
stages notes the settings of the whole, so that the directory of any of them will do, and that of the last one also
before it is there.
"""

import glob
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from destila.config.loader import leaves, merge, put, resolve
from destila.config.training import CALL_SETTINGS, RunSettings
from destila.core.errors import UserError
from destila.core.runs import RUN_FILE, SETTINGS_FILE, read_json
from destila.core.suggestions import nearest_path

BUDGETS = ("training.seconds", "training.steps", "tokens", "training.epochs")  # the first that is not zero counts


def verb_of(cls: type) -> str:
    """The command that settings belong to."""
    return cls.__name__.removesuffix("Settings").lower()


def with_run(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, over those of the run that `resume` names; as they are where it names none.

    Raises:
        UserError: there is no such run, or another `output` is given.
    """
    named = values.get("resume")
    if not issubclass(cls, RunSettings) or named in (None, True, False, "true", "false"):
        return dict(values)
    given = {name: value for name, value in values.items() if name not in ("resume", "output")}
    budgets = [name for name in BUDGETS if _get(given, name) not in (None, 0, "0")]
    merged, output = _settings_of_run(Path(str(named)), verb=verb_of(cls), with_budget=bool(budgets))
    if Path(str(values.get("output", output))).resolve() != output.resolve():
        raise UserError(str(named), f"is to be resumed, and output is {values['output']}", "Leave output out.")
    kind, amount = _budget(merged)
    if budgets and (kind not in budgets or _is_another(amount, _get(given, kind))):
        for name in BUDGETS[:-1]:  # what is given counts, whatever the run's budget was counted in
            if _get(merged, name) is not None:
                put(merged, name, 0)
    merge(merged, given)
    return {**merged, "output": str(output), "resume": True}


def check_same(settings: RunSettings, *, without: str = "") -> None:
    """Refuse to go on with the run in `output` under other settings than it was started with.

    Args:
        without: a setting that may be another.

    Raises:
        UserError: names every setting that differs, with both values; or a new budget is no larger than the old one.
    """
    place = Path(settings.output)
    if not (place / RUN_FILE).exists():
        return  # whoever opens the run says so
    old = resolve(type(settings), _toml(place / SETTINGS_FILE), where=str(place / SETTINGS_FILE))
    names = [name for name, _ in leaves(type(settings)) if name not in (*CALL_SETTINGS, without)]
    pairs = {name: (_get(old, name), _get(settings, name)) for name in names}
    different = {name: pair for name, pair in pairs.items() if _is_another(*pair)}
    if not different:
        return
    if read_json(place / RUN_FILE)["status"] != "finished" or not different.keys() <= {*BUDGETS}:
        problems = [
            f"{name}: {now!r} is given, and the run has {before!r}" for name, (before, now) in different.items()
        ]
        remedy = "Leave out what differs, or choose another --output. Only a finished run can be given another budget."
        raise UserError.from_problems(str(place), problems, remedy)
    (name, before), (kind, now) = _budget(old), _budget(settings)
    if name == kind and now <= before:
        problem = f"{name}: {now:g} is given, and the run has finished with {before:g}"
        raise UserError(str(place), problem, "Give more to lengthen it.")


# ---------------------------------------------------------------------------------------------------- runs
def _settings_of_run(run: Path, *, verb: str, with_budget: bool) -> tuple[dict[str, Any], Path]:
    """The settings that a run was started with, of all its stages if it has several, and the `output` that they mean.

    Args:
        with_budget: a budget is given, too, which is one of this stage if it has finished.
    """
    for place in (run, *sorted(run.parent.glob(f"{glob.escape(run.name)}-*"))):
        record = read_json(place / RUN_FILE) if (place / RUN_FILE).exists() else {}
        recipe, made_by = record.get("recipe"), record.get("verb", verb)
        if place == run and made_by != verb:
            raise UserError(str(run), f"is a run of destila {made_by}", f"Go on: destila {made_by} --resume {run}.")
        if place == run and record and (not recipe or (with_budget and record["status"] == "finished")):
            return _toml(run / SETTINGS_FILE), run
        if recipe:
            whole = place.with_name(place.name.removesuffix(f"-{recipe['stage']}"))
            if run in (place, whole):
                output = Path(recipe["output"])  # as it was typed, unless the run has moved
                return tomllib.loads(recipe["settings"]), output if output.resolve() == whole.resolve() else whole
    problem = f"there is no run to resume here{nearest_path(run, directories=True)}"
    raise UserError(str(run), problem, "Give the directory of a run, or leave --resume out to start one.")


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(str(path), f"cannot be read ({error})", "Was the run copied whole?") from error


# ---------------------------------------------------------------------------------------------------- settings
def _get(settings: Any, dotted: str) -> Any:
    """A setting by its name, out of settings or of nested values; None: it is not there."""
    for key in dotted.split("."):
        settings = settings.get(key) if isinstance(settings, Mapping) else getattr(settings, key, None)
    return settings


def _is_another(before: Any, now: Any) -> bool:
    """Whether two values of a setting differ; a number may be a text still, and a path may be written in two ways."""
    if before == now:
        return False
    if isinstance(before, int | float) and isinstance(now, str):
        try:
            return float(now) != before
        except ValueError:
            return True
    paths = isinstance(before, str) and isinstance(now, str) and before and now
    return not (paths and Path(before).resolve() == Path(now).resolve())


def _budget(settings: Any) -> tuple[str, float]:
    """What the length of a run is counted in, and how much it is."""
    found = {name: _get(settings, name) for name in BUDGETS}
    return next(((name, float(amount)) for name, amount in found.items() if amount), ("", 0.0))
