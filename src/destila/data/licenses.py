"""Under which license data sets are published, and whom to name who uses them.

Mental model: what counts is the data set that an article comes from (`source` in our files), because files mix several.
Invariant: a license is one that its publishers state, as `destila.data.sources` and docs/data.md quote it, or empty.
This module judges no license, and reads no more of a file than who its articles come from.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from destila.core.json_fields import parse_json
from destila.core.runs import read_json
from destila.data.corpus import source_of, text_files
from destila.data.sources import SOURCES, cache_directory, find

ATTRIBUTIONS = {
    "squad-es-v1.1": "SQuAD-es v1.1 (Carrino, Costa-jussà, Fonollosa, 2019), from SQuAD (Rajpurkar et al., 2016)",
    "squad-es-v2.0": "SQuAD-es v2.0 (Carrino, Costa-jussà, Fonollosa, 2019), from SQuAD 2.0 (Rajpurkar et al., 2018)",
    "xquad-es": "XQuAD (Artetxe, Ruder, Yogatama, 2020)",
    "mlqa-es": "MLQA (Lewis et al., 2020)",
    "sqac": "SQAC (Gutiérrez-Fandiño et al., 2022)",
    "squad-es-dist": "SQuAD-es-dist, questions on paragraphs of SQuAD-es",
    "nativa": "nativa, the Destila authors",
}
TEXT_SOURCES = (
    "sources.json"  # beside raw text: {source: {"license": ..., "attribution": ...}}, by file names' beginnings
)
LICENSES = {source.name: source.license for source in SOURCES} | {
    "squad-es-dist": "Apache-2.0 (contexts: CC BY 4.0)",
    "nativa": "CC BY 4.0",
}


@dataclass(frozen=True, slots=True)
class DataSource:
    """A published data set inside of what was read."""

    name: str  # as the data say, such as "sqac"; the file's own name where they do not
    license: str  # such as "CC BY 4.0"; empty where nobody says
    attribution: str  # whom to name; empty where nobody says


@dataclass(frozen=True, slots=True)
class DataSet:
    """A file, a directory or a named data set that a model was made of, or judged on."""

    name: str  # as the settings name it
    use: str  # "train", "dev", "vocabulary" or "text"
    sources: tuple[DataSource, ...]  # the data sets that it holds
    language: str = ""  # such as "es", where the head of a SQuAD file says so ("language") or a named data set has one


def describe_data(name: str, *, use: str) -> DataSet:
    """What a file or named data set holds, by the `source` of its articles, else by its name, and under which license.

    A file that is not here any more is described by its name alone.
    """
    if known := find(name):
        return DataSet(name, use, (_source(known[0].name),), "es")
    path = Path(name)
    if use == "text" and (path / TEXT_SOURCES).is_file():
        return DataSet(name, use, _text_sources(path))
    cached = [entry for entry in SOURCES if path.resolve() == entry.path(cache_directory()).resolve()]
    names, language = ([cached[0].name], "es") if cached else _said_of_articles(path)
    return DataSet(name, use, tuple(_source(found) for found in names or [path.name]), language)


def _text_sources(directory: Path) -> tuple[DataSource, ...]:
    """The sources of a directory of raw text, with what its sources.json says of each."""
    said = read_json(directory / TEXT_SOURCES)
    found = {name: said.get(name, {}) for name in map(source_of, text_files([str(directory)]))}
    return tuple(DataSource(name, it.get("license", ""), it.get("attribution", "")) for name, it in found.items())


def _source(name: str) -> DataSource:
    return DataSource(name, LICENSES.get(name, ""), ATTRIBUTIONS.get(name, ""))


def _said_of_articles(path: Path) -> tuple[list[str], str]:
    """The distinct sources that the articles of a SQuAD file, or the lines of a JSONL file, name; and the language."""
    if path.suffix.lower() not in (".json", ".jsonl") or not path.is_file():
        return [], ""
    text, language = path.read_text(encoding="utf-8-sig", errors="replace"), ""
    if path.suffix.lower() == ".jsonl":
        rows: Any = [parse_json(line)[0] for line in text.split("\n") if line.strip()]
    else:
        document = parse_json(text)[0]
        rows = document.get("data") if isinstance(document, dict) else None
        language = str(document.get("language", "")) if isinstance(document, dict) else ""
    found = [row.get("source") for row in rows or () if isinstance(row, dict)]
    return list(dict.fromkeys(str(name) for name in found if name)), language
