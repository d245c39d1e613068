"""Files of predictions, which this module neither makes nor scores.

- One JSON object {id: text}, as the official scripts of SQuAD and MLQA read them; "" and null both mean "no answer",
  and we write null.
- Beside a report, also NAME.jsonl: what every number of it can be computed again from.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from destila.core.errors import UserError
from destila.core.records import Answer, Prediction
from destila.core.runs import read_json, write_json, write_text
from destila.core.strict_json import dumps

Texts = Mapping[str, str | None]
LOGITS = ("no_answer_score", "best_logit", "null_logit", "spans_logit")  # the first follows from the others


def answer_texts(predictions: Mapping[str, Prediction]) -> dict[str, str | None]:
    """The text answered to each question; None for "no answer"."""
    return {name: prediction.answer.text for name, prediction in predictions.items()}


def read_predictions(path: Path) -> dict[str, str | None]:
    """Read an {id: text} file.

    Raises:
        UserError: it is missing, is not JSON, or is not an object of texts.
    """
    value = read_json(path)
    remedy = 'Write one JSON object {"id": "text", ...}; "" or null means no answer.'
    if not isinstance(value, dict):
        raise UserError(str(path), f"holds a JSON {type(value).__name__}, not an object of predictions", remedy)
    wrong = [f"{name!r}: {text!r} is not a text" for name, text in value.items() if not isinstance(text, str | None)]
    if wrong:
        raise UserError.from_problems(str(path), wrong, remedy)
    return value


def numbered(path: Path, number: int, count: int) -> Path:
    """Where the predictions of model `number` of `count` go: `path` itself for one, else NAME-2.json for NAME.json."""
    return path.with_stem(f"{path.stem}-{number}") if count > 1 else path


# ---------------------------------------------------------------------------------------------------- all that was said
def write_raw(predictions: Mapping[str, Prediction], path: Path) -> None:
    """Write a .jsonl file, one line for each question with everything that the reader said, and the {id: text} file
    beside it. What is infinite (there is no legal span) is null, because JSON has none.
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


def read_raw(path: Path) -> dict[str, Prediction]:
    """Read a .jsonl file that `write_raw` wrote: equal, and in order."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return {
        row["id"]: Prediction(
            answer=Answer(**row["answer"]),
            best=Answer(**row["best"]) if row["best"] else None,
            **{key: -math.inf if row[key] is None else row[key] for key in LOGITS if key != "no_answer_score"},
        )
        for row in rows
    }
