"""Settings of the commands that read data, score models and answer questions."""

from typing import Annotated, Literal

from annotated_types import Ge

from destila.settings.types import Count, CountOrZero, Positive, positional, settings, strings


@settings
class EvaluateSettings:
    """Score models, or a file of predictions, on a data set."""

    model: list[str] = strings()
    """Local directory or hub id; several are compared with the first. None: the reader that ships."""
    revision: str | None = None
    """Commit of the hub repository."""
    data: list[str] = strings()
    """Files or named sources to evaluate on."""
    from_predictions: str | None = None
    """Score this {id: text} file instead of a model, as the official scripts do; "" means no answer."""
    predictions: str | None = None
    """Write each model's {id: text} predictions here (with several models: NAME gets the model's number)."""
    backend: Literal["auto", "torch", "onnx", "openvino"] = "auto"
    """What runs the model."""
    repair: bool = True
    """Mend gold answers that do not match their context."""
    fit_threshold: bool = False
    """Fit the no-answer threshold on this data and write it into the model's destila.json."""
    window_length: CountOrZero = 0
    """Tokens of one model input; 0: as the model's destila.json says, else 384."""
    seed: CountOrZero = 1
    """Seed of the bootstrap."""
    resamples: Annotated[int, Ge(100)] = 2000
    """Resamples of the bootstrap."""
    json: bool = False
    """Print only the JSON object."""


@settings
class AnswerSettings:
    """Answer a question from a text, or many from a file."""

    question: str | None = positional(default=None)
    """The question."""
    context: str | None = None
    """File with the text; - reads standard input."""
    model: str | None = None
    """Local directory or hub id; none: the reader that ships."""
    revision: str | None = None
    """Commit of the hub repository."""
    backend: Literal["auto", "torch", "onnx", "openvino"] = "auto"
    """What runs the model."""
    top_k: Count = 1
    """How many answers."""
    input: str | None = None
    """JSONL file of {"question": ..., "context": ...} lines; - reads standard input."""
    output: str | None = None
    """JSONL file of answers, one line per question, in order."""
    json: bool = False
    """Print the answers as one JSON object."""


@settings
class DataCheckSettings:
    """Check data files: every answer against its context, ids, encodings; counts before and after repair."""

    files: list[str] = positional(default_factory=list)
    """SQuAD JSON, JSONL or Parquet files, or named sources."""
    json: bool = False
    """Print only the JSON object."""


@settings
class DataFetchSettings:
    """Download a named source into the cache, or say how to put the file there by hand."""

    name: str = positional()
    """squad-es-v1.1, squad-es-v2.0, xquad-es, mlqa-es or sqac; with /train, /dev or /test for one file of it."""
    cache: str | None = None
    """Directory of the cache; none: $DESTILA_CACHE, else ~/.cache/destila."""
    timeout: Positive = 30.0
    """Seconds to wait for the server."""


@settings
class DataConvertSettings:
    """Convert a data file; the output's ending gives the format: .json (SQuAD), .jsonl, .parquet."""

    source: str = positional()
    """File or named source to read."""
    target: str = positional()
    """File to write."""
    repair: bool = False
    """Mend answers that do not match their context, drop those that cannot be mended."""
    overwrite: bool = False
    """Replace the target if it exists."""
