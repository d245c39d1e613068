"""The table of the ablation: what the finished cells of `experiments/ablation.py` say, under the same environment.

    python experiments/ablation_table.py     write ablation.md, ablation.json and ablation.svg

Scores are those of the last step, never of the best one: nothing is chosen on the questions that are scored. A row's
answers to a question are averaged over seeds before articles are resampled, so that seeds do not pass for questions.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from ablation import CHAIN, LABELS, Plan

from destila.core.formatting import markdown_table, with_interval
from destila.core.runs import read_json, write_json, write_text
from destila.evaluation.bootstrap import bootstrap_interval, paired_test
from destila.evaluation.metrics import Scores, score
from destila.evaluation.predictions import read_predictions
from destila.reporting.svg import Bar, bar_chart

Table = dict[str, Any]


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
        if above and line["row"] in CHAIN[2:]:
            line["over_row_above"] = compared(answers[above["row"]], answers[line["row"]])
        above = line
    paper = next((line for line in rows if line["row"] == "paper"), None)
    for line in rows:
        cells = [Path(cell) for cell in line.pop("cells")]
        line["seconds"] = round(mean(seconds(cell) for cell in cells), 1)
        line["curves"] = [curve(cell) for cell in cells]
    if paper:  # by its curves, which may be of fewer questions than the scores
        target = mean(points[-1][1] for points in paper["curves"])
        for line in rows:
            line["steps_to_paper"] = [reached(points, target) for points in line["curves"]]
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
    rows = []
    for line in result["rows"]:
        gain = line.get("over_row_above")
        cells = [
            line["label"],
            with_interval(line["f1"], line["f1_ci"], digits=1),
            f"{line['f1_spread']:.1f}",
            f"{line['em']:.1f}",
            f"{100 * line['f1'] / result['teacher']['f1']:.0f} %" if result.get("teacher", {}).get("f1") else "-",
            with_interval(gain["f1"], gain["ci"], sign="+", digits=1) if gain else "-",
            f"{gain['p']:.3f}" if gain else "-",
            pace(line.get("steps_to_paper", []), result["steps"]),
            f"{line['seconds']:.0f}",
        ]
        rows.append(cells)
    return "\n".join([markdown_table(head, rows), "", note(result), ""])


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


def main() -> None:
    """Gather, write and print."""
    plan = Plan.from_environment(os.environ)
    result = gather(plan)
    write_json(plan.out / "ablation.json", result)
    write_text(plan.out / "ablation.md", markdown(result))
    write_text(plan.out / "ablation.svg", chart(result))
    print(markdown(result))
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
