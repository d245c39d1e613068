"""What a model's directory must hold, and what is said of one that does not: before any run time is looked for."""

import tomllib
from itertools import islice
from pathlib import Path
from typing import Any

from destila.core.errors import UserError
from destila.core.model_config import read_config
from destila.core.model_files import (
    CONFIG_FILE,
    PICKLE,
    PICKLE_INDEX,
    TOKENIZER_FILE,
    TORCH_INDEX,
    TORCH_WEIGHTS,
    VOCABULARIES,
    find_files,
    refuse_pointers,
)
from destila.core.runs import RUN_FILE, SETTINGS_FILE, read_json
from destila.core.suggestions import nearest_path

# file -> others that do instead
NEEDED = {CONFIG_FILE: (), TORCH_WEIGHTS: (TORCH_INDEX, PICKLE, PICKLE_INDEX), TOKENIZER_FILE: VOCABULARIES}
SHOWN = 3  # models that a directory holds


def require_directory(directory: Path) -> None:
    """Refuse what is no directory.

    Raises:
        UserError: it is none; suggests one whose name is like it.
    """
    if not directory.is_dir():
        problem = f"is not a directory{nearest_path(directory, directories=True)}"
        raise UserError(str(directory), problem, "Give a directory that holds a model.")


def require_model(directory: Path) -> None:
    """Refuse a directory that does not hold a whole model for torch.

    Raises:
        UserError: it holds none, or parts of one, or its config.json is damaged; of a run that has not finished it
            says how far it is and how to go on.
    """
    missing = [name for name, others in NEEDED.items() if not find_files(directory, (name, *others))]
    if missing and (directory / RUN_FILE).exists():
        _refuse_unfinished(directory)
    expected = f"expected {', '.join(NEEDED)}"
    if len(missing) == len(NEEDED):
        below = sorted(path.parent.name for path in islice(directory.glob(f"*/{CONFIG_FILE}"), SHOWN))
        remedy = f"There are models below it, such as {' and '.join(below)}." if below else "Check the path."
        raise UserError(str(directory), f"holds no model; {expected}", remedy)
    if missing:
        raise UserError(str(directory), f"has no {' and no '.join(missing)}; {expected}", "Was it copied whole?")
    refuse_pointers(directory)
    _refuse_missing_shards(directory)
    read_config(directory)


def _refuse_missing_shards(directory: Path) -> None:
    """Refuse weights in several files of which one is not there."""
    if (directory / TORCH_WEIGHTS).is_file() or not (directory / TORCH_INDEX).is_file():
        return
    index = read_json(directory / TORCH_INDEX)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict):
        raise UserError(str(directory / TORCH_INDEX), "has no weight_map", "Make or download it again.")
    missing = sorted({str(name) for name in places.values() if not (directory / str(name)).is_file()})
    if missing:
        problem = f"has no {' and no '.join(missing)}; {TORCH_INDEX} names them"
        raise UserError(str(directory), problem, "Was it copied whole?")


# ---------------------------------------------------------------------------------------------------- unfinished runs
def _refuse_unfinished(directory: Path) -> None:
    """Say of a run that it has not finished, how far it is, and what to do."""
    record = read_json(directory / RUN_FILE)
    status = str(record.get("status")) if isinstance(record, dict) else ""
    if status == "finished":
        return
    checkpoints = directory / "checkpoints"
    steps = [int(path.name.removeprefix("step-")) for path in checkpoints.glob("step-*[0-9]")]
    done = f"saved at step {max(steps):,} of {_budget(directory)}" if steps else "nothing is saved yet"
    verb = record.get("verb") or "VERB"
    finish = f"Finish it: destila {verb} --resume {directory}"
    if status == "diverged":
        finish = "Train again with another learning rate or seed"
    best = max(checkpoints.glob("best-*[0-9]"), default=None)
    remedy = f"{finish}; its best model so far is {best}." if best else f"{finish}."
    raise UserError(str(directory), f"is a run that has not finished ({status}; {done})", remedy)


def _budget(directory: Path) -> str:
    """How long the run is to be, as its settings say."""
    settings = tomllib.loads((directory / SETTINGS_FILE).read_text(encoding="utf-8"))
    training: dict[str, Any] = settings.get("training", {})
    if training.get("seconds"):
        return f"a run of {training['seconds']:,.0f} seconds"
    if training.get("steps"):
        return f"{training['steps']:,}"
    if settings.get("tokens"):
        return f"a run of {settings['tokens']:,} tokens"
    return f"a run of {training.get('epochs', 0):g} epochs"
