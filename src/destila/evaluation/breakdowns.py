"""Scores of parts of a data set, each with its interval: by question word, lengths, source and language variety.

The groups of `destila.evaluation.metrics` plus one that only some data have: the variety of Spanish (or the country)
that an article is written in, which examples do not carry and which is therefore read from the files again. Invariant:
a question is in at most one group of a kind; a group of one article says that its interval resamples questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from destila.core.json_fields import parse_json
from destila.core.records import Example
from destila.data.sources import resolve
from destila.evaluation import bootstrap, metrics
from destila.evaluation.metrics import Scores

VARIETY_FIELDS = ("variety", "country")  # of an article or a JSONL line; the first that is there counts


@dataclass(frozen=True, slots=True)
class Group:
    """A model's scores on the questions of one group."""

    kind: str  # what the questions are grouped by, such as "question_word"
    name: str  # of the group
    n: int
    f1: float
    f1_ci: tuple[float, float]
    em: float
    articles: int  # how many it has; of one alone, the interval resamples questions


def group_scores(
    scores: Scores, members: Mapping[str, Mapping[str, NDArray[np.bool_]]], *, seed: int, resamples: int
) -> list[Group]:
    """Scores of every group in `members` ({kind: {name: (N,)}}), with cluster bootstrap intervals."""
    return [
        _group(scores, kind, name, chosen, seed=seed, resamples=resamples)
        for kind, groups in members.items()
        for name, chosen in groups.items()
    ]


def _group(scores: Scores, kind: str, name: str, chosen: NDArray[np.bool_], *, seed: int, resamples: int) -> Group:
    f1 = scores.f1[chosen]
    interval = bootstrap.bootstrap_interval(f1, scores.clusters[chosen], seed=seed, resamples=resamples)
    return Group(
        kind=kind,
        name=name,
        n=int(chosen.sum()),
        f1=100 * float(f1.mean()),
        f1_ci=interval.scaled(100),
        em=100 * float(scores.em[chosen].mean()),
        articles=len(np.unique(scores.clusters[chosen])),
    )


def all_groups(
    ids: Sequence[str], examples: Sequence[Example], data: Sequence[str]
) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """The groups of `metrics.groups`, and those of the language variety where the data files name it.

    Args:
        ids: of the scored examples, N.
        data: the files and named sources that the examples were read from.
    """
    found = metrics.groups(ids, examples)
    if list(found["source"]) == [""]:
        del found["source"]
    known: dict[str, str] = {}
    for name in data:
        known |= _varieties(resolve(name))
    given = [known.get(name, "") for name in ids]
    if any(given):
        found["variety"] = {name: np.array([one == name for one in given]) for name in sorted(set(given))}
    return found


def _varieties(path: Path) -> dict[str, str]:
    """{id: variety of Spanish} of the questions whose article, or line, names one."""
    text = path.read_text(encoding="utf-8-sig", errors="replace") if path.suffix in (".json", ".jsonl") else ""
    if path.suffix == ".jsonl":
        rows = [parse_json(line)[0] for line in text.split("\n") if line.strip()]
        return {str(row.get("id", place)): found for place, row in enumerate(rows, 1) if (found := _variety(row))}
    document = parse_json(text)[0] if text else {}
    return {
        str(question["id"]): found
        for article in document.get("data", ())
        if (found := _variety(article))
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    }


def _variety(row: Mapping[str, Any]) -> str:
    return next((str(row[name]) for name in VARIETY_FIELDS if row.get(name)), "")
