"""From TOML files and Python values to settings dataclasses, with all mistakes reported at once.

One settings dataclass is one command, and nested dataclasses are TOML tables. A text where a table belongs is the first
thing that one says of it: `teacher = "models/teacher"` is `[teacher] name = ...`. pydantic checks types and ranges;
what it lacks, the nearest known key for a misspelled one, is added here. `destila.config.flags` reads command lines.
"""

import contextlib
import dataclasses
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt

from destila.config.bundled import config_text, listed
from destila.core.errors import UserError
from destila.core.suggestions import nearest, nearest_path

Settings = TypeVar("Settings")
BOUNDS: dict[type, Callable[[int, Any], bool]] = {
    Ge: lambda value, bound: value >= bound.ge,
    Gt: lambda value, bound: value > bound.gt,
    Le: lambda value, bound: value <= bound.le,
    Lt: lambda value, bound: value < bound.lt,
}
REMEDY = "Run the command with --help-all for every setting."
MAIN_KEYS = ("name", "function", "train", "files")  # what a text in place of a table sets: the first that it has


def read_toml(path: str) -> dict[str, Any]:
    """Read a settings file, or the bundled configuration of that name.

    Raises:
        UserError: it is missing, is not UTF-8 or is not TOML.
    """
    import tomllib

    try:
        return tomllib.loads(config_text(path))
    except FileNotFoundError:
        remedy = f"Give the path of a TOML settings file, or a bundled one: {listed()}."
        raise UserError(path, f"does not exist{nearest_path(path)}", remedy) from None
    except IsADirectoryError:
        raise UserError(path, "is a directory", "Give the path of a TOML settings file.") from None
    except UnicodeDecodeError as error:
        raise UserError(path, f"is not UTF-8 ({error.reason} at byte {error.start})", "Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(path, f"is not TOML: {error}", "Mend that line.") from None


def resolve(cls: type[Settings], values: Mapping[str, Any], *, where: str = "settings") -> Settings:
    """Check `values` (nested, as TOML gives them) and make the settings; a text for a table is its name.

    Raises:
        UserError: names every unknown key with the nearest known one, and every ill-typed or illegal value.
    """
    if (plain := _plain(cls, values)) is not None:
        return plain
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_python(whole_tables(cls, values))
    except ValidationError as error:
        known = [name for name, _ in leaves(cls)]
        problems = [_problem(details, known) for details in error.errors(include_url=False)]
        raise UserError.from_problems(where, list(dict.fromkeys(problems)), REMEDY) from None


def settings_of(
    cls: type[Settings],
    given: Settings | Mapping[str, Any] | str | Path | None,
    changes: Mapping[str, Any],
    *,
    complete: Callable[[type, Mapping[str, Any]], Mapping[str, Any]] = lambda _, values: values,
) -> Settings:
    """The settings of a library call: an object, a mapping or the name of a TOML file, with changes on top.

    Args:
        complete: adds to values what is known from elsewhere.

    Raises:
        UserError: as `read_toml`, `resolve` and `complete` do; or `given` is nothing of these.
    """
    where, values = cls.__name__, dict[str, Any]()
    if isinstance(given, (str, Path)):
        where, values = str(given), read_toml(str(given))
    elif isinstance(given, cls):
        values = _given(given)
    elif isinstance(given, Mapping):
        values = dict(given)
    elif given is not None:
        remedy = f"Give {cls.__name__}, a mapping, or the path of a TOML file."
        raise UserError("settings", f"are {type(given).__name__}", remedy)
    merged: dict[str, Any] = {}
    for part in (values, changes):
        merge(merged, whole_tables(cls, part))
    return resolve(cls, complete(cls, merged), where=where)


def _given(settings: Any) -> dict[str, Any]:
    """The values of settings that are not what they are by default."""
    found, plain = dict[str, Any](), dataclasses.asdict(settings)
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if dataclasses.is_dataclass(value):
            found[item.name] = _given(value)
        elif value != (item.default_factory() if callable(item.default_factory) else item.default):
            found[item.name] = plain[item.name]
    return found


def whole_tables(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, with a table wherever a text or a path, or a list of them, stands for one; paths are texts."""
    hints, found = typing.get_type_hints(cls), dict[str, Any]()
    for name, value in values.items():
        plain = str(value) if isinstance(value, Path) else value
        plain = [str(item) if isinstance(item, Path) else item for item in plain] if type(plain) is list else plain
        table = hints.get(name)
        if dataclasses.is_dataclass(table) and (key := main_key(typing.cast(type, table))):
            if isinstance(plain, (str, list)):
                listed = is_list(typing.get_type_hints(table)[key]) and isinstance(plain, str)
                plain = {key: [plain] if listed else plain}
            elif isinstance(plain, Mapping):
                plain = whole_tables(typing.cast(type, table), plain)
        found[name] = plain
    return found


def main_key(table: type) -> str:
    """The setting that a text in place of a table stands for; empty if it has none."""
    names = [item.name for item in dataclasses.fields(table)]
    return next((key for key in MAIN_KEYS if key in names), "")


def _plain(cls: type[Settings], values: Mapping[str, Any]) -> Settings | None:
    """The settings, if all values are beyond doubt; None: ask pydantic, whose import a short command would notice.

    It takes 10 MB and a tenth of a second, more than the answer to a question does.
    """
    if not isinstance(values, dict):  # files hold anything
        return None
    hints, found = typing.get_type_hints(cls, include_extras=True), {}
    for name, value in values.items():
        if name not in hints or (read := _read_plain(value, hints[name])) is None:
            return None
        found[name] = read
    try:
        return cls(**found)
    except (TypeError, ValueError):  # a required one is missing, or the class itself refuses
        return None


def _read_plain(value: Any, hint: Any) -> str | int | bool | None:
    """A value as pydantic would read it, for the simplest types; None where it takes a closer look."""
    if _is_optional(hint):
        hints = [each for each in typing.get_args(hint) if each is not type(None)]
        return _read_plain(value, hints[0]) if len(hints) == 1 else None
    if typing.get_origin(hint) is typing.Literal:
        return value if type(value) is str and value in typing.get_args(hint) else None
    kind, *bounds = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
    if kind is int and type(value) is str and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if kind is bool and type(value) is str:
        value = {"true": True, "false": False}.get(value)
    if kind not in (str, int, bool) or type(value) is not kind:
        return None
    within = all(type(bound) in BOUNDS and BOUNDS[type(bound)](value, bound) for bound in bounds)
    return value if within else None


def _problem(details: Any, known: Sequence[str]) -> str:
    parts = [str(part) for part in details["loc"]]
    key = next((".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), ".".join(parts))
    if details["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        if isinstance(details["input"], Mapping):
            tables = [f"[{name.rpartition('.')[0]}]" for name in known if "." in name]
            return f"[{'.'.join(parts)}]: no such table{nearest('[' + '.'.join(parts) + ']', tables)}"
        return f"{'.'.join(parts)}: no such setting{nearest('.'.join(parts), known, dotted=True)}"
    if details["type"] in ("missing", "missing_argument"):
        return f"{key}: is required"
    message = details["msg"].removeprefix("Value error, ")
    if isinstance(details["input"], (str, int, float, bool, list)):
        return f"{key} = {details['input']!r}: {message[:1].lower()}{message[1:]}"
    return f"{key}: {message[:1].lower()}{message[1:]}"


def leaves(cls: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting of a dataclass as (dotted name, type), nested ones in place."""
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[item.name]):
            yield from leaves(typing.cast(type, hints[item.name]), f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, hints[item.name]


def to_toml(settings: Any, prefix: str = "", *, without: Sequence[str] = ()) -> str:
    """Settings as a TOML text that resolves to the same settings (None is left out: it is the default)."""
    plain, tables = [], []
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if item.name in without:
            continue
        if dataclasses.is_dataclass(value):
            name = prefix + item.name
            tables.append(f"\n[{name}]\n{to_toml(value, name + '.')}")
        elif value is not None:
            plain.append(f"{item.name} = {_toml_value(value)}\n")
    return "".join(plain + tables)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
        return '"' + "".join(escapes.get(letter, letter) for letter in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {name: item for name, item in dataclasses.asdict(value).items() if item is not None}
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_value(key)} = {_toml_value(item)}" for key, item in value.items()) + "}"
    return repr(value)


def is_list(hint: Any) -> bool:
    """Whether a type is a list of something."""
    return typing.get_origin(hint) is list


def _is_optional(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType) and type(None) in typing.get_args(hint)


def from_text(value: Any, hint: Any) -> Any:
    """A flag's text as the value that a TOML file would hold, where pydantic needs the help."""
    if value in ("none", "null") and _is_optional(hint):
        return None
    if isinstance(value, str) and value.startswith(("[", "{")):
        import tomllib

        with contextlib.suppress(tomllib.TOMLDecodeError):
            return tomllib.loads(f"value = {value}")["value"]
        with contextlib.suppress(ValueError, RecursionError):  # a table as other tools write it: {"name": 1}
            return json.loads(value)
    return value


def merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Lay values over others, table by table."""
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def put(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Set one setting by its dotted name in nested values."""
    *tables, key = dotted.split(".")
    for table in tables:
        values = values.setdefault(table, {})
    values[key] = value
