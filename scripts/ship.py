"""Put what was trained where the project keeps it: models under models/, the reader's export into the package.

    python scripts/ship.py --teacher runs/reader/teacher --student runs/reader/student --export runs/reader/reader

Mental model: a model that ships must still say where it comes from when its run is gone. So models/teacher and
models/reader keep the records of their runs (run.json, settings.toml, metrics.jsonl, scores.json), the encoders that
they began as keep theirs without weights (models/NAME), and the export names models/reader as what it was made from.
What the training data hold, and under which licences, is looked up now, while they are here, and noted in the records;
the export carries all of it, because in an installed package it stands alone. `destila.reporting.provenance` reads
them.

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
from pathlib import Path
from typing import Any

from destila.core.errors import UserError
from destila.core.runs import (
    METADATA_FILE,
    METRICS_FILE,
    RUN_FILE,
    SETTINGS_FILE,
    atomic_directory,
    read_json,
    write_json,
    write_text,
)
from destila.reporting.card import SCORES_FILE, write_card
from destila.reporting.card_metadata import CARD_FILE
from destila.reporting.provenance import Provenance, all_data, lineage, recorded, trace

PROJECT = Path(__file__).resolve().parents[1]
SHIPPED = Path("src/destila/inference/shipped")
SHARD_SIZE = "45MB"  # places that keep code refuse or warn of larger files
TO_THE_TOP = {"models": "../..", "shipped": "../../../.."}  # from models/NAME and from SHIPPED
# A path from the root of a machine, of two parts at least, where a text could begin to name one.
ABSOLUTE = re.compile(r"""(?:^|[\s"'=\[(,])(/[\w.~+-]+/[\w.~+-]+)""", re.M)


class Places:
    """What a path of this machine is to be called in what ships.

    Args:
        project: the directory that relative names start from.
        moved: new names, from `project`, of the runs that ship.
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
        if isinstance(value, dict):
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


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # as `loader.to_toml` writes it


# ---------------------------------------------------------------------------------------------------- what ships
def kept_runs(teacher: Path, student: Path) -> dict[Path, str]:
    """The runs behind a reader, oldest first, and their new names: models/teacher, models/reader, models/ENCODER.

    Raises:
        UserError: the teacher's or the student's run has not finished; two runs would get one name.
    """
    names = {teacher.resolve(): "models/teacher", student.resolve(): "models/reader"}
    found: dict[Path, str] = {}
    for one in (*lineage(trace(str(teacher))), *lineage(trace(str(student)))):
        place = Path(one.name).resolve()
        if one.has_run:
            found[place] = names.get(place, f"models/{place.name}")
    for run in (teacher, student):
        if trace(str(run)).status != "finished":
            raise UserError(str(run), "is not a finished run", "Finish it with --resume.")
    if len(set(found.values())) < len(found):
        raise UserError(str(student), f"comes from runs of one name: {', '.join(map(str, found))}", "Rename one.")
    return found


def keep_records(run: Provenance, directory: Path, places: Places) -> None:
    """Write what a run says of itself: how it was started, with which settings, how it went, what its data hold."""
    source = Path(run.name)
    record = places.within(read_json(source / RUN_FILE))
    record |= {"command": places.command(run.command), "names_from": TO_THE_TOP["models"]}
    record["data"] = places.within(recorded(run.data))
    if run.status == "running":  # it was killed: how long it took is known by its files alone
        record |= {"status": "interrupted", "seconds": run.seconds or 0.0}
    write_json(directory / RUN_FILE, record)
    write_text(directory / SETTINGS_FILE, places.settings(run.settings_text))
    if (source / METRICS_FILE).exists():
        shutil.copy(source / METRICS_FILE, directory / METRICS_FILE)
    if (source / SCORES_FILE).exists():
        write_json(directory / SCORES_FILE, places.within(read_json(source / SCORES_FILE)))


def keep(run: Path, target: Path, places: Places, *, weights: bool) -> None:
    """Write a run's records and, if it is to answer questions, its model in half precision; then its card.

    A run that lies there already stays as it is.
    """
    if run == target:
        return
    with atomic_directory(replaced(target)) as directory:
        if weights:
            import torch

            from destila.models.files import load_reader, save_reader

            loaded = load_reader(str(run))
            metadata = places.within(loaded.metadata)
            save_reader(loaded.model, loaded.tokenizer, metadata, directory, dtype=torch.float16, shard_size=SHARD_SIZE)
        keep_records(trace(str(run)), directory, places)
    if weights:
        write_card(target)


def ship(export: Path, target: Path, places: Places) -> None:
    """Put an export into the package: what its destila.json lists, and no more."""
    about = read_json(export / METADATA_FILE)
    about["files"].pop(CARD_FILE, None)
    if (model := places.name(about["source"]["model"])) != "models/reader":
        raise UserError(str(export), f"was exported from {model}, and not from the student", "Export it from there.")
    about = places.within(about) | {"names_from": TO_THE_TOP["shipped"]}
    about["data"] = places.within(recorded(all_data(trace(str(export)))))
    with atomic_directory(replaced(target)) as directory:
        for name in about["files"]:
            shutil.copy(export / name, directory / name)
        write_json(directory / METADATA_FILE, about)


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


def main() -> None:
    """Copy all of it."""
    parser = argparse.ArgumentParser(description="Put a teacher and its reader where the project keeps them.")
    for name in ("--teacher", "--student", "--export"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--project", type=Path, default=PROJECT, help="where models/ and src/ are")
    given = parser.parse_args()
    project = given.project.resolve()
    runs = kept_runs(given.teacher, given.student)
    places = Places(project, runs)
    with_weights = {given.teacher.resolve(), given.student.resolve()}
    for run, name in runs.items():
        keep(run, project / name, places, weights=run in with_weights)
    ship(given.export, project / SHIPPED, places)
    refuse_paths([*(project / name for name in runs.values()), project / SHIPPED])
    print(f"written: {', '.join([*runs.values(), str(SHIPPED)])}", file=sys.stderr)


if __name__ == "__main__":
    main()
