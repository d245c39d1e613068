"""The raw predictions beside a report: what every number of it can be computed again from.

For each model two files: NAME.jsonl, one line for each question with everything that the reader said, and NAME.json,
{id: text}, which `destila evaluate --from-predictions` and the official scripts score. Invariant: what `write` writes,
`read` gives back, equal and in order; what is infinite (there is no legal span) is null, because JSON has none.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from destila.core.records import Answer, Prediction
from destila.core.runs import write_json, write_text
from destila.core.strict_json import dumps
from destila.evaluation.predictions import answer_texts

LOGITS = ("no_answer_score", "best_logit", "null_logit", "spans_logit")  # the first follows from the others


def write(predictions: Mapping[str, Prediction], path: Path) -> None:
    """Write both files.

    Args:
        path: of the .jsonl file; the other one stands beside it.
    """
    lines = [dumps(_row(name, one)) + "\n" for name, one in predictions.items()]
    write_text(path, "".join(lines))
    write_json(path.with_suffix(".json"), answer_texts(predictions))


def _row(name: str, prediction: Prediction) -> dict[str, Any]:
    logits = {name: getattr(prediction, name) for name in LOGITS}
    return {
        "id": name,
        "answer": asdict(prediction.answer),
        "best": asdict(prediction.best) if prediction.best else None,
        **{key: value if math.isfinite(value) else None for key, value in logits.items()},
    }


def read(path: Path) -> dict[str, Prediction]:
    """Read a .jsonl file that `write` wrote."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return {
        row["id"]: Prediction(
            answer=Answer(**row["answer"]),
            best=Answer(**row["best"]) if row["best"] else None,
            **{key: -math.inf if row[key] is None else row[key] for key in LOGITS if key != "no_answer_score"},
        )
        for row in rows
    }
