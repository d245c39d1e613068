"""config.json of a model: the few of its fields that this package goes by itself, checked before anyone uses them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from destila.core.errors import UserError
from destila.core.model_files import CONFIG_FILE
from destila.core.runs import read_json

# field -> whether a value will do, and what it must be
FIELDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "model_type": (lambda value: type(value) is str, "a text"),
    "max_position_embeddings": (lambda value: type(value) is int and value > 0, "a whole number above 0"),
    "pad_token_id": (lambda value: value is None or type(value) is int, "a whole number or null"),
}


def read_config(directory: Path, *, required: tuple[str, ...] = ("model_type",)) -> Mapping[str, Any]:
    """The config.json of a model's directory.

    Args:
        required: fields that must be there.

    Raises:
        UserError: it is missing, is no JSON object, lacks a required field, or has one of another kind.
    """
    path = directory / CONFIG_FILE
    config = read_json(path)
    if not isinstance(config, dict):
        raise UserError(str(path), "is not a JSON object", "Is it the configuration of a transformers model?")
    problems = [f"has no {name}" for name in required if name not in config]
    problems += [
        f"{name} is {config[name]!r}, not {what}"
        for name, (fits, what) in FIELDS.items()
        if name in config and not fits(config[name])
    ]
    if problems:
        raise UserError.from_problems(str(path), problems, "Is it the configuration of a transformers model?")
    return config
