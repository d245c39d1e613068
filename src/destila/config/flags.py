"""From a command line to settings: flags, positionals, `--config` files and help, all made of one settings dataclass.

Mental model: nested dataclasses are `--table.key` flags, lists are flags that may be repeated, and the docstring under
a field is its help. Later wins: defaults, then `--config` files in order, then flags. A dash is as good as an
underscore, `--table text` sets the table's main key, and mistakes name a flag as it was typed.
"""

import argparse
import ast
import dataclasses
import inspect
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from destila.config.loader import (
    REMEDY,
    Settings,
    from_text,
    is_list,
    leaves,
    main_key,
    merge,
    put,
    read_toml,
    resolve,
    whole_tables,
)
from destila.config.resuming import with_run
from destila.core.errors import UserError
from destila.core.language import say
from destila.core.suggestions import nearest

DATA_ENDINGS = (".json", ".jsonl", ".parquet")


def parse_arguments(cls: type[Settings], arguments: Sequence[str], *, command: str) -> Settings:
    """Settings from a command line.

    Raises:
        UserError: names every mistake in flags and files at once.
        SystemExit: for --help.
    """
    wanted = {"-h", "--help", "--help-all"}.intersection(arguments)
    parser = _parser(cls, command, helped=bool(wanted), everything="--help-all" in wanted)
    if wanted:
        print(parser.format_help(), end="")  # argparse itself would hide that nobody could read it
        raise SystemExit(0)
    known = _flags(cls)
    given, typed = _canonical(arguments, list(known))
    parser.typed = typed
    parsed, unknown = parser.parse_known_args(given)
    hints, values = dict(leaves(cls)), dict[str, Any]()
    for path in parsed.config:
        merge(values, whole_tables(cls, read_toml(path)))
    for name, value in vars(parsed).items():
        if name != "config":
            put(values, name, from_text(value, hints[name]))
    values = with_run(cls, values)
    where = " ".join([command, *(f"--config {path}" for path in parsed.config)])
    # What stands behind a flag that there is not was its value.
    pairs = zip(["", *unknown], unknown, strict=False)
    problems = [_stray(text, known) for before, text in pairs if not _is_flag(before) or _is_flag(text)]
    try:
        settings = resolve(cls, values, where=where)
    except UserError as error:
        more = [line.removeprefix("  - ") for line in error.problem.splitlines() if line.startswith("  - ")]
        problems += [_as_typed(problem, typed_names(cls, arguments)) for problem in more or [error.problem]]
    if problems:
        raise UserError.from_problems(where, problems, REMEDY)
    return settings


def typed_names(cls: type, arguments: Sequence[str]) -> dict[str, str]:
    """How the flags of a command line were spelled, by the setting that each sets."""
    known = _flags(cls)
    return {known[flag]: name for flag, name in _canonical(arguments, list(known))[1].items() if flag in known}


def tell_as_typed(error: UserError, typed: Mapping[str, str]) -> None:
    """Name in an error the flags that were typed, in place of the settings that it opens with."""
    lines = error.problem.split("\n")
    marks = ["  - " if line.startswith("  - ") else "" for line in lines]
    told = [mark + _as_typed(line.removeprefix(mark), typed) for mark, line in zip(marks, lines, strict=True)]
    error.where, error.problem = typed.get(error.where, error.where), "\n".join(told)


def _canonical(arguments: Sequence[str], known: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The arguments with the flags spelled as the parser knows them, and how each of these was typed."""
    spelling = {flag.replace("_", "-"): flag for flag in [*known, "--config"]}
    canonical, typed = list[str](), dict[str, str]()
    for text in arguments:
        name, sign, value = text.partition("=")
        flag = spelling.get(name.replace("_", "-"), name) if name.startswith("--") else name
        if flag in spelling.values():
            typed[flag] = name
        canonical.append(flag + sign + value)
    return canonical, typed


def _is_flag(text: str) -> bool:
    return text.startswith("--") and "=" not in text


def _stray(text: str, flags: Mapping[str, str]) -> str:
    """What is wrong with an argument that no setting takes."""
    if text.startswith("--"):
        return f"{text}: no such flag{nearest(text.partition('=')[0], list(flags), dotted=True)}"
    suggested = ""
    if Path(text).suffix == ".toml":
        suggested = "--config"
    elif "--data" in flags and (Path(text).suffix in DATA_ENDINGS or Path(text).is_file()):
        suggested = "--data"
    return f"unexpected argument {text!r}" + (f"; did you mean {suggested} {text}?" if suggested else "")


def _as_typed(problem: str, typed: Mapping[str, str]) -> str:
    """A problem of a setting, which opens with its name, told of the flag that set it."""
    for end in (" = ", ": "):
        name, sign, rest = problem.partition(end)
        if sign and name in typed:
            return f"{typed[name]}{sign}{rest}"
    return problem


class _Parser(argparse.ArgumentParser):
    typed: Mapping[str, str] = {}  # how the flags of the command line were spelled

    def error(self, message: str) -> typing.NoReturn:
        flags, sign, rest = message.removeprefix("argument ").partition(": ")
        name = next((self.typed[flag] for flag in flags.split("/") if flag in self.typed), flags)
        raise UserError(self.prog, f"{name}{sign}{rest}", REMEDY)


class _HelpFormatter(argparse.HelpFormatter):
    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, prefix or say("usage: "))


# ---------------------------------------------------------------------------------------------------- flags and help
def _parser(cls: type, command: str, *, helped: bool, everything: bool) -> _Parser:
    """Takes every setting. All values stay strings until `resolve`.

    Args:
        helped: with help texts, which are read from the source; they take longer than all the rest.
        everything: with those of all settings; else of those in the class's OFTEN, if it has one.
    """
    often: tuple[str, ...] = getattr(cls, "OFTEN", ())
    parser = _Parser(
        prog=command,
        description=say(cls.__doc__ or ""),
        allow_abbrev=False,
        add_help=False,
        formatter_class=_HelpFormatter,
    )
    text = say("TOML settings file, or a bundled one by its name, such as paper; later ones and flags win")
    positional, optional = (parser.add_argument_group(say(title)) for title in ("positional arguments", "options"))
    optional.add_argument("--config", action="append", default=[], metavar=say("FILE"), help=text)
    settings = list(_settings(cls, helped=helped))
    settings.sort(key=lambda each: often.index(each.name) if each.name in often else len(often))
    for each in settings:
        group = positional if each.item.metadata.get("positional") else optional
        each.add_to(group, shown=everything or not often or each.name in often)
    parser.usage = command + say(" [--config FILE.toml] [--setting value]...")
    positionals = "".join(f" [{each.name.upper()}]" for each in settings if each.item.metadata.get("positional"))
    parser.usage = parser.usage.replace(command, command + positionals, 1)
    if often and not everything:
        parser.epilog = say(f"--help-all shows all {len(settings)} settings.")
    return parser


@dataclasses.dataclass(frozen=True)
class _Setting:
    """One setting: its dotted name, its field, its type, its help, and another flag for it (`--table`), or none."""

    name: str
    item: "dataclasses.Field[Any]"
    hint: Any
    text: str
    short: str

    def add_to(self, group: "argparse._ArgumentGroup", *, shown: bool) -> None:
        """Add the flag, or the positional."""
        common: dict[str, Any] = {"default": argparse.SUPPRESS, "metavar": self.item.name.upper()}
        common["help"] = self.text if shown else argparse.SUPPRESS
        if self.item.metadata.get("positional"):
            optional = self.item.default is not dataclasses.MISSING or callable(self.item.default_factory)
            group.add_argument(self.name, nargs="*" if is_list(self.hint) else "?" if optional else None, **common)
            return
        flags = [f"--{_flag(self.name)}", *([self.short] if self.short else [])]
        if self.hint in (bool, bool | str):
            common |= {"nargs": "?", "const": "true", "metavar": "BOOL" if self.hint is bool else "RUN"}
        elif is_list(self.hint):
            common |= {"action": "append"}
        group.add_argument(*flags, dest=self.name, **common)


def _settings(cls: type, prefix: str = "", *, helped: bool, short: str = "") -> Iterator[_Setting]:
    """Every setting of a dataclass, nested ones in place.

    Args:
        short: the flag of the table that this dataclass is.
    """
    hints, helps = typing.get_type_hints(cls), help_texts(cls) if helped else {}
    for item in dataclasses.fields(cls):
        hint, name = hints[item.name], prefix + item.name
        if dataclasses.is_dataclass(hint):
            flag = "" if prefix else f"--{_flag(name)}"
            yield from _settings(typing.cast(type, hint), name + ".", helped=helped, short=flag)
            continue
        text = say(helps.get(item.name, ""))
        shown = item.default is not dataclasses.MISSING and item.default not in (None, "")
        if shown and item.default is not False:  # zero is worth saying, and is what False equals
            text += say(f" (default: {item.default})")
        yield _Setting(name, item, hint, text.replace("%", "%%"), short if item.name == main_key(cls) else "")


def _flags(cls: type) -> dict[str, str]:
    """Every flag, and the setting that it sets."""
    found: dict[str, str] = {}
    for each in _settings(cls, helped=False):
        if not each.item.metadata.get("positional"):
            found[f"--{_flag(each.name)}"] = each.name
            if each.short:
                found[each.short] = each.name
    return found


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


def _flag(name: str) -> str:
    """`top_k` is `--top-k` on its own and `training.batch_size` stays as in the file."""
    return name if "." in name else name.replace("_", "-")
