"""Files of predictions: one JSON object {id: text}, as the official scripts of SQuAD and MLQA read them.

"" and null both mean "no answer"; we write null. This module neither makes nor scores predictions.
"""

from collections.abc import Mapping
from pathlib import Path

from destila.core.errors import UserError
from destila.core.records import Prediction
from destila.core.runs import read_json

Texts = Mapping[str, str | None]


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
