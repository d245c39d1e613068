"""A teacher, its student and what they answered: a case to report on, made in code; and a reader of report.md."""

import functools
import html
import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path

from destila.config import (
    CALL_SETTINGS,
    DataSettings,
    DistillSettings,
    FinetuneSettings,
    LossSettings,
    ModelSettings,
    ShapeSettings,
    StudentSettings,
    TeacherSettings,
)
from destila.config.loader import to_toml
from destila.core.records import Answer, Example, Prediction
from destila.core.runs import Run
from destila.data.sources import load_gold
from destila.evaluation.predictions import write_raw
from tiny import predicted, tiny_reader

DATA = str(Path(__file__).parents[2] / "data" / "nativa" / "dev.json")
WINDOW = {"length": 96, "stride": 16, "max_answer_tokens": 12}
THRESHOLD = 0.25  # of the student; the teacher always answers
CALIBRATION = {"bias": 0.5, "margin": 0.6, "share": 0.9}  # of the student; and two promises, by least probability
PROMISES = {0.2: 0.9, 0.5: 0.6}
STEPS = 400


@functools.cache
def examples() -> list[Example]:
    """The questions, as the command reads them."""
    return load_gold([DATA])


def answers(seed: int, *, skill: float, threshold: float | None) -> dict[str, Prediction]:
    """What a reader of some skill might say: right, too long, too short, elsewhere, or that there is no answer."""
    chance = random.Random(seed)
    made = {}
    for example in examples():
        best = _span(example, chance, skill)
        hoped = -1.5 if example.answers else 1.5
        odds = chance.gauss(hoped * skill, 1)
        refused = threshold is not None and odds > threshold
        given = Answer.none(round(chance.uniform(0.3, 1), 3)) if refused else best
        made[example.id] = predicted(given, best, odds)
    return made


def _span(example: Example, chance: random.Random, skill: float) -> Answer:
    score = round(chance.random(), 3)
    words = [(found.start(), found.end()) for found in re.finditer(r"\S+", example.context)]
    if not example.answers or chance.random() > skill:
        first = chance.randrange(len(words) - 3)
        return Answer.at(example.context, words[first][0], words[first + chance.randrange(3)][1], score)
    start, end = example.answers[0].start, example.answers[0].end
    inside = [word for word in words if start <= word[0] and word[1] <= end]
    kind = chance.random()
    if kind < 0.2 and len(inside) > 1:
        return Answer.at(example.context, *inside[0], score)
    if kind < 0.4:
        before = [word for word in words if word[1] <= start]
        return Answer.at(example.context, before[-1][0] if before else start, end, score)
    return Answer.at(example.context, start, end, score)


def make(directory: Path) -> Path:
    """Runs of a teacher and a student with curves, and the raw predictions of a report in `directory`/report."""
    teacher, student = directory / "teacher", directory / "student"
    data = DataSettings(train=["sqac/train", "mine.json"], dev=[DATA])
    _run(teacher, FinetuneSettings(model=ModelSettings(name=""), data=data), ("loss", "task"))
    shape = ShapeSettings(layers=2, heads=2, hidden=16, feed_forward=32)
    settings = DistillSettings(
        teacher=TeacherSettings(name=str(teacher)),
        student=StudentSettings(shape=shape),
        loss=LossSettings(layer_map=[1, 4]),
        data=data,
    )
    _run(student, settings, ("loss", "task", "soft", "hidden", "attention"))
    tiny_reader(teacher, seed=0, layers=4, hidden=32, metadata={"window": WINDOW, "no_answer_threshold": None})
    source = {"command": "distill", "teacher": str(teacher), "data": data.train}
    rest = {"confidence": 0.9, "answered": 0.5, "wrong": 0.1, "questions": 100}
    promises = [{"max_error": most, "least_probability": least} | rest for most, least in PROMISES.items()]
    metadata = {"window": WINDOW, "no_answer_threshold": THRESHOLD, "source": source}
    metadata |= {"calibration": CALIBRATION | {"promises": promises}}
    tiny_reader(student, seed=1, layers=2, metadata=metadata)
    for name, made in (
        ("teacher", answers(1, skill=0.9, threshold=None)),
        ("student", answers(2, skill=0.6, threshold=THRESHOLD)),
    ):
        write_raw(made, directory / "report" / "predictions" / f"{name}.jsonl")
    return student


def _run(path: Path, settings: object, terms: tuple[str, ...]) -> None:
    run = Run.create(path, settings_text=to_toml(settings, without=CALL_SETTINGS), seed=7)
    chance = random.Random(str(path.name))
    lines = []
    for step in range(1, STEPS + 1):
        values = {name: place + 3 / step + chance.random() for place, name in enumerate(terms)}
        lines.append({"step": step, "epoch": step / 100, **values, "learning_rate": 1 / step})
        if step % 100 == 0:
            lines.append({"step": step, "epoch": step / 100, "dev_f1": step / 8, "dev_n": 171})
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.record["environment"] = {**run.record["environment"], "cores": 2}
    run.update(status="finished", device="cpu")
    record = json.loads((path / "run.json").read_text()) | {"seconds": 5400.0}
    (path / "run.json").write_text(json.dumps(record))


# ---------------------------------------------------------------------------------------------------- reading back
Tables = dict[str, list[list[str]]]


def markdown_tables(text: str) -> Tables:
    """{caption: head and rows} of a report in Markdown."""
    found: Tables = {}
    for caption, body in re.findall(r"^\*\*(.+)\*\*\n\n((?:\|.*\|\n)+)", text, re.M):
        lines = [line for place, line in enumerate(body.splitlines()) if place != 1]
        found[_plain(caption)] = [[_plain(cell) for cell in re.split(r" (?<!\\)\| ", line[2:-2])] for line in lines]
    return found


def _plain(text: str) -> str:
    return html.unescape(re.sub(r"\\([\\`*_{}\[\]<>|~$#!])", r"\1", text))


class Page(HTMLParser):
    """The tables, the text and every address of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: Tables = {}
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self._caption, self._rows, self._cell = "", list[list[str]](), None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attributes if name in ("href", "src", "action", "data", "srcset")
        ]
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("th", "td", "caption"):
            self._cell = ""

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "caption":
            self._caption = self._cell or ""
        elif tag in ("th", "td"):
            self._rows[-1].append(self._cell or "")
        elif tag == "table":
            self.tables[self._caption] = self._rows
        if tag in ("th", "td", "caption"):
            self._cell = None


def onnx_reader(
    directory: Path,
    *,
    source: dict[str, object] | None = None,
    threshold: float | None = None,
    seed: int = 0,
) -> Path:
    """An exported reader without a network in it: a random score for each token, looked up. Needs no torch to run."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from tiny import tiny_config, tiny_tokenizer

    directory.mkdir(parents=True)
    config = tiny_config() | {"model_type": "roberta"}
    table = np.random.default_rng(seed).normal(size=(2, int(str(config["vocab_size"])))).astype(np.float32)
    names = ("start_logits", "end_logits")
    graph = helper.make_graph(
        [helper.make_node("Gather", [f"{name}_table", "input_ids"], [name]) for name in names],
        "reader",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "t"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", "t"]) for name in names],
        [numpy_helper.from_array(scores, f"{name}_table") for name, scores in zip(names, table, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, directory / "model.onnx")
    tiny_tokenizer().save(str(directory / "tokenizer.json"))
    (directory / "config.json").write_text(json.dumps(config))
    metadata = {"format": "onnx", "precision": "fp32", "parameters": int(table.size), "window": WINDOW}
    metadata |= {"no_answer_threshold": threshold, "source": source or {}}
    (directory / "destila.json").write_text(json.dumps(metadata))
    return directory
