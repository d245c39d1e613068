"""Where a model comes from, as the disk says: its run, its settings, its machine, its data, its ancestors.

Mental model: a model is a directory (or a hub id, of which nothing is known here). A run directory says how it was
trained (`destila.core.runs`), a reader's destila.json what it was made of. Following these names gives a tree: a
student's teacher, the encoder that the teacher began as, the earlier stage, the model that was exported. Records that
were kept apart from their runs (scripts/ship.py) may say two more things, in run.json or destila.json: "data", what
their data hold, because those are elsewhere, and "names_from", the directory that the names of models in them start
from, if it is not the working directory.

Invariant: nothing is guessed. What the files do not say is empty or None here, and whoever prints it says so. This
module loads no model, fetches nothing and scores nothing.
"""

import json
import os
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from destila.core.errors import UserError
from destila.core.json_fields import parse_json
from destila.core.runs import METADATA_FILE, METRICS_FILE, RUN_FILE, SETTINGS_FILE, destila_version, read_json
from destila.data.licences import DataSet, DataSource, describe_data

__all__ = [
    "DataSet",
    "DataSource",
    "Provenance",
    "all_data",
    "all_licences",
    "describe_data",
    "lineage",
    "read_metrics",
    "reader_snippet",
    "recorded",
    "repeat_commands",
    "shown_place",
    "trace",
]

# The setting that names a parent, by its role and the command.
NAMED_BY = {
    "teacher": {"distill": "--teacher.name"},
    "starting point": {"distill": "--student.name", "finetune": "--model.name", "pretrain": "--model.name"},
}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything that a directory says about a model.

    Attributes:
        name: the directory or hub id, as it was given.
        role: what it is to the model that it was reached from: "teacher", "other teacher", "starting point",
            "exported from"; empty for that model itself.
        is_local: whether `name` is a directory here.
        verb: the command that made it, such as "distill"; empty if unknown.
        status: "finished", "interrupted", ... of its run; empty without a run.
        command: the command line that started the run; empty without a run.
        seed: of the run.
        started: when, in seconds since 1970.
        seconds: time that the run took.
        paused: whether `seconds` may hold pauses: it is then the time from its start to its last line of metrics.
        device: the graphics card that trained it, or "cpu"; empty if unknown.
        environment: see `runs.environment`.
        settings: the resolved settings; `settings_text`: the same as TOML.
        metadata: the content of destila.json.
        data: what it was trained on and chosen on, its ancestors' data not included.
        parents: what it was made of.
    """

    name: str
    role: str = ""
    is_local: bool = False
    verb: str = ""
    status: str = ""
    command: str = ""
    version: str = ""
    seed: int | None = None
    started: float | None = None
    seconds: float | None = None
    paused: bool = False
    device: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    settings_text: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[DataSet, ...] = ()
    parents: tuple["Provenance", ...] = ()

    @property
    def has_run(self) -> bool:
        """Whether the directory is that of a run."""
        return bool(self.status)


# ---------------------------------------------------------------------------------------------------- the tree
def trace(name: str, *, role: str = "") -> Provenance:
    """What is known of a model and of all that it was made of.

    Args:
        name: a directory or a hub id.

    Raises:
        UserError: a file of the directory, or of an ancestor's, is damaged.
    """
    return _trace(name, role=role, seen=frozenset())


def _trace(name: str, *, role: str, seen: frozenset[Path]) -> Provenance:
    directory = Path(name)
    if not name or not directory.is_dir() or directory.resolve() in seen:
        return Provenance(name, role)
    record, settings, text = _record(directory)
    metadata = _object(directory / METADATA_FILE)
    source = _table(metadata, "source")
    inner = _table(source, "source")  # an export's source holds that of the model it was made from
    known = source if "command" in source else inner
    seen = seen | {directory.resolve()}
    seconds, paused = _seconds(directory, record)
    start = record.get("names_from") or metadata.get("names_from")
    root = directory / str(start) if start else None
    made_of = _parents(settings, source, inner)
    return Provenance(
        name=name,
        role=role,
        is_local=True,
        verb=str(known.get("command") or _verb(settings)),
        status=str(record.get("status", "")),
        command=str(record.get("command", "")),
        version=str(record.get("version") or metadata.get("version") or ""),
        seed=record.get("seed"),
        started=record.get("started"),
        seconds=seconds,
        paused=paused,
        device=str(record.get("device", "")),
        environment=_table(record, "environment"),
        settings=settings,
        settings_text=text,
        metadata=metadata,
        data=_recorded_data(record) or _recorded_data(metadata) or _data(settings, known),
        parents=tuple(_parent(parent, role=kind, root=root, seen=seen) for kind, parent in made_of),
    )


def _parent(name: str, *, role: str, root: Path | None, seen: frozenset[Path]) -> Provenance:
    """What a model was made of, looked for in `root` alone if its file says so, else from the working directory."""
    if root is None:
        return _trace(name, role=role, seen=seen)
    if (root / name).is_dir():
        return _trace(shown_place(os.path.normpath(root / name)), role=role, seen=seen)
    return Provenance(name, role)  # a directory of that name in the working directory is another model


def lineage(model: Provenance) -> list[Provenance]:
    """The model and all its ancestors, each once, every one after what it was made of."""
    found: dict[str, Provenance] = {}
    for parent in model.parents:
        for ancestor in lineage(parent):
            found.setdefault(ancestor.name, ancestor)
    return [*found.values(), model]


def all_data(model: Provenance) -> list[DataSet]:
    """What the model and its ancestors were trained and chosen on, each once for each use."""
    return list({(item.name, item.use): item for one in lineage(model) for item in one.data}.values())


def all_licences(model: Provenance) -> dict[str, list[DataSource]]:
    """The data sets behind a model, under their licence; "" where nobody says."""
    found: dict[str, list[DataSource]] = {}
    for item in all_data(model):
        for source in item.sources:
            names = found.setdefault(source.licence, [])
            if source not in names:
                names.append(source)
    return dict(sorted(found.items()))


def repeat_commands(model: Provenance) -> list[str]:
    """The command lines that make the model again, in order, from the settings that were written down.

    `settings.toml` holds every setting resolved, so that they do not depend on defaults that may change. Each makes a
    directory beside the old one, and what comes after it is made of the new one.
    """
    commands, made = list[str](), set[str]()
    for one in lineage(model):
        if one.has_run and one.verb:
            path = f"{shown_place(one.name).rstrip('/')}/{SETTINGS_FILE}"
            parts = ["destila", one.verb, "--config", path, "--output", _again(one.name)]
            for parent in one.parents:
                if parent.name in made and parent.role in NAMED_BY:
                    flag = NAMED_BY[parent.role].get(one.verb, "")
                    parts += [flag, _again(parent.name)] if flag else []
            commands.append(shlex.join(parts))
            made.add(one.name)
        exported = [parent.name for parent in one.parents if parent.role == "exported from"]
        if exported and "format" in one.metadata:
            form, precision = str(one.metadata["format"]), str(one.metadata.get("precision", "fp32"))
            source = _again(exported[0]) if exported[0] in made else shown_place(exported[0])
            parts = ["destila", "export", "--model", source, "--output", _again(one.name)]
            commands.append(shlex.join([*parts, "--format", form, "--precision", precision]))
            made.add(one.name)
    return commands


def _again(name: str) -> str:
    return f"{shown_place(name).rstrip('/')}-again"


def shown_place(name: str) -> str:
    """A model's name; a directory below the working directory is named from there, so that no other part is shown."""
    path = Path(name)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else name


def _parents(settings: Mapping[str, Any], source: Mapping[str, Any], inner: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(role, name) of what a model was made of: by its settings, else by its destila.json."""
    teacher, student, model = (_table(settings, key) for key in ("teacher", "student", "model"))
    found = [("starting point", str(one.get("name") or "")) for one in (model, student)]
    found.append(("teacher", str(teacher.get("name") or source.get("teacher") or "")))
    found += [("other teacher", str(name)) for name in teacher.get("others", ())]
    exported = str(source.get("model") or "")
    if "command" in source:  # what `finetune` or `pretrain` started from
        found.append(("starting point", exported))
    else:
        found.append(("exported from", exported))
        if not Path(exported).is_dir():  # the exported model is not here: its own ancestors may be
            found.append(("teacher", str(inner.get("teacher") or "")))
    return [(role, name) for role, name in dict.fromkeys(found) if name not in ("", "random")]


def _verb(settings: Mapping[str, Any]) -> str:
    """The command that settings belong to: each has a table that no other has."""
    if "teacher" in settings:
        return "distill"
    if "text" in settings:
        return "pretrain"
    return "finetune" if "model" in settings else ""


# ---------------------------------------------------------------------------------------------------- files
def _record(directory: Path) -> tuple[dict[str, Any], dict[str, Any], str]:
    """run.json, the settings, and their text; empty where there is no run."""
    if not (directory / RUN_FILE).exists():
        return {}, {}, ""
    path = directory / SETTINGS_FILE
    try:
        text = path.read_text(encoding="utf-8")
        return _object(directory / RUN_FILE), tomllib.loads(text), text
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(str(path), f"cannot be read ({error})", "Was the run copied whole?") from error


def _object(path: Path) -> dict[str, Any]:
    """A file that holds a JSON object; empty if there is no such file."""
    if not path.exists():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(str(path), "is not a JSON object", "Mend it, or delete it.")
    return value


def _table(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _seconds(directory: Path, record: Mapping[str, Any]) -> tuple[float | None, bool]:
    """Seconds that a run took, and whether pauses may be among them."""
    if "seconds" in record and record.get("status") != "running":  # else it was killed, or is at it
        return float(record["seconds"]), False
    metrics = directory / METRICS_FILE
    if "started" not in record or not metrics.exists():
        return None, False
    return max(0.0, metrics.stat().st_mtime - float(record["started"])), True


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl, but for a torn last one; empty where there is no such file."""
    path = directory / METRICS_FILE
    if not path.exists():
        return []
    lines = [parse_json(line)[0] for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return [line for line in lines if isinstance(line, dict) and isinstance(line.get("step"), int)]


# ---------------------------------------------------------------------------------------------------- data
def _data(settings: Mapping[str, Any], source: Mapping[str, Any]) -> tuple[DataSet, ...]:
    data, text, student = (_table(settings, key) for key in ("data", "text", "student"))
    named = [("train", data.get("train") or source.get("data") or ()), ("dev", data.get("dev", ()))]
    named += [("vocabulary", student.get("vocabulary", ())), ("text", text.get("files", ()))]
    named.append(("text", _table(settings, "unlabelled").get("files", ())))  # what the teacher was asked about
    return tuple(describe_data(str(name), use=use) for use, names in named for name in names)


def recorded(data: Sequence[DataSet]) -> list[dict[str, Any]]:
    """Data as a record keeps them that must stand without the files."""
    return [asdict(item) for item in data]


def _recorded_data(record: Mapping[str, Any]) -> tuple[DataSet, ...]:
    return tuple(
        DataSet(item["name"], item["use"], tuple(DataSource(**source) for source in item["sources"]))
        for item in record.get("data", ())
    )


def reader_snippet(name: str | None) -> str:
    """The lines of Python that load a reader (None: the one that ships) and ask it."""
    argument = "" if name is None else json.dumps(name, ensure_ascii=False)
    return "\n".join(
        [
            "from destila import Reader",
            "",
            f"reader = Reader.load({argument})  # Destila {destila_version()}",
            'answer = reader.answer("¿Quién...?", text)',
            "print(answer.text, answer.start, answer.end, answer.score)  # text is None: no answer",
        ]
    )
