"""What each part of the recipe is worth: students of one shape and one budget of steps, each with one part more.

Every cell (a row of the table and a seed) is a plain `destila distill` in a directory of its own; one that has its
predictions is finished and is not trained again, one that was interrupted goes on. What is computed once from the
teacher is shared by all cells. `runs/ablation.sh` says what the environment variables mean, and runs this.

    python runs/ablation.py train [JOB JOBS]     train the cells, or the JOB-th of JOBS shares of them
    python runs/ablation.py gather               write ablation.md, ablation.json and ablation.svg

Scores are those of the last step, never of the best one: nothing is chosen on the questions that are scored. A row's
answers to a question are averaged over seeds before articles are resampled, so that seeds do not pass for questions.
"""

import contextlib
import json
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from destila.charts import Bar, bar_chart
from destila.metrics import Scores, score
from destila.predictions import answer_texts, read_predictions
from destila.records import Example
from destila.resolution import resolve
from destila.runs import read_json, write_json, write_text
from destila.settings import DistillSettings
from destila.sources import load_examples
from destila.squad import save
from destila.statistics import bootstrap_interval, paired_test

Table = dict[str, Any]
INSIDE = {"task": 0.0, "soft": 1.0, "hidden": 1.0, "attention": 1.0, "relations": 1.0}
ANSWERS: Table = {"task": 0.2, "soft": 0.8, "hidden": 0.0, "attention": 0.0, "relations": 0.0}
ANSWERS |= {"scale": "none", "temperature": 2.0, "doubt": 0.5, "soft_positions": "context"}
# Every row but the first two and the last has all that the row above it has, and what is named here.
LABELS = {
    "alone": "fine-tuned alone, without a teacher",
    "paper": "the paper's recipe",
    "born": "+ born from the teacher",
    "terms": "+ relations, attention divergence",
    "scale": "+ terms on a common scale",
    "stages": "+ stages: inside, then answers",
    "inputs": "+ more inputs, labelled by the teacher",
    "general": "+ general stage on raw text",
    "vocabulary": "+ vocabulary of the training texts",
    "own": "a student pre-trained itself, in its own tokens, with the teacher's answers alone",
}


@dataclass(frozen=True)
class Plan:
    """What is compared; see `runs/ablation.sh`."""

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
    paragraphs: int = 1
    questions: int = 1500
    rows: tuple[str, ...] = tuple(LABELS)
    encoder: str = ""
    answerable: bool = False

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> "Plan":
        """The plan that TEACHER, TRAIN, DEV and the rest describe."""
        shape = tomllib.loads(values.get("SHAPE", "layers = 4\nheads = 4\nhidden = 96\nfeed_forward = 384"))
        given: Table = {name: int(values[name.upper()]) for name in NUMBERS if name.upper() in values}
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
        return [example for example in load_examples(self.dev) if example.answers or not self.answerable]

    @property
    def scored(self) -> Path:
        """The file that holds the questions that are scored, where they are not all of the given ones."""
        return self.out / "answerable.json"

    def cell(self, row: str, seed: int) -> Path:
        """The directory of a cell."""
        return self.out / f"{row}-{seed}"


NUMBERS = ("steps", "batch", "length", "limit", "relation_heads", "evaluations", "paragraphs", "questions")


# ---------------------------------------------------------------------------------------------------- training
def settings_of(plan: Plan, row: str, seed: int) -> DistillSettings:
    """The settings of a cell."""
    has = {name: list(LABELS).index(row) >= place for place, name in enumerate(LABELS)}
    values: Table = {
        "output": str(plan.cell(row, seed) / "run"),
        "teacher": {"name": plan.teacher, "cache": str(plan.out / "cache")},
        "student": {"shape": dict(plan.shape)},
        "data": {
            "train": plan.train,
            "dev": [str(plan.scored)] if plan.answerable else plan.dev,
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
        "unlabelled": {"files": plan.text, "store": str(plan.out / "text"), "workers": 0},
    }
    if row == "own":
        values["student"] = {"name": plan.encoder, "dropout": 0.0}
        values["loss"] = ANSWERS | {"temperature": 1.0, "doubt": 0.0, "task": 0.5, "soft": 0.5}
        values["unlabelled"]["questions"] = plan.questions if plan.text else 0
        return resolve(DistillSettings, values, where=f"row {row!r}")
    if row == "alone":
        values["loss"] = {"soft": 0.0, "hidden": 0.0, "attention": 0.0}
    if has["born"]:
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
        more["unlabelled"] = {"questions": plan.questions}
    found: list[Table] = [
        {"name": "inside", "loss": INSIDE, "training": {"steps": inside}, **more},
        {"name": "answers", "loss": ANSWERS, "training": {"steps": plan.steps - first - inside}, **more},
    ]
    if general:
        alone = {"unlabelled": {"alone": True}, "loss": {**INSIDE, "attention": 0.0}}
        found.insert(0, {"name": "general", "training": {"steps": first}, **alone})
    return found


def train(plan: Plan, job: int = 0, jobs: int = 1) -> None:
    """Train the cells that are not finished, and keep what each answers."""
    from dataclasses import replace

    from destila.commands import distill

    examples = plan.examples()
    if plan.answerable:  # the curves are of the same questions as the scores
        plan.out.mkdir(parents=True, exist_ok=True)
        save(examples, plan.scored)
    mine = plan.cells[job::jobs]
    for number, (row, seed) in enumerate(mine, start=1):
        cell = plan.cell(row, seed)
        if (cell / "predictions.json").exists():
            continue
        print(f"\n== {number} of {len(mine)}: {LABELS[row]}, seed {seed}", file=sys.stderr, flush=True)
        settings = settings_of(plan, row, seed)
        with contextlib.redirect_stdout(sys.stderr):
            distill.run(replace(settings, resume=any(cell.glob("run*/run.json"))))
        answer(cell / "run", examples, cell / "predictions.json", always=plan.answerable)
    if job == 0 and not (plan.out / "teacher.json").exists():
        answer(Path(plan.teacher), examples, plan.out / "teacher.json", always=plan.answerable)


def answer(model: Path, examples: Sequence[Example], path: Path, *, always: bool) -> None:
    """Store what a reader answers.

    Args:
        always: it may not say that there is no answer.
    """
    from destila.reader import Reader

    reader = Reader.load(model)
    if always:
        reader.no_answer_threshold = None
    write_json(path, answer_texts(reader.predict(examples)))


# ---------------------------------------------------------------------------------------------------- gathering
def curve(cell: Path) -> list[tuple[int, float]]:
    """(steps since the first stage began, dev F1) of every evaluation of a cell."""
    points: list[tuple[int, float]] = []
    done = 0
    runs = sorted(cell.glob("run*/run.json"), key=lambda path: read_json(path)["started"])
    for path in runs:
        text = (path.parent / "metrics.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
        points += [(done + line["step"], line["dev_f1"]) for line in lines if "dev_f1" in line]
        done += lines[-1]["step"]
    return points


def seconds(cell: Path) -> float:
    """Seconds that the runs of a cell took."""
    return sum(float(read_json(path).get("seconds", 0.0)) for path in cell.glob("run*/run.json"))


def gather(plan: Plan) -> Table:
    """Compare all cells that are finished.

    Returns:
        What ablation.json holds: scores, intervals, tests against the paper's recipe and the row above, and steps.
    """
    examples = plan.examples()
    rows: list[Table] = []
    answers: dict[str, list[Scores]] = {}
    for row in LABELS:
        cells = [plan.cell(row, seed) for seed in plan.seeds]
        cells = [cell for cell in cells if (cell / "predictions.json").exists()]
        if cells:
            texts = [read_predictions(cell / "predictions.json") for cell in cells]
            answers[row] = [score(examples, each, normalizer="squad", where=row) for each in texts]
            rows.append({"row": row, "label": LABELS[row], "cells": [str(cell) for cell in cells]})
    above: Table = {}
    for line in rows:
        line |= scored(answers[line["row"]])
        if "paper" in answers and line["row"] != "paper":
            line["over_paper"] = compared(answers["paper"], answers[line["row"]])
        if above and line["row"] not in ("alone", "paper", "own"):
            line["over_row_above"] = compared(answers[above["row"]], answers[line["row"]])
        above = line
    paper = next((line for line in rows if line["row"] == "paper"), None)
    for line in rows:
        cells = [Path(cell) for cell in line.pop("cells")]
        line["seconds"] = round(mean(seconds(cell) for cell in cells), 1)
        line["curves"] = [curve(cell) for cell in cells]
        if paper:
            line["steps_to_paper"] = [reached(points, paper["f1"]) for points in line["curves"]]
    result: Table = {"steps": plan.steps, "batch": plan.batch, "seeds": list(plan.seeds), "rows": rows}
    if (plan.out / "teacher.json").exists():
        teacher = score(examples, read_predictions(plan.out / "teacher.json"), normalizer="squad", where="teacher")
        result["teacher"] = scored([teacher])
    return result


def scored(seeds: Sequence[Scores]) -> Table:
    """F1 and exact match in percent, with the interval over articles and the spread over seeds."""
    f1 = np.mean([each.f1 for each in seeds], axis=0)
    interval = bootstrap_interval(f1, seeds[0].clusters, seed=1)
    each = [100 * float(one.f1.mean()) for one in seeds]
    return {
        "f1": mean(each),
        "f1_ci": interval.scaled(100),
        "f1_seeds": each,
        "f1_spread": stdev(each) if len(each) > 1 else 0.0,
        "em": 100 * mean(float(one.em.mean()) for one in seeds),
        "questions": len(f1),
        "clusters": interval.clusters,
        "unit": interval.unit,
    }


def compared(first: Sequence[Scores], second: Sequence[Scores]) -> Table:
    """How much more F1 the second row has: the paired difference, its interval and p, over articles."""
    means = [np.mean([each.f1 for each in row], axis=0) for row in (first, second)]
    test = paired_test(means[0], means[1], first[0].clusters, seed=1)
    return {"f1": 100 * test.difference, "ci": test.interval.scaled(100), "p": test.p}


def reached(points: Sequence[tuple[int, float]], target: float) -> int | None:
    """The first evaluated step with so much F1; None if there is none."""
    return next((step for step, f1 in points if f1 >= target), None)


# ---------------------------------------------------------------------------------------------------- showing
def markdown(result: Table) -> str:
    """The table."""
    head = ["student", "F1 [95 %]", "± seeds", "EM", "kept", "over the row above", "p", "steps to the paper's F1", "s"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for line in result["rows"]:
        low, high = line["f1_ci"]
        gain = line.get("over_row_above")
        cells = [
            line["label"],
            f"{line['f1']:.1f} [{low:.1f}, {high:.1f}]",
            f"{line['f1_spread']:.1f}",
            f"{line['em']:.1f}",
            f"{100 * line['f1'] / result['teacher']['f1']:.0f} %" if result.get("teacher", {}).get("f1") else "-",
            f"{gain['f1']:+.1f} [{gain['ci'][0]:+.1f}, {gain['ci'][1]:+.1f}]" if gain else "-",
            f"{gain['p']:.3f}" if gain else "-",
            pace(line.get("steps_to_paper", []), result["steps"]),
            f"{line['seconds']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", note(result), ""])


def pace(steps: Sequence[int | None], budget: int) -> str:
    """Mean steps to the target as a share of the budget, and how many seeds got there."""
    found = [step for step in steps if step is not None]
    if not found:
        return "not reached" if steps else "-"
    missing = f", {len(found)} of {len(steps)} seeds" if len(found) < len(steps) else ""
    return f"{mean(found):.0f} ({mean(found) / budget:.2f}{missing})"


def note(result: Table) -> str:
    """What the table is made of."""
    first = result["rows"][0]
    text = (
        f"{result['steps']} steps of {result['batch']} windows for every row, {len(result['seeds'])} seeds, last step; "
        f"{first['questions']} questions, SQuAD rules; intervals and p over {first['clusters']} {first['unit']}, "
        "answers averaged over seeds. Steps to the paper's F1: the first evaluation at or above its mean final F1."
    )
    if "teacher" in result:
        text += f" Teacher: F1 {result['teacher']['f1']:.1f}, EM {result['teacher']['em']:.1f}."
    return text


def chart(result: Table) -> str:
    """The table as a picture."""
    bars = [
        Bar(line["label"], max(line["f1"], 0.1), line["f1_ci"][1], f"{line['f1']:.1f} ± {line['f1_spread']:.1f}")
        for line in result["rows"]
    ]
    title = f"F1 after {result['steps']} steps"
    return bar_chart(bars, title=title, axis="F1 (bar: mean of seeds, whisker: upper end of 95 %)", logarithmic=False)


def main(arguments: Sequence[str]) -> None:
    """Do what the first argument says."""
    plan = Plan.from_environment(os.environ)
    if arguments[:1] == ["train"]:
        train(plan, *map(int, arguments[1:3]))
        return
    result = gather(plan)
    write_json(plan.out / "ablation.json", result)
    write_text(plan.out / "ablation.md", markdown(result))
    write_text(plan.out / "ablation.svg", chart(result))
    print(markdown(result))
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1:])
