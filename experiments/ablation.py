"""What each part of the recipe is worth: students of one shape and one budget of steps, each with one part more.

Every cell (a row of the table and a seed) is a plain `destila distill` in a directory of its own; one that has its
predictions is finished and is not trained again, one that was interrupted goes on. What is computed once from the
teacher is shared by all cells. `experiments/ablation.sh` says what the environment variables mean, and runs this.

    python experiments/ablation.py [JOB JOBS]     train the cells, or the JOB-th of JOBS shares of them

`experiments/ablation_table.py` makes the table of what is finished.
"""

import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from destila.config import DistillSettings
from destila.config.loader import resolve
from destila.core.errors import UserError
from destila.core.records import Example
from destila.core.runs import write_json
from destila.data.sources import load_gold
from destila.data.squad import save
from destila.evaluation.predictions import answer_texts

Table = dict[str, Any]
SHAPE = "layers = 4\nheads = 4\nhidden = 96\nfeed_forward = 384"
INSIDE = {"task": 0.0, "soft": 1.0, "hidden": 1.0, "attention": 1.0, "relations": 1.0}
ANSWERS: Table = {"task": 0.2, "soft": 0.8, "hidden": 0.0, "attention": 0.0, "relations": 0.0}
ANSWERS |= {"scale": "none", "temperature": 2.0, "gold_discount": 0.5, "soft_positions": "context"}
STATES: Table = {"task": 0.2, "soft": 1.0, "hidden": 2.0, "attention": 0.0, "soft_positions": "context"}
STATES |= {"projections": "per-layer"}  # as configs/reader/inside.toml has it
ALONE: Table = {"soft": 0.0, "hidden": 0.0, "attention": 0.0}
# Every row from "born" to "vocabulary" has all that the row above it has, and what is named here.
LABELS = {
    "alone": "fine-tuned alone, without a teacher",
    "paper": "the paper's recipe",
    "born": "+ born from the teacher",
    "terms": "+ relations, attention divergence",
    "scale": "+ terms on a common scale",
    "stages": "+ stages: inside, then answers",
    "inputs": "+ more inputs, labeled by the teacher",
    "general": "+ general stage on raw text",
    "vocabulary": "+ vocabulary of the training texts",
    "labels": "born from the teacher, then fine-tuned alone",
    "answers": "born from the teacher, its answers alone",
    "states": "born from the teacher, its answers and hidden states",
    "own": "a student pre-trained itself, in its own tokens, with the teacher's answers alone",
}


ASIDE = {"labels": ALONE, "answers": STATES | {"hidden": 0.0}, "states": STATES}
CHAIN = [row for row in LABELS if row not in (*ASIDE, "own")]


@dataclass(frozen=True)
class Plan:
    """What is compared; see `experiments/ablation.sh`."""

    teacher: str
    train: list[str]
    dev: list[str]
    text: list[str] = field(default_factory=list)
    out: Path = Path("runs/ablation")
    shape: Mapping[str, int] = field(default_factory=dict)
    steps: int = 150
    seeds: tuple[int, ...] = (1, 2, 3)
    batch: int = 16
    length: int = 192
    limit: int = 1500
    learning_rate: float = 1e-3
    relation_heads: int = 8
    evaluations: int = 6
    curve: int = 1
    paragraphs: int = 1
    questions: int = 1500
    rows: tuple[str, ...] = tuple(LABELS)
    encoder: str = ""
    answerable: bool = False

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> "Plan":
        """The plan that TEACHER, TRAIN, DEV and the rest describe.

        Raises:
            UserError: SHAPE is no TOML, or CURVE no positive number.
        """
        try:
            shape = tomllib.loads(values.get("SHAPE", SHAPE))
        except tomllib.TOMLDecodeError as error:
            raise UserError("SHAPE", f"is not TOML ({error})", f"Write a setting a line, as in {SHAPE!r}.") from error
        given: Table = {name: int(values[name.upper()]) for name in NUMBERS if name.upper() in values}
        if given.get("curve", 1) < 1:
            raise UserError(
                "CURVE", f"is {given['curve']}, and curves are of every CURVE-th question", "Give 1 or more."
            )
        if "LR" in values:
            given["learning_rate"] = float(values["LR"])
        for name, kind in (("seeds", int), ("rows", str)):
            if values.get(name.upper()):
                given[name] = tuple(kind(part) for part in values[name.upper()].split())
        text = values.get("TEXT", "").split()
        return cls(
            teacher=values["TEACHER"],
            train=values["TRAIN"].split(),
            dev=values["DEV"].split(),
            text=text,
            out=Path(values.get("OUT", "runs/ablation")),
            shape=shape,
            encoder=values.get("ENCODER", ""),
            answerable=values.get("ANSWERABLE", "") not in ("", "0"),
            **given,
        )

    @property
    def cells(self) -> list[tuple[str, int]]:
        """The cells to train; rows that read raw text, or begin as an encoder, only where there is one."""
        missing = {row for row, given in (("general", self.text), ("own", self.encoder)) if not given}
        rows = [row for row in self.rows if row not in missing]
        return [(row, seed) for seed in self.seeds for row in rows]

    def examples(self) -> list[Example]:
        """The questions that are scored."""
        return [example for example in load_gold(self.dev) if example.answers or not self.answerable]

    @property
    def scored(self) -> Path:
        """The file of the questions that are scored on the way."""
        return self.out / f"curve-{self.curve}.json"

    def cell(self, row: str, seed: int) -> Path:
        """The directory of a cell."""
        return self.out / f"{row}-{seed}"


NUMBERS = ("steps", "batch", "length", "limit", "relation_heads", "evaluations", "curve", "paragraphs", "questions")


def settings_of(plan: Plan, row: str, seed: int) -> DistillSettings:
    """The settings of a cell."""
    has = {name: row in CHAIN and CHAIN.index(row) >= place for place, name in enumerate(CHAIN)}
    values: Table = {
        "output": str(plan.cell(row, seed) / "run"),
        "teacher": {"name": plan.teacher, "cache": str(plan.out / "cache")},
        "student": {"shape": dict(plan.shape)},
        "data": {
            "train": plan.train,
            "dev": [str(plan.scored)],
            "max_train_examples": plan.limit,
            "unanswerable": not plan.answerable,
        },
        "window": {"length": plan.length, "stride": plan.length // 3},
        "loss": {},
        "training": {
            "steps": plan.steps,
            "batch_size": plan.batch,
            "learning_rate": plan.learning_rate,
            "evaluate_every": max(1, plan.steps // plan.evaluations),
            "checkpoint_every": plan.steps,
            "log_every": 1,
            "keep_best": False,
            "seed": seed,
        },
        "unlabeled": {"files": plan.text, "store": str(plan.out / "text"), "workers": 0},
    }
    if row == "own":
        values["student"] = {"name": plan.encoder, "dropout": 0.0}
        values["loss"] = ANSWERS | {"temperature": 1.0, "gold_discount": 0.0, "task": 0.5, "soft": 0.5}
        values["unlabeled"]["questions"] = plan.questions if plan.text else 0
        return resolve(DistillSettings, values, where=f"row {row!r}")
    if row == "alone":
        values["loss"] = ALONE
    if row in ASIDE:
        values["loss"] = ASIDE[row]
    if has["born"] or row in ASIDE:
        values["student"]["initial"] = "teacher"
    if has["terms"]:
        values["loss"] = {"attention_error": "divergence", "projections": "per-layer", "relations": 1.0}
        values["loss"]["relation_heads"] = plan.relation_heads
    if has["scale"]:
        values["loss"]["scale"] = "start"
    if has["stages"]:
        values["stages"] = stages(plan, general=has["general"] and bool(plan.text), inputs=has["inputs"])
    if has["vocabulary"]:
        values["student"]["vocabulary"] = plan.train
    return resolve(DistillSettings, values, where=f"row {row!r}")


def stages(plan: Plan, *, general: bool, inputs: bool) -> list[Table]:
    """The stages, which share the budget of steps."""
    first = plan.steps // 4 if general else 0
    inside = (plan.steps - first) // 2
    more: Table = {"teacher": {"other_paragraphs": plan.paragraphs}} if inputs else {}
    if inputs and plan.text:
        more["unlabeled"] = {"questions": plan.questions}
    found: list[Table] = [
        {"name": "inside", "loss": INSIDE, "training": {"steps": inside}, **more},
        {"name": "answers", "loss": ANSWERS, "training": {"steps": plan.steps - first - inside}, **more},
    ]
    if general:
        alone = {"unlabeled": {"text_only": True}, "loss": {**INSIDE, "attention": 0.0}}
        found.insert(0, {"name": "general", "training": {"steps": first}, **alone})
    return found


def train(plan: Plan, job: int = 0, jobs: int = 1) -> None:
    """Train the cells that are not finished, and keep what each answers."""
    from dataclasses import replace

    from destila import distill
    from destila.core.progress import on_stderr

    examples = plan.examples()
    plan.out.mkdir(parents=True, exist_ok=True)
    save(examples[:: plan.curve], plan.scored)
    mine = plan.cells[job::jobs]
    for number, (row, seed) in enumerate(mine, start=1):
        cell = plan.cell(row, seed)
        if (cell / "predictions.json").exists():
            continue
        print(f"\n== {number} of {len(mine)}: {LABELS[row]}, seed {seed}", file=sys.stderr, flush=True)
        settings = settings_of(plan, row, seed)
        with on_stderr():
            result = distill(replace(settings, resume=any(cell.glob("run*/run.json"))))
        if not result.finished:
            sys.exit(75 if result.signal is None else 128 + result.signal)
        answer(cell / "run", examples, cell / "predictions.json", always=plan.answerable)
    if job == 0 and not (plan.out / "teacher.json").exists():
        answer(Path(plan.teacher), examples, plan.out / "teacher.json", always=plan.answerable)


def answer(model: Path, examples: Sequence[Example], path: Path, *, always: bool) -> None:
    """Store what a reader answers.

    Args:
        always: it may not say that there is no answer.
    """
    from destila.inference.reader import Reader

    reader = Reader.load(model)
    if always:
        reader.no_answer_threshold = None
    write_json(path, answer_texts(reader.predict(examples)))


if __name__ == "__main__":
    try:
        train(Plan.from_environment(os.environ), *map(int, sys.argv[1:3]))
    except UserError as error:
        sys.exit(f"ablation: {error}")
