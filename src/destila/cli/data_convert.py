"""`destila data convert`: read a data file in one format, write it in another, repaired if asked."""

from pathlib import Path

from destila.cli.data_check import as_json, table
from destila.cli.result import show
from destila.config import DataConvertSettings
from destila.core.language import say
from destila.core.outputs import check_file
from destila.data.repair import Counts
from destila.data.sources import resolve
from destila.data.squad import check_target, read, save


def run(settings: DataConvertSettings) -> Counts:
    """Convert one file.

    Raises:
        UserError: the source cannot be read or taken as it is; the target exists, or cannot be written.
    """
    target = Path(settings.target)
    check_file("target", settings.target)
    check_target(target, overwrite=settings.overwrite)
    examples, counts = read(resolve(settings.source), repair=settings.repair)
    save(examples, target)
    text = f"{table(settings.source, counts)}\n\n" + say(f"written: {target}")
    show({"files": [{**as_json(settings.source, counts), "target": str(target)}]}, text, json=settings.json)
    return counts
