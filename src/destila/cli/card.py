"""`destila card`: the model card of a run or an export, with scores measured for it if data are given."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from destila.cli.result import show
from destila.config import CardSettings
from destila.core.language import say
from destila.core.runs import read_json, write_json
from destila.data.licenses import describe_data
from destila.data.sources import load_gold
from destila.evaluation import evaluate
from destila.inference.reader import Reader
from destila.reporting.card import SCORES_FILE, write_card


def run(settings: CardSettings) -> Path:
    """Write the card, and print where it is.

    Raises:
        UserError: the directory holds no model; the data cannot be read; the card was changed by hand.
    """
    directory = Path(settings.directory)
    if settings.data:
        _measure(directory, settings.data)
    path = write_card(directory, overwrite=settings.overwrite)
    show({"card": str(path)}, say(f"written: {path}"), json=settings.json)
    return path


def _measure(directory: Path, data: list[str]) -> None:
    """Score the reader on each data apart, and keep the scores beside it: new ones replace those on the same data by
    the same rules.
    """
    reader, path = Reader.load(directory), directory / SCORES_FILE
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for score in read_json(path) if path.exists() else []:
        found[score["data"], score["normalizer"]] = score
    for name in data:
        made, _ = evaluate.evaluate_reader(reader, load_gold([name]), model=str(directory), data=name)
        holds = [source.name for source in describe_data(name, use="judged").sources]
        for report in made:
            kept = {key: value for key, value in asdict(report).items() if key not in ("details", "command", "model")}
            found[name, report.normalizer] = kept | {"holds": holds, "signature": evaluate.signature(report)}
    write_json(path, list(found.values()))
