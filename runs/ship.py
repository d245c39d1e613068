"""Put what was trained where the project keeps it: models under models/, the reader's export into the package.

    python runs/ship.py --teacher runs/reader/teacher --student runs/reader/student --export runs/reader/reader

Weights under models/ are in half precision; loading makes them fp32 again. Nothing that is written names a path of the
machine that it was made on. The cards are those that `destila card` wrote into the three directories.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch

from destila.card_metadata import CARD_FILE
from destila.commands.push import without_paths
from destila.models import load_reader, save_reader
from destila.reader import SHIPPED
from destila.runs import METADATA_FILE, atomic_directory, read_json, write_json

MODELS = Path("models")
LOG = ("loss", "span", "exact", "dev_f1", "dev_em", "dev_span", "dev_exact")  # of metrics.jsonl, beside step and epoch


def replaced(directory: Path) -> Path:
    """A directory that is not there any more."""
    shutil.rmtree(directory, ignore_errors=True)
    return directory


def keep(run: Path, name: str) -> None:
    """Write a run's model in half precision, with its card and its log."""
    loaded = load_reader(str(run))
    with atomic_directory(replaced(MODELS / name)) as directory:
        save_reader(loaded.model, loaded.tokenizer, without_paths(loaded.metadata), directory, dtype=torch.float16)
        shutil.copy(run / CARD_FILE, directory / CARD_FILE)
        write_log(run, directory / "log.jsonl")


def write_log(run: Path, path: Path) -> None:
    """The learning curve of a run: losses and scores by step."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = [{name: row[name] for name in ("step", "epoch", *LOG) if name in row} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")


def ship(export: Path) -> None:
    """Put an export into the package: what its destila.json lists, and no more."""
    metadata = read_json(export / METADATA_FILE)
    metadata["files"].pop(CARD_FILE, None)
    with atomic_directory(replaced(SHIPPED)) as directory:
        for name in metadata["files"]:
            shutil.copy(export / name, directory / name)
        write_json(directory / METADATA_FILE, without_paths(metadata))


def main() -> None:
    """Copy all three."""
    parser = argparse.ArgumentParser(description="Put a teacher and its reader where the project keeps them.")
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--student", type=Path, required=True)
    parser.add_argument("--export", type=Path, required=True)
    arguments = parser.parse_args()
    keep(arguments.teacher, "teacher")
    keep(arguments.student, "reader")
    ship(arguments.export)


if __name__ == "__main__":
    main()
