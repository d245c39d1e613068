"""lineage.json: beside a bundled model, the records of everything that it was made of, oldest first, its own last.

    {"names_from": "..",               where models that are named here lie if they are here, from the model's directory
     "runs": [{"name": "encoder",
               "verb": "pretrain",     the command that made it; empty if it was made by hand
               "run": {...},           what its run.json said; empty without a run
               "settings": "...",      its settings.toml
               "source": {...},        what its destila.json said of its source
               "made_of": [{"role": "starting point", "name": "e5"}],
               "data": [...]}]}        what it learned from, with licenses: `destila.data.licenses.DataSet`

It stands for the run directories, which are gone: `destila.reporting.provenance` reads it, scripts/ship.py writes it.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from destila.core.errors import UserError
from destila.core.runs import LINEAGE_FILE, read_json, write_json
from destila.data.licenses import DataSet, DataSource

NAMES_FROM = ".."  # a model's own directory stands beside those of the others


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of one model; the fields are those of lineage.json."""

    name: str
    verb: str = ""
    run: Mapping[str, Any] = field(default_factory=dict)
    settings: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    made_of: tuple[tuple[str, str], ...] = ()
    data: tuple[DataSet, ...] = ()


@dataclass(frozen=True, slots=True)
class Lineage:
    """The records of a lineage.json, by name."""

    path: Path  # the file
    root: Path  # the directory that names of models start from
    records: Mapping[str, Record]

    @property
    def own(self) -> Record:
        """The record of the model that the file stands beside."""
        return list(self.records.values())[-1]

    def without(self, name: str) -> "Lineage":
        """The same without one record: a model is not made of itself."""
        return Lineage(self.path, self.root, {key: one for key, one in self.records.items() if key != name})

    def place(self, name: str) -> str:
        """The directory of a model that is named here; empty if it is not there."""
        return os.path.normpath(self.root / name) if (self.root / name).is_dir() else ""


def read_lineage(directory: Path) -> Lineage | None:
    """The lineage of a model directory; None if it has no such file.

    Raises:
        UserError: the file is damaged.
    """
    path = directory / LINEAGE_FILE
    if not path.exists():
        return None
    try:
        document = read_json(path)
        records = [_record(item) for item in document["runs"]]
        root = directory / document["names_from"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(str(path), f"is not a lineage ({error!r})", "Restore the file that came with it.") from error
    if not records:
        raise UserError(str(path), "holds no record", "Restore the file that came with it.")
    return Lineage(path, root, {one.name: one for one in records})


def write_lineage(directory: Path, records: Sequence[Record]) -> None:
    """Write the lineage of a model directory; the last record is its own."""
    runs = [
        asdict(one)
        | {"made_of": [{"role": role, "name": name} for role, name in one.made_of], "data": recorded(one.data)}
        for one in records
    ]
    write_json(directory / LINEAGE_FILE, {"names_from": NAMES_FROM, "runs": runs})


def _record(item: Mapping[str, Any]) -> Record:
    return Record(
        name=str(item["name"]),
        verb=str(item["verb"]),
        run=dict(item["run"]),
        settings=str(item["settings"]),
        source=dict(item["source"]),
        made_of=tuple((str(one["role"]), str(one["name"])) for one in item["made_of"]),
        data=recorded_data(item["data"]),
    )


def recorded(data: Sequence[DataSet]) -> list[dict[str, Any]]:
    """Data as a record keeps them that must stand without the files."""
    return [asdict(item) for item in data]


def recorded_data(items: Sequence[Mapping[str, Any]]) -> tuple[DataSet, ...]:
    """Data out of such a record."""
    return tuple(
        DataSet(item["name"], item["use"], tuple(DataSource(**source) for source in item["sources"])) for item in items
    )
