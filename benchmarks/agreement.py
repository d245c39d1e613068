"""On how many questions do the exports of a reader give the same answer as torch?

The first reader is the reference. For every other one: the share of questions with the same text (or with "no answer"
from both), and with the same characters; how far the best spans' scores lie apart; the first questions on which they
differ. Scores tell what a difference costs, and this tells how often there is one.

    python benchmarks/agreement.py --model STUDENT --model ONNX_FP32 --model OPENVINO_INT8 --data questions.json

The last line of stdout is one JSON object.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from destila.core.records import Example, Prediction
from destila.core.runs import environment
from destila.data.squad import read
from destila.evaluation.evaluate import table
from destila.inference.reader import Reader

SHOWN = 5

Predictions = Mapping[str, Prediction]


def agreement(reference: Predictions, found: Predictions, examples: Sequence[Example]) -> dict[str, Any]:
    """How one reader's predictions differ from another's on the same examples."""
    pairs = [(reference[example.id].answer, found[example.id].answer) for example in examples]
    differ = [
        {"id": example.id, "reference": left.text, "found": right.text}
        for example, (left, right) in zip(examples, pairs, strict=True)
        if left.text != right.text
    ]
    spans = [(left.start, left.end) == (right.start, right.end) for left, right in pairs]
    apart = [abs(left.score - right.score) for left, right in pairs]
    return {
        "n": len(pairs),
        "same_text": 1 - len(differ) / len(pairs),
        "same_span": float(np.mean(spans)),
        "score_apart_median": float(np.median(apart)),
        "score_apart_max": max(apart),
        "differ": differ,
    }


def measure(names: Sequence[str], examples: Sequence[Example], *, threads: int = 0) -> list[dict[str, Any]]:
    """One row for each reader but the first, against the first."""
    predictions = {name: Reader.load(name, threads=threads).predict(examples) for name in names}
    reference = predictions[names[0]]
    return [{"model": name, **agreement(reference, predictions[name], examples)} for name in names[1:]]


def main() -> None:
    """Ask all readers, and print a table and the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", required=True, help="a reader; the first is the reference")
    parser.add_argument("--data", required=True, help="SQuAD JSON, JSONL or Parquet; answers are not needed")
    parser.add_argument("--questions", type=int, default=0, help="the first so many; 0: all")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    examples = read(Path(arguments.data), repair=True)[0]
    examples = examples[: arguments.questions or len(examples)]
    rows = measure(arguments.model, examples, threads=arguments.threads)
    head = [
        "against " + Path(arguments.model[0]).name,
        "questions",
        "same text",
        "same span",
        "scores apart (median, most)",
    ]
    cells = [
        [
            Path(row["model"]).name,
            str(row["n"]),
            f"{row['same_text']:.2%}",
            f"{row['same_span']:.2%}",
            f"{row['score_apart_median']:.1e}, {row['score_apart_max']:.1e}",
        ]
        for row in rows
    ]
    print(f"{table(head, cells)}\n")
    for row in rows:
        for case in row["differ"][:SHOWN]:
            print(f"{Path(row['model']).name}, {case['id']}: {case['reference']!r} became {case['found']!r}")
    print(json.dumps({"reference": arguments.model[0], "rows": rows, "environment": environment()}))


if __name__ == "__main__":
    main()
