"""Where a model comes from, as the disk says: its run, its settings, its machine, its data, its ancestors.

Mental model: a model is a directory (or a hub id, of which nothing is known here). A run directory says how it was
trained (`destila.core.runs`), a reader's destila.json what it was made of. Following these names gives a tree: a
student's teacher, the encoder that the teacher began as, the earlier stage, the model that was exported. A bundled
model has no run any more: its lineage.json (`destila.reporting.lineage_file`) holds the records of all of them, and
names are looked up there before the disk. An export that must stand without its model says two more things in its
destila.json: "data", what the data behind it hold, and "names_from", the directory that the names of models in it start
from.

Invariant: nothing is guessed. What the files do not say is empty or None here, and whoever prints it says so. This
module loads no model, fetches nothing and scores nothing.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from destila.core.errors import UserError
from destila.core.json_fields import parse_json
from destila.core.metadata import ModelMetadata
from destila.core.runs import METRICS_FILE, RUN_FILE, SETTINGS_FILE, read_json
from destila.data.licenses import DataSet, DataSource, describe_data
from destila.reporting.lineage_file import Lineage, Record, read_lineage, recorded_data


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything that a directory says about a model."""

    name: str  # the directory or hub id, as it was given
    # what it is to the model that it was reached from: "teacher", "other teacher", "starting point", "exported from";
    # empty for that model itself
    role: str = ""
    is_local: bool = False  # whether `name` is a directory here
    verb: str = ""  # the command that made it, such as "distill"; empty if unknown
    status: str = ""  # "finished", "interrupted", ... of its run; empty without a run.
    command: str = ""  # the command line that started the run; empty without a run
    version: str = ""
    seed: int | None = None  # of the run
    started: float | None = None  # when, in seconds since 1970
    seconds: float | None = None  # time that the run took
    # whether `seconds` may hold pauses: it is then the time from its start to its last line of metrics
    paused: bool = False
    device: str = ""  # the graphics card that trained it, or "cpu"; empty if unknown
    record: Mapping[str, Any] = field(default_factory=dict)  # the content of run.json
    settings: Mapping[str, Any] = field(default_factory=dict)  # the resolved settings
    settings_text: str = ""  # the same as TOML
    settings_file: str = ""  # what to give to `--config`
    metadata: Mapping[str, Any] = field(default_factory=dict)  # the content of destila.json
    data: tuple[DataSet, ...] = ()  # what it was trained on and chosen on, its ancestors' data not included
    parents: tuple["Provenance", ...] = ()  # what it was made of

    @property
    def has_run(self) -> bool:
        """Whether a run is known that made it."""
        return bool(self.status)

    @property
    def environment(self) -> Mapping[str, Any]:
        """The machine and the libraries of the run; see `runs.environment`."""
        return _table(self.record, "environment")


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
    if (kept := read_lineage(directory)) and not (directory / RUN_FILE).exists():
        return _kept(kept, kept.own, role=role, place=name)
    record, text = _run(directory)
    metadata, settings = ModelMetadata.read(directory), _toml(text, directory / SETTINGS_FILE)
    source = _table(metadata, "source")
    inner = _table(source, "source")  # an export's source holds that of the model it was made from
    known = source if "command" in source else inner
    seen = seen | {directory.resolve()}
    root = directory / str(metadata["names_from"]) if "names_from" in metadata else None
    seconds, paused = _seconds(directory, record)
    model = Provenance(
        name=name,
        role=role,
        is_local=True,
        verb=str(known.get("command") or _verb(settings)),
        seconds=seconds,
        paused=paused,
        settings=settings,
        settings_text=text,
        settings_file=f"{shown_place(name).rstrip('/')}/{SETTINGS_FILE}",
        metadata=metadata,
        data=recorded_data(metadata.get("data", ())) or _data(settings, known),
        parents=tuple(
            _parent(parent, role=kind, root=root, seen=seen) for kind, parent in _parents(settings, source, inner)
        ),
    )
    return _with_run(model, record)


def _with_run(model: Provenance, record: Mapping[str, Any]) -> Provenance:
    """The model with what its run.json says."""
    return replace(
        model,
        status=str(record.get("status", "")),
        command=str(record.get("command", "")),
        version=str(record.get("version") or model.metadata.get("version") or ""),
        seed=record.get("seed"),
        started=record.get("started"),
        device=str(record.get("device", "")),
        record=record,
    )


def _kept(kept: Lineage, record: Record, *, role: str, place: str) -> Provenance:
    """A model of which a lineage.json has a record; `place` is its own directory, empty if it is not here."""
    file = f"{shown_place(str(kept.path))}:{record.name}"
    model = Provenance(
        name=place or record.name,
        role=role,
        is_local=bool(place),
        verb=record.verb,
        seconds=record.run.get("seconds"),
        settings=_toml(record.settings, kept.path),
        settings_text=record.settings,
        settings_file=file,
        metadata=ModelMetadata.read(Path(place)) if place else {"source": record.source},
        data=record.data,
        parents=tuple(_kept_parent(kept.without(record.name), *parent) for parent in record.made_of),
    )
    return _with_run(model, record.run)


def _kept_parent(kept: Lineage, role: str, name: str) -> Provenance:
    place = shown_place(kept.place(name))
    if name in kept.records:
        return _kept(kept, kept.records[name], role=role, place=place)
    return trace(place, role=role) if place else Provenance(name, role)


def _parent(name: str, *, role: str, root: Path | None, seen: frozenset[Path]) -> Provenance:
    """What a model was made of, looked for in `root` alone if its file says so, else from the working directory."""
    if root is None:
        return _trace(name, role=role, seen=seen)
    if (root / name).is_dir():
        return _trace(shown_place(os.path.normpath(root / name)), role=role, seen=seen)
    return Provenance(name, role)  # a directory of that name in the working directory is another model


def record_of(model: Provenance) -> Record:
    """What a lineage.json keeps of a model."""
    return Record(
        name=model.name,
        verb=model.verb,
        run=model.record,
        settings=model.settings_text,
        source=_table(model.metadata, "source") or _table(model.record, "source"),
        made_of=tuple((parent.role, parent.name) for parent in model.parents),
        data=model.data,
    )


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


def all_licenses(model: Provenance) -> dict[str, list[DataSource]]:
    """The data sets behind a model, under their license; "" where nobody says."""
    found: dict[str, list[DataSource]] = {}
    for item in all_data(model):
        for source in item.sources:
            names = found.setdefault(source.license, [])
            if source not in names:
                names.append(source)
    return dict(sorted(found.items()))


def shown_place(name: str) -> str:
    """A model's name; a directory below the working directory is named from there, so that no other part is shown."""
    path = Path(name)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else name


def _parents(settings: Mapping[str, Any], source: Mapping[str, Any], inner: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(role, name) of what a model was made of: by its settings, else by its destila.json."""
    teacher, student, model = (_table(settings, key) for key in ("teacher", "student", "model"))
    found = [("starting point", str(one.get("name") or "")) for one in (model, student)]
    found.append(("teacher", str(teacher.get("name") or source.get("teacher") or "")))
    averaged = teacher.get("ensemble") or teacher.get("others", ())  # as it was called before
    found += [("other teacher", str(name)) for name in averaged]
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
def _run(directory: Path) -> tuple[dict[str, Any], str]:
    """run.json, and the settings as text; empty where there is no run."""
    if not (directory / RUN_FILE).exists():
        return {}, ""
    path = directory / SETTINGS_FILE
    try:
        return _object(directory / RUN_FILE), path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(str(path), f"cannot be read ({error})", "Was the run copied whole?") from error


def _toml(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
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
    named.append(("text", _table(settings, "unlabeled").get("files", ())))  # what the teacher was asked about
    return tuple(describe_data(str(name), use=use) for use, names in named for name in names)
