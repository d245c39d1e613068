"""The metadata on top of a model card: made by the hub library's own classes, and checked by its own reading of them.

Invariant: a license, a data set or a model of the hub stands there only if the files say so. This module needs no
network.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from destila.data.licenses import DataSet, DataSource
from destila.models.hub import library
from destila.reporting.provenance import Provenance, lineage

CARD_FILE = "README.md"
# From the most lenient to the strictest; who adapts CC BY-SA 3.0 may publish under 4.0.
LICENSE_IDS = {
    "public domain": "cc0-1.0",
    "CC0": "cc0-1.0",
    "MIT": "mit",
    "Apache-2.0": "apache-2.0",
    "CC BY 4.0": "cc-by-4.0",
    "CC BY-SA 3.0": "cc-by-sa-4.0",
    "CC BY-SA 4.0": "cc-by-sa-4.0",
}
HUB_DATA = {"sqac": "PlanTL-GOB-ES/SQAC", "xquad-es": "google/xquad", "mlqa-es": "facebook/mlqa"}


def card_problems(text: str) -> list[str]:
    """What is wrong with a card, by the hub library's own reading of it; works without a network."""
    hub = library(CARD_FILE)
    try:
        data = hub.ModelCard(text).data
    except Exception as error:  # YAML's errors have no common root with the library's ValueError
        return [f"its metadata cannot be read ({str(error).splitlines()[0]})"]
    problems = [f"its metadata lacks {key}" for key in ("language", "license", "pipeline_tag") if not data.get(key)]
    if data.get("license") == "other" and not data.get("license_name"):
        problems.append("its license is 'other' without a license_name")
    for result in data.get("eval_results", []):
        value = result.metric_value
        if not isinstance(value, int | float) or not 0 <= value <= 100:
            problems.append(f"{result.metric_type} on {result.dataset_name} is {value!r}, not a percentage")
    return problems


def card_metadata(model: Provenance, data: Sequence[DataSet], scores: Sequence[Mapping[str, Any]]) -> str:
    """The YAML on top, by the hub's own classes."""
    hub = library(CARD_FILE)
    form = str(model.metadata.get("format", ""))
    license, name = license_of(data)
    results = [
        hub.EvalResult(
            task_type="question-answering",
            dataset_type=HUB_DATA.get(score["data"].partition("/")[0], _slug(score["data"])),
            dataset_name=score["data"],
            metric_type=metric,
            metric_value=round(score[key], 2),
            metric_name=f"{label} ({score['normalizer']} rules)",
            metric_args={"interval_95": [round(end, 2) for end in score[f"{key}_ci"]]},
        )
        for score in scores
        for key, metric, label in (("f1", "f1", "F1"), ("em", "exact_match", "Exact match"))
    ]
    names = {source.name for item in data if item.use == "train" for source in item.sources}
    metadata = hub.ModelCardData(
        language="es",
        license=license,
        license_name=name,
        library_name=form or "transformers",
        pipeline_tag="question-answering",
        tags=["destila", "extractive-question-answering", *([form, str(model.metadata["precision"])] if form else [])],
        datasets=sorted(HUB_DATA[name] for name in names if name in HUB_DATA) or None,
        base_model=list(commits_of(model)) or None,
        metrics=["f1", "exact_match"] if results else None,
        model_name=Path(model.name).resolve().name,
        eval_results=results or None,
    )
    text: str = metadata.to_yaml()
    return text


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-") or "data"


def commits_of(model: Provenance) -> dict[str, str]:
    """The models of the hub that it was made of, by itself or by its ancestors, and their commits."""
    found: dict[str, str] = {}
    for one in lineage(model):
        source = one.metadata.get("source", {})
        for noted in (source, source.get("source", {})):  # an export's source holds that of its model
            found |= noted.get("commits", {})
    return found


def license_of(data: Sequence[DataSet]) -> tuple[str, str | None]:
    """The strictest license of the training data, if all of them have one that is known; else "other"."""
    known = {name for source in _behind_weights(data) for name in _known(source.license)}
    if not known or unsettled(data):
        return "other", "not-chosen"
    return LICENSE_IDS[max(known, key=list(LICENSE_IDS).index)], None


def unsettled(data: Sequence[DataSet]) -> list[DataSource]:
    """The training data because of which no license can be claimed for the weights."""
    return list(dict.fromkeys(source for source in _behind_weights(data) if not _known(source.license)))


def _behind_weights(data: Sequence[DataSet]) -> list[DataSource]:
    return [source for item in data if item.use != "dev" for source in item.sources]


def _known(license: str) -> list[str]:
    """The licenses that a statement names: of a text with many parts it may name several."""
    return [name for name in LICENSE_IDS if name in license]
