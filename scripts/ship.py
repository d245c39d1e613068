"""Put what was trained where the project keeps it: models under models/, the reader's export into the package.

    python scripts/ship.py --teacher runs/teacher --student runs/student --export runs/export [--notes notes.json]

Mental model: a bundled model must still say where it comes from when its runs are gone. So models/teacher and
models/reader each get a lineage.json with the records of everything behind them (`destila.reporting.lineage_file`), and
the export names models/reader as what it was made from. What the training data hold, and under which licenses, is
looked up now, while they are here, and noted in the records; the export carries all of it, because in an installed
package it stands alone. `destila.reporting.provenance` reads them.

What the files do not say themselves comes from --notes, a list of objects:

    {"name": "e5-small",              a model without a run that something was made of, a data file, or a source in one
     "role": "pre-trained weights",   what it was used as
     "license": "MIT",
     "origin": "intfloat/multilingual-e5-small (Wang et al., 2024), vocabulary trimmed",
     "made_of": ["e5-base"]}          optional: for a model that was made by hand of others

Several notes on one data file name several licenses. A model without a run and without a note is refused.

Invariant: nothing that is written names a path of the machine that it was made on: a path inside the project is written
from its top, and of any other the last part remains. Weights under models/ are in half precision; loading makes them
fp32 again. Cards are written anew, from the records that were kept.
"""

import argparse
import json
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.runs import atomic_directory, read_json, write_json
from destila.data.licenses import DataSet, DataSource
from destila.reporting.card import SCORES_FILE, write_card
from destila.reporting.card_metadata import CARD_FILE
from destila.reporting.lineage_file import Record, recorded, write_lineage
from destila.reporting.provenance import Provenance, record_of, trace

PROJECT = Path(__file__).resolve().parents[1]
MODELS = "models/"
SHIPPED = Path("src/destila/inference/shipped")
SHARD_SIZE = "45MB"  # places that keep code refuse or warn of larger files
TO_THE_TOP = "../../../.."  # from SHIPPED
# A path from the root of a machine, of two parts at least, where a text could begin to name one.
ABSOLUTE = re.compile(r"""(?:^|[\s"'=\[(,])(/[\w.~+-]+/[\w.~+-]+)""", re.M)


class Places:
    """What a path of this machine is to be called in what ships.

    Args:
        project: the directory that relative names start from.
        moved: new names, from `project`, of the models that ship or stand in a lineage.
    """

    def __init__(self, project: Path, moved: Mapping[Path, str]) -> None:
        self.project, self.moved = project, dict(moved)

    def name(self, text: str) -> str:
        """A text, if it is a path, as it may be known elsewhere; paths in quotes inside of it likewise."""
        if re.search(r"""["']/""", text):
            return re.sub(r"""(?<=["'])/[^"']*(?=["'])""", lambda found: self.name(found[0]), text)
        if not text or "\n" in text or "://" in text or len(text) > 4000:
            return text
        path = Path(text).expanduser() if text.startswith("~/") else Path(text)
        if (place := path.resolve()) in self.moved:
            return self.moved[place]
        if not path.is_absolute() and ".." not in path.parts:
            return text
        return place.relative_to(self.project).as_posix() if place.is_relative_to(self.project) else path.name

    def within(self, value: Any) -> Any:
        """All texts in what a JSON or TOML file holds."""
        if isinstance(value, Mapping):
            return {key: self.within(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.within(item) for item in value]
        return self.name(value) if isinstance(value, str) else value

    def settings(self, text: str) -> str:
        """A TOML file as it stands, but for the texts in it."""
        for old in sorted(set(_texts(tomllib.loads(text))), key=len, reverse=True):
            text = text.replace(_quoted(old), _quoted(self.name(old)))
        return text

    def command(self, line: str) -> str:
        """A command line."""
        return shlex.join(self.name(part) for part in shlex.split(line))

    def record(self, record: Record) -> Record:
        """A record of a lineage; models/NAME is NAME there."""
        run = self.within(record.run)
        if run:
            run |= {"command": self.command(str(record.run["command"]))}
        made_of = tuple((role, self.name(name).removeprefix(MODELS)) for role, name in record.made_of)
        return Record(
            name=self.name(record.name).removeprefix(MODELS),
            verb=record.verb,
            run=run,
            settings=self.settings(record.settings),
            source=self.within(record.source),
            made_of=made_of,
            data=tuple(replace(item, name=self.name(item.name)) for item in record.data),
        )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # as `loader.to_toml` writes it


# ---------------------------------------------------------------------------------------------------- notes
@dataclass(frozen=True, slots=True)
class Note:
    """What somebody states of a model without a run, of a data file, or of a source inside of one."""

    name: str
    role: str
    license: str
    origin: str
    made_of: tuple[str, ...] = ()


def read_notes(path: Path | None) -> list[Note]:
    """The notes of a file; none without one.

    Raises:
        UserError: it is no list of notes.
    """
    items = read_json(path) if path else []
    try:
        notes = [Note(**{**item, "made_of": tuple(item.get("made_of", ()))}) for item in items]
    except (TypeError, AttributeError) as error:
        remedy = "Write a list of objects with name, role, license, origin and, if needed, made_of."
        raise UserError(str(path), f"is not a list of notes ({error})", remedy) from error
    return notes


class Notes:
    """Notes, by what they are on; a path is known by its last part, too."""

    def __init__(self, notes: Sequence[Note]) -> None:
        self.notes, self.used = notes, set[str]()

    def on(self, name: str) -> list[Note]:
        """The notes on something."""
        found = [note for note in self.notes if note.name in (name, Path(name).name)]
        self.used |= {note.name for note in found}
        return found

    def data(self, item: DataSet) -> DataSet:
        """Data with what the notes say of the file, or of the sources in it."""
        if whole := self.on(item.name):
            return replace(item, sources=tuple(_source(note) for note in whole))
        found = [(source, self.on(source.name)) for source in item.sources]
        return replace(item, sources=tuple(one for old, new in found for one in (map(_source, new) if new else [old])))

    def model(self, record: Record) -> Record:
        """A record; of a model without a run, with what the notes say of it as data that it was made of."""
        record = replace(record, data=tuple(self.data(item) for item in record.data))
        if record.run or not (notes := self.on(record.name)):
            return record
        made_of = tuple(("starting point", name) for note in notes for name in note.made_of)
        sources = tuple(_source(note) for note in notes if note.license)
        data = (*record.data, *([DataSet(record.name, notes[0].role, sources)] if sources else []))
        stated = {"stated": "; ".join(note.origin for note in notes)}
        return replace(record, made_of=made_of or record.made_of, source={**record.source, **stated}, data=data)


def _source(note: Note) -> DataSource:
    return DataSource(note.name, note.license, note.origin)


# ---------------------------------------------------------------------------------------------------- what ships
def records_behind(model: Provenance, notes: Notes) -> list[Record]:
    """The records of a model and of everything that it was made of, oldest first, under the names that it has here.

    Raises:
        UserError: something that it was made of has neither a run nor a note.
    """
    found: dict[str, Record] = {}

    def add(one: Provenance) -> None:
        record = notes.model(_finished(one))
        for role, name in record.made_of:
            known = [parent for parent in one.parents if parent.name == name]
            add(known[0] if known else trace(_beside(one.name, name), role=role))
        if not (record.run or record.verb or "stated" in record.source):
            remedy = "State its license and origin in a note (--notes)."
            raise UserError(one.name, "is part of what ships, and nothing says where it comes from", remedy)
        found.setdefault(record.name, record)

    add(model)
    return list(found.values())


def _beside(name: str, other: str) -> str:
    """A model that a note names: the directory beside, if there is one."""
    place = Path(name).parent / other
    return str(place) if place.is_dir() else other


def _finished(one: Provenance) -> Record:
    """The record of a model; how long a killed run took is known by its files only."""
    record = record_of(one)
    if one.status != "running":
        return record
    return replace(record, run={**record.run, "status": "interrupted", "seconds": one.seconds or 0.0})


def new_names(teacher: Path, student: Path, records: Sequence[Record]) -> dict[Path, str]:
    """What the models are called where they ship: models/teacher, models/reader, and NAME of what is not kept.

    Raises:
        UserError: two models would get one name.
    """
    names = {teacher.resolve(): f"{MODELS}teacher", student.resolve(): f"{MODELS}reader"}
    for record in records:
        place = Path(record.name)
        if place.is_dir():
            names.setdefault(place.resolve(), place.resolve().name)
    plain = [name.removeprefix(MODELS) for name in names.values()]
    if len(set(plain)) < len(plain):
        raise UserError(str(student), f"comes from models of one name: {', '.join(map(str, names))}", "Rename one.")
    return names


def keep(run: Path, target: Path, records: Sequence[Record], places: Places) -> None:
    """Write a model in half precision with its lineage and its scores; then its card.

    One that lies there already stays as it is.
    """
    if run.resolve() == target.resolve():
        return
    import torch

    from destila.models.files import load_reader, save_reader

    with atomic_directory(replaced(target)) as directory:
        loaded = load_reader(str(run))
        metadata = places.within(loaded.metadata)
        save_reader(loaded.model, loaded.tokenizer, metadata, directory, dtype=torch.float16, shard_size=SHARD_SIZE)
        write_lineage(directory, [places.record(one) for one in records])
        if (run / SCORES_FILE).exists():
            write_json(directory / SCORES_FILE, places.within(read_json(run / SCORES_FILE)))
    write_card(target)


def refuse_other_exports(export: Path, places: Places) -> None:
    """Refuse an export that was not made from the student.

    Raises:
        UserError: it was made from another model.
    """
    model = places.name(ModelMetadata.read(export, required=True).source["model"])
    if model != f"{MODELS}reader":
        raise UserError(str(export), f"was exported from {model}, and not from the student", "Export it from there.")


def ship(export: Path, target: Path, data: Sequence[DataSet], places: Places) -> None:
    """Put an export into the package: what its destila.json lists, and no more."""
    found = ModelMetadata.read(export, required=True)
    files = {name: size for name, size in found.files.items() if name != CARD_FILE}
    about = places.within(dict(found.changed(files=files))) | {
        "names_from": TO_THE_TOP,
        "data": places.within(recorded(data)),
    }
    with atomic_directory(replaced(target)) as directory:
        for name in about["files"]:
            shutil.copy(export / name, directory / name)
        ModelMetadata(about).write(directory)


def replaced(directory: Path) -> Path:
    """A directory that is not there any more."""
    shutil.rmtree(directory, ignore_errors=True)
    return directory


def refuse_paths(directories: Sequence[Path]) -> None:
    """Look once more into everything that was written.

    Raises:
        UserError: a file names a path of this machine.
    """
    files = [path for one in directories for path in sorted(one.iterdir()) if path.suffix in (".json", ".toml", ".md")]
    problems = [
        f"{path}: {found[1]}"
        for path in files
        if path.name != "tokenizer.json"
        for found in ABSOLUTE.finditer(path.read_text(encoding="utf-8"))
    ]
    if problems:
        raise UserError.from_problems("what was written", problems, "Mend the records, or scripts/ship.py.")


def put(given: argparse.Namespace) -> list[Path]:
    """Copy all of it; returns the directories that were written."""
    project, notes = given.project.resolve(), Notes(read_notes(given.notes))
    for run in (given.teacher, given.student):
        # A trimmed model has no run: what made it is looked up below.
        if trace(str(run)).status not in ("finished", ""):
            raise UserError(str(run), "is not a finished run", "Finish it with --resume.")
    behind = {run: records_behind(trace(str(run)), notes) for run in (given.teacher, given.student)}
    if strange := [note.name for note in notes.notes if note.name not in notes.used]:
        problem = f"is about {', '.join(strange)}, which nothing that ships was made of"
        raise UserError(str(given.notes), problem, "Correct the names, or leave those notes out.")
    places = Places(project, new_names(given.teacher, given.student, [one for each in behind.values() for one in each]))
    refuse_other_exports(given.export, places)  # before anything is written
    targets = {given.teacher: project / MODELS / "teacher", given.student: project / MODELS / "reader"}
    for run, target in targets.items():
        keep(run, target, behind[run], places)
    data = {(item.name, item.use): item for one in behind[given.student] for item in one.data}
    ship(given.export, project / SHIPPED, list(data.values()), places)
    written = [*targets.values(), project / SHIPPED]
    refuse_paths(written)
    return written


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Put a teacher and its reader where the project keeps them.")
    for name in ("--teacher", "--student", "--export"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--notes", type=Path, help="JSON file that says what runs and data files do not say themselves")
    parser.add_argument("--project", type=Path, default=PROJECT, help="where models/ and src/ are")
    try:
        written = put(parser.parse_args())
    except UserError as error:
        sys.exit(f"ship: {error}")
    print(f"written: {', '.join(map(str, written))}", file=sys.stderr)


if __name__ == "__main__":
    main()
