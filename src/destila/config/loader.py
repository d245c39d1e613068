"""From TOML files and command-line flags to settings dataclasses, with all mistakes reported at once.

One settings dataclass is one command: nested dataclasses become TOML tables and `--table.key` flags, lists become flags
that may be repeated, and the docstring under a field becomes its help. pydantic checks types and ranges; what it lacks,
the nearest known key for a misspelt one, is added here. Later wins: defaults, then `--config` files in order, then
flags.
"""

import argparse
import ast
import dataclasses
import difflib
import inspect
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt

from destila.config.bundled import config_text, listed
from destila.core.errors import UserError

Settings = TypeVar("Settings")
BOUNDS: dict[type, Callable[[int, Any], bool]] = {
    Ge: lambda value, bound: value >= bound.ge,
    Gt: lambda value, bound: value > bound.gt,
    Le: lambda value, bound: value <= bound.le,
    Lt: lambda value, bound: value < bound.lt,
}
REMEDY = "Run the command with --help for every setting."


def read_toml(path: str) -> dict[str, Any]:
    """Read a settings file, or the bundled configuration of that name.

    Raises:
        UserError: it is missing, is not UTF-8 or is not TOML.
    """
    import tomllib

    try:
        return tomllib.loads(config_text(path))
    except FileNotFoundError:
        raise UserError(
            path, "does not exist", f"Give the path of a TOML settings file, or a bundled one: {listed()}."
        ) from None
    except IsADirectoryError:
        raise UserError(path, "is a directory", "Give the path of a TOML settings file.") from None
    except UnicodeDecodeError as error:
        raise UserError(path, f"is not UTF-8 ({error.reason} at byte {error.start})", "Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(path, f"is not TOML: {error}", "Mend that line.") from None


def resolve(cls: type[Settings], values: Mapping[str, Any], *, where: str = "settings") -> Settings:
    """Check `values` (nested, as TOML gives them) and make the settings.

    Raises:
        UserError: names every unknown key with the nearest known one, and every ill-typed or illegal value.
    """
    if (plain := _plain(cls, values)) is not None:
        return plain
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        known = [name for name, _ in leaves(cls)]
        problems = [_problem(details, known) for details in error.errors(include_url=False)]
        raise UserError.from_problems(where, list(dict.fromkeys(problems)), REMEDY) from None


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
        return f"{'.'.join(parts)}: no such setting{nearest('.'.join(parts), known)}"
    if details["type"] in ("missing", "missing_argument"):
        return f"{key}: is required"
    message = details["msg"].removeprefix("Value error, ")
    if isinstance(details["input"], (str, int, float, bool, list)):
        return f"{key} = {details['input']!r}: {message[:1].lower()}{message[1:]}"
    return f"{key}: {message[:1].lower()}{message[1:]}"


def nearest(key: str, known: Sequence[str]) -> str:
    """ "; did you mean X?" for the known key most like `key`, or nothing."""
    found = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if not found:  # a key in the wrong table: compare the last parts alone
        last = {name.rpartition(".")[2]: name for name in known}
        found = [last[name] for name in difflib.get_close_matches(key.rpartition(".")[2], last, n=1, cutoff=0.7)]
    return f"; did you mean {found[0]}?" if found else ""


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
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_value(key)} = {_toml_value(item)}" for key, item in value.items()) + "}"
    return repr(value)


# ---------------------------------------------------------------------------------------------------- command line
def help_texts(cls: type) -> dict[str, str]:
    """The docstring under each field, by field name, fields of base classes included."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for item, following in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
                and isinstance(following, ast.Expr)
            ):
                texts[item.target.id] = str(ast.literal_eval(following.value))
    return texts


def add_arguments(parser: argparse.ArgumentParser, cls: type, prefix: str = "", *, helped: bool = True) -> None:
    """Add a flag, or a positional, for every setting of a dataclass. All values stay strings until `resolve`.

    Args:
        helped: with help texts, which are read from the source; they take longer than all the rest.
    """
    hints, helps = typing.get_type_hints(cls), help_texts(cls) if helped else {}
    for item in dataclasses.fields(cls):
        hint, name = hints[item.name], prefix + item.name
        text = helps.get(item.name, "").replace("%", "%%")
        if dataclasses.is_dataclass(hint):
            add_arguments(parser, typing.cast(type, hint), name + ".", helped=helped)
            continue
        if item.default is not dataclasses.MISSING and item.default not in (None, "", False):
            text += f" (default: {item.default})"
        listed, optional = (
            _is_list(hint),
            item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING,
        )
        if item.metadata.get("positional"):
            many = "*" if listed else "?" if optional else None
            parser.add_argument(name, nargs=many, help=text, default=argparse.SUPPRESS, metavar=item.name.upper())
        elif hint is bool:
            parser.add_argument(
                f"--{_flag(name)}",
                nargs="?",
                const="true",
                default=argparse.SUPPRESS,
                dest=name,
                metavar="BOOL",
                help=text,
            )
        elif listed:
            parser.add_argument(
                f"--{_flag(name)}",
                action="append",
                default=argparse.SUPPRESS,
                dest=name,
                metavar=item.name.upper(),
                help=text,
            )
        else:
            parser.add_argument(
                f"--{_flag(name)}", default=argparse.SUPPRESS, dest=name, metavar=item.name.upper(), help=text
            )


def _flag(name: str) -> str:
    """`top_k` is `--top-k` on its own and `training.batch_size` stays as in the file."""
    return name if "." in name else name.replace("_", "-")


def _is_list(hint: Any) -> bool:
    return typing.get_origin(hint) is list


def _is_optional(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType) and type(None) in typing.get_args(hint)


def parse_arguments(cls: type[Settings], arguments: Sequence[str], *, command: str) -> Settings:
    """Settings from a command line.

    Raises:
        UserError: names every mistake in flags and files at once.
        SystemExit: for --help.
    """
    parser = _Parser(prog=command, description=cls.__doc__, allow_abbrev=False)
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="TOML settings file, or a bundled one by its name, such as paper; later ones and flags win",
    )
    add_arguments(parser, cls, helped=not {"-h", "--help"}.isdisjoint(arguments))
    parsed, unknown = parser.parse_known_args(list(arguments))
    known = dict(leaves(cls))
    values: dict[str, Any] = {}
    for path in parsed.config:
        _merge(values, read_toml(path))
    for name, value in vars(parsed).items():
        if name != "config":
            _set(values, name, _from_text(value, known[name]))
    flags = [f"--{_flag(name)}" for name in known]
    strange = [
        f"{flag}: no such flag{nearest(flag.partition('=')[0], flags)}" for flag in unknown if flag.startswith("--")
    ]
    loose = [f"{text!r}: what is this for?" for text in unknown if not text.startswith("--")]
    where = " ".join([command, *(f"--config {path}" for path in parsed.config)])
    try:
        settings = resolve(cls, values, where=where)
    except UserError as error:
        if not unknown:
            raise
        problems = [line.removeprefix("  - ") for line in error.problem.splitlines() if line.startswith("  - ")] or [
            error.problem
        ]
        raise UserError.from_problems(where, strange + problems, REMEDY) from None
    if strange or loose:
        raise UserError.from_problems(where, strange or loose, REMEDY)
    return settings


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        raise UserError(self.prog, message, REMEDY)


def _from_text(value: Any, hint: Any) -> Any:
    """A flag's text as the value that a TOML file would hold, where pydantic needs the help."""
    if value in ("none", "null") and _is_optional(hint):
        return None
    if isinstance(value, str) and value.startswith(("[", "{")):
        import tomllib

        try:
            return tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            return value
    return value


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *tables, key = dotted.split(".")
    for table in tables:
        values = values.setdefault(table, {})
    values[key] = value
