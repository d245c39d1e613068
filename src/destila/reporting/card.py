"""The model card: what somebody should know who finds a reader on the hub, written from what lies on the disk.

Mental model: `destila.reporting.provenance` says where a model comes from, destila.json and scores.json how it did;
this module turns both into a README.md with the hub's metadata on top. Nobody writes a figure by hand.

Invariants: what the files do not say is not said, or said to be unknown; a score stands with its interval and its
signature, an estimate with its assumption; of local files only their names appear, never where they lie. A card that a
person changed is not replaced unasked. This module fetches and uploads nothing.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from destila.core.errors import UserError
from destila.core.formatting import markdown_table, with_interval
from destila.core.model_files import CONFIG_FILE, METADATA_FILE, ONNX_FILE, OPENVINO_FILE, torch_weights
from destila.core.runs import read_json, write_text
from destila.data.licenses import DataSet
from destila.data.sources import find
from destila.models.directory import require_directory
from destila.reporting import snippets
from destila.reporting.card_metadata import CARD_FILE, card_metadata, commits_of, license_of
from destila.reporting.energy import estimate_energy
from destila.reporting.provenance import Provenance, all_data, lineage, trace

SCORES_FILE = "scores.json"  # beside a model: what `destila card --data` measured
SMALL_SAMPLE = 1000  # questions; below it a 95 % interval of F1 is some five points wide
STAMP = re.compile(r"<!-- written by destila, ([0-9a-f]{16}) -->\n\Z")
Row = Sequence[object]


# ---------------------------------------------------------------------------------------------------- write, check
def write_card(directory: Path, *, overwrite: bool = False) -> Path:
    """Write the card of a run or an export into its directory.

    Raises:
        UserError: the directory holds no model; its card was changed by hand and `overwrite` is not set.
    """
    path = directory / CARD_FILE
    if not overwrite and not is_unchanged(directory):
        remedy = "Replace it with --overwrite, or leave it: destila push takes it as it is."
        raise UserError(str(path), "was written or changed by hand", remedy)
    text = card_text(directory)
    write_text(path, f"{text}\n<!-- written by destila, {_digest(text)} -->\n")
    return path


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_unchanged(directory: Path) -> bool:
    """Whether the card of a directory is as it was written here, or is not there."""
    path = directory / CARD_FILE
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = STAMP.search(text)
    return not path.exists() or (found is not None and _digest(text[: found.start() - 1]) == found[1])


# ---------------------------------------------------------------------------------------------------- the whole
def card_text(directory: Path) -> str:
    """The card of a model directory, metadata included.

    Raises:
        UserError: it holds no model, or its files are damaged.
    """
    require_directory(directory)
    if not (directory / METADATA_FILE).is_file():
        raise UserError(str(directory), f"has no {METADATA_FILE}", "Give a finished run or an export.")
    model, config = trace(str(directory)), read_json(directory / CONFIG_FILE)
    data, scores = all_data(model), _scores(directory, model)
    parts = [
        f"---\n{card_metadata(model, data, scores)}\n---",
        f"# {directory.resolve().name}",
        _summary(model, config),
        "## Intended use",
        _USE,
        "## How to use it",
        _usage(directory, model, config),
        "## Scores",
        _score_table(scores, model),
        *_guarantees(model),
        "## Data",
        _data_table(data, _noted_files(model)),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(model, data, scores)),
        "## How it was made",
        _making(model),
    ]
    return "\n\n".join(parts) + "\n"


_USE = """\
The model answers a question by pointing at the span of a given Spanish text that holds the answer. It fits search in
documents, reading aids and the extraction of facts, where a person or a program can look at the marked passage.

It is not made for questions without a text, for texts in other languages, for answers that must be composed from
several places, or for decisions about people that nobody checks."""


def _shown(name: str) -> str:
    """What to call data: the name of a published set; of a path, the last part alone."""
    return name if find(name) else Path(name).name


def _escaped(cell: object) -> str:
    return str(cell).replace("|", "\\|").replace("\n", " ")


def _table(head: Row, rows: Sequence[Row]) -> str:
    return markdown_table([*map(_escaped, head)], [[*map(_escaped, row)] for row in rows])


# ---------------------------------------------------------------------------------------------------- sections
def _summary(model: Provenance, config: Mapping[str, Any]) -> str:
    shape = f"{config['num_hidden_layers']} layers of width {config['hidden_size']}, {config['vocab_size']:,} tokens"
    verb = _trained(model).verb
    how = {"distill": "distilled", "finetune": "fine-tuned", "pretrain": "pre-trained"}.get(verb, "made")
    method = ", by the method of [arXiv:2312.04193](https://arxiv.org/abs/2312.04193)" if verb == "distill" else ""
    sentences = [f"A reader for Spanish ({config['model_type']}, {shape}), {how} with Destila {model.version}{method}."]
    if form := model.metadata.get("format"):
        sentences.append(f"This is an export to {form} in {model.metadata.get('precision')}.")
    commits, parents = commits_of(model), []
    for parent in model.parents:
        name = parent.name.partition("@")[0]
        parents.append(f"{parent.role} `{f'{name}@{commits[name]}' if name in commits else Path(parent.name).name}`")
    if parents:
        sentences.append(f"Made of: {', '.join(parents)}.")
    return " ".join(sentences)


def _trained(model: Provenance) -> Provenance:
    """The run that trained a model: its own, or that of the model which was exported."""
    exported = [parent for parent in model.parents if parent.role == "exported from"]
    return exported[0] if exported and not model.has_run else model


def _usage(directory: Path, model: Provenance, config: Mapping[str, Any]) -> str:
    longest = int(model.metadata.get("window", {}).get("max_answer_tokens", 30))
    torch = bool(torch_weights(directory))
    blocks = [f"With Destila (`pip install 'destila[{_extra(directory)}]'`):", f"```python\n{snippets.DESTILA}```"]
    if torch:
        program = snippets.with_transformers(segmented=config.get("type_vocab_size", 1) > 1, longest_answer=longest)
        blocks += ["With transformers:", f"```python\n{program}```"]
        blocks += ["With onnxruntime, after an export:", f"```sh\n{snippets.EXPORT}```"]
    if torch or (directory / ONNX_FILE).exists():
        program = snippets.with_onnxruntime(from_hub=not torch, longest_answer=longest)
        blocks += [*([] if torch else ["With onnxruntime:"]), f"```python\n{program}```"]
    if (directory / ONNX_FILE).exists():
        blocks += ["With transformers.js, in Node.js or a browser:", f"```js\n{snippets.TRANSFORMERS_JS}```"]
    return "\n\n".join(blocks)


def _extra(directory: Path) -> str:
    """What to install to run it with Destila."""
    if (directory / OPENVINO_FILE).exists():
        return "openvino"
    return "hub" if (directory / ONNX_FILE).exists() else "train"


def _scores(directory: Path, model: Provenance) -> list[Mapping[str, Any]]:
    """What `destila card --data` measured; without it, the score on dev that chose the model."""
    path = directory / SCORES_FILE
    if path.exists():
        return _named_apart(read_json(path))
    dev = model.metadata.get("dev", {})
    if "signature" not in dev or "format" in model.metadata:
        return []
    files = [item for item in _trained(model).data if item.use == "dev"]
    names = [_data_name(item.name, [source.name for source in item.sources]) for item in files]
    return [{**dev, "data": ", ".join(names), "normalizer": "squad", "chosen": True}]


def _named_apart(scores: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Scores with data that can be shown: two files of one name, in two directories, are told apart by a number."""
    shown: dict[str, str] = {}
    for score in scores:
        name = _data_name(score["data"], score.get("holds", ()))
        alike = [other for other in shown.values() if other.partition(" #")[0] == name]
        shown.setdefault(score["data"], f"{name} #{len(alike) + 1}" if alike else name)
    return [{**score, "data": shown[score["data"]]} for score in scores]


def _data_name(name: str, holds: Sequence[str]) -> str:
    """What to call data that were scored on: a file with the data sets in it, if it says."""
    inside = [source for source in holds if source not in (name, Path(name).name)]
    shown = ", ".join(map(_shown, name.split(", ")))  # earlier versions scored several files together
    return shown if find(name) or not inside else f"{shown} ({', '.join(inside)})"


def _score_table(scores: Sequence[Mapping[str, Any]], model: Provenance) -> str:
    blocks = []
    if scores:
        head = ["data", "rules", "questions", "F1 [95 %]", "exact match [95 %]", "signature"]
        rows = [
            [
                score["data"],
                score["normalizer"],
                f"{score['n']:,}",
                _with_interval(score, "f1"),
                _with_interval(score, "em"),
                f"`{score['signature']}`",
            ]
            for score in scores
        ]
        blocks.append(_table(head, rows))
    if any(score.get("chosen") for score in scores):
        blocks.append("The model was chosen by its score on these questions, which flatters it.")
    if cost := model.metadata.get("scores"):
        before, after = cost["before"]["f1"], cost["after"]["f1"]
        blocks.append(
            f"Lower precision cost {before - after:.2f} F1 on {cost['n']:,} questions: {before:.2f} -> {after:.2f}."
        )
    return "\n\n".join(blocks) or "None measured yet: `destila card DIRECTORY --data DATA` measures and adds them."


def _with_interval(score: Mapping[str, Any], key: str) -> str:
    return with_interval(score[key], score[f"{key}_ci"])


def _guarantees(model: Provenance) -> list[str]:
    """What `destila certify` found; nothing where nobody asked."""
    verdicts = {True: "pass", False: "**fail**", None: "not checked"}
    rows, runs = list[Row](), list[str]()
    for backend, found in model.metadata.get("certificates", {}).items():
        run = f"{backend}, {found['precision']}"
        runs.append(f"{run}: {found['questions']:,} questions of {found['data']}, Destila {found['version']}.")
        for check in found["checks"]:
            result = ": ".join(filter(None, [verdicts[check["passed"]], check["detail"]]))
            rows.append([check["name"], run, f"{check['n']:,} {check['of']}", result])
    table = _table(["guarantee", "run by", "checked on", "result"], rows)
    return ["## Guarantees", table, "Checked by `destila certify`. " + " ".join(runs)] if rows else []


def _data_table(data: Sequence[DataSet], noted: Mapping[str, Mapping[str, Any]]) -> str:
    """The data sets, and of each training file what its run has noted: language, questions, weight."""
    head = ["file", "use", "data set", "license", "to name", *(["language", "questions", "weight"] if noted else [])]
    rows = []
    for item in data:
        found = noted.get(item.name, {}) if item.use == "train" else {}
        more = [found.get("language") or "-", f"{found['questions']:,}", f"{found['weight']:g}"] if found else ["-"] * 3
        for source in item.sources:
            row = [_shown(item.name), item.use, source.name, source.license or "not stated", source.attribution]
            rows.append(row + more if noted else row)
    if not rows:
        return "Nothing is known of what it was trained on."
    license, _ = license_of(data)
    rule = f"The weights carry the strictest license of the training data, {license}."
    if license == "other":
        rule = "Some license is not stated, so none is claimed for the weights: ask whoever publishes them."
    return f"{_table(head, rows)}\n\n{rule}"


def _noted_files(model: Provenance) -> dict[str, Mapping[str, Any]]:
    """What the run of a model, or of the one that it was exported from, has noted of its training files."""
    source = model.metadata.get("source", {})
    return {str(each["file"]): each for each in source.get("files") or source.get("source", {}).get("files", ())}


def _limits(model: Provenance, data: Sequence[DataSet], scores: Sequence[Mapping[str, Any]]) -> list[str]:
    window = model.metadata.get("window", {})
    limits = ["It knows Spanish text alone, and takes every text at its word."]
    if model.metadata.get("no_answer_threshold") is None:
        limits.append("It always answers: it was not trained to say that a text holds no answer.")
    else:
        limits.append("Whether it answers at all depends on a threshold that was fitted on other texts than yours.")
    if window:
        limits.append(
            f"It reads {window['length']} tokens at once, longer texts in windows that overlap by {window['stride']}, "
            f"and gives answers of at most {window['max_answer_tokens']} tokens."
        )
    if any(source.name.startswith("squad-es") for item in data if item.use == "train" for source in item.sources):
        limits.append("Part of its training data was translated by a machine, errors included.")
    small = [score for score in scores if score["n"] < SMALL_SAMPLE]
    limits += [f"The score on {score['data']} rests on {score['n']:,} questions: mind the interval." for score in small]
    if not any(not score.get("chosen") for score in scores):
        limits.append("No score on questions that played no part in choosing it is known.")
    return [*limits, "Nobody examined it for biases that its texts may have taught it."]


def _making(model: Provenance) -> str:
    run = _trained(model)
    if not run.has_run:
        return "The run that trained it is not at hand."
    training, environment = run.settings.get("training", {}), run.environment
    length = next((name for name in ("seconds", "steps") if training.get(name)), "epochs")
    used = (length, "batch_size", "learning_rate", "weight_decay", "warmup", "precision", "seed")
    settings = ", ".join(f"{name} {training[name]}" for name in used if name in training)
    loss = ", ".join(
        f"{name} {value}" for name, value in run.settings.get("loss", {}).items() if name in _TERMS and value
    )
    hardware = f"{run.device or 'unknown device'}; {environment.get('cores')} cores, {environment.get('processor')}"
    libraries = ", ".join(f"{name} {version}" for name, version in environment.get("libraries", {}).items())
    rows = [
        ["training", settings],
        *([["loss", loss]] if loss else []),
        ["time", _time(run)],
        ["hardware", hardware],
        ["energy (estimate)", _energy(run)],
        ["software", f"Destila {run.version}, Python {environment.get('python')}, {libraries}"],
    ]
    if earlier := [_cost(one) for one in lineage(run)[:-1] if one.has_run]:
        rows.append(["made of", "; ".join(earlier)])
    return _table(["", ""], rows)


def _cost(run: Provenance) -> str:
    """What an earlier run cost, in a few words."""
    energy = estimate_energy(run)
    estimate = f", about {energy.kilowatt_hours:.2g} kWh" if energy else ""
    return f"{Path(run.name).name} ({run.verb}): {_time(run)}{estimate}"


_TERMS = ("task", "soft", "hidden", "attention", "relations", "temperature")


def _time(run: Provenance) -> str:
    if run.seconds is None:
        return "unknown"
    minutes = math.ceil(run.seconds / 60)
    text = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{run.seconds:.0f} s"
    return f"{text}, pauses included" if run.paused else text


def _energy(run: Provenance) -> str:
    energy = estimate_energy(run)
    if energy is None:
        return "unknown"
    return f"{energy.kilowatt_hours:.2g} kWh, not measured: {energy.assumption}; what it was made of is not included"
