"""Every setting of every command: frozen dataclasses, nothing else. The docstring under a field is its help.

A settings file is TOML with one table per nested dataclass; the command line overrides it with `--table.key value`.
`destila.resolution` turns both into these classes and reports all mistakes at once. Importing this module is cheap.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

from annotated_types import Ge, Gt, Le, Lt

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Lt(1)]
Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """A frozen dataclass that refuses unknown keys when it is resolved."""
    cls.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
    return dataclass(frozen=True)(cls)


def positional(**keywords: Any) -> Any:
    """A field that the command line takes by position."""
    return field(metadata={"positional": True}, **keywords)


def strings() -> Any:
    """A list of strings, empty unless given."""
    factory: Callable[[], list[str]] = list
    return field(default_factory=factory)


# ---------------------------------------------------------------------------------------------------- shared tables
@settings
class DataSettings:
    train: list[str] = strings()
    """Files (SQuAD JSON, JSONL, Parquet) or named sources (such as squad-es-v1.1/train) to train on."""
    dev: list[str] = strings()
    """Files or named sources to choose the best checkpoint on."""
    repair: bool = True
    """Mend answers that do not match their context, and drop those that cannot be mended; false: refuse them."""
    max_train_examples: CountOrZero = 0
    """Train on the first so many examples only; 0: on all."""
    max_dev_examples: CountOrZero = 0
    """Evaluate on the first so many examples only; 0: on all."""


@settings
class WindowSettings:
    length: Annotated[int, Ge(16)] = 384
    """Tokens of one model input, question and special tokens included."""
    stride: CountOrZero = 128
    """Tokens of context that neighbouring windows share."""
    max_answer_tokens: Count = 30
    """The longest answer that the decoder considers, in tokens."""


@settings
class ShapeSettings:
    layers: Count = 6
    """Transformer layers."""
    heads: Count = 16
    """Attention heads of a layer."""
    hidden: Count = 512
    """Width of the residual stream."""
    feed_forward: Count = 3072
    """Width of the feed-forward layer."""

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) is not a multiple of heads ({self.heads})")


@settings
class ModelSettings:
    name: str = ""
    """A local directory or a hub id; empty: a random model of the given shape."""
    revision: str | None = None
    """Commit of the hub repository; pin it."""
    shape: ShapeSettings = field(default_factory=ShapeSettings)
    """Shape of the random model when no name is given."""
    architecture: Literal["roberta", "bert", "xlm-roberta", "modernbert"] = "roberta"
    """Family of the random model."""
    tokenizer: str = ""
    """Directory of a tokenizer.json for the random model; empty: train one on the training texts."""
    vocabulary_size: Count = 8000
    """Size of the tokenizer that is trained when none is given."""
    dropout: Fraction = 0.1
    """Dropout of hidden states and attention during training."""


@settings
class TeacherSettings:
    name: str = ""
    """A local directory or a hub id of a fine-tuned reader."""
    revision: str | None = None
    """Commit of the hub repository; pin it."""


@settings
class StudentSettings:
    shape: ShapeSettings = field(default_factory=ShapeSettings)
    """Shape of the student."""
    initial: Literal["random", "layers"] = "random"
    """random: all weights random (the paper); layers: copied from the teacher's mapped layers (same width only)."""
    dropout: Fraction = 0.1
    """Dropout of hidden states and attention during training."""


@settings
class LossSettings:
    task: NonNegative = 1.0
    """Weight of the cross-entropy with the gold answers."""
    soft: NonNegative = 1.0
    """Weight of the divergence from the teacher's start and end distributions."""
    hidden: NonNegative = 1.0
    """Weight of the mean squared error of the hidden states."""
    attention: NonNegative = 1.0
    """Weight of the mean squared error of the attention matrices."""
    temperature: Positive = 1.0
    """Temperature of the soft targets."""
    layer_map: Literal["uniform", "last"] | list[int] = "uniform"
    """Teacher layer of each student layer: uniform (every L_teacher / L_student), last (the last ones), or a list."""
    projections: Literal["shared", "per-layer"] = "shared"
    """Linear maps from the student's width to the teacher's: one for all layers (the paper), or one each."""


@settings
class TrainingSettings:
    epochs: Positive = 3.0
    """Passes over the training windows; used unless `steps` is set."""
    steps: CountOrZero = 0
    """Optimizer steps; 0: follow `epochs`."""
    batch_size: Count = 32
    """Windows of one optimizer step, over all processes and micro-batches."""
    micro_batch_size: CountOrZero = 0
    """Windows of one forward pass on one process; 0: the whole share of the batch."""
    learning_rate: Positive = 3e-5
    """Peak learning rate of AdamW."""
    adam_epsilon: Positive = 1e-8
    """Epsilon of AdamW."""
    adam_beta1: Fraction = 0.9
    """First beta of AdamW."""
    adam_beta2: Fraction = 0.999
    """Second beta of AdamW."""
    weight_decay: NonNegative = 0.01
    """Weight decay of AdamW, not on biases and normalization weights."""
    warmup: Annotated[float, Ge(0), Le(1)] = 0.1
    """Share of the steps over which the learning rate rises; then it falls linearly to zero."""
    clip: NonNegative = 1.0
    """Largest norm of the gradient; 0: no clipping."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the forward pass; weights and optimizer stay in fp32."""
    evaluate_every: CountOrZero = 0
    """Steps between evaluations on dev; 0: once an epoch."""
    checkpoint_every: CountOrZero = 0
    """Steps between checkpoints; 0: once an epoch."""
    log_every: Count = 10
    """Steps between lines of metrics.jsonl."""
    keep_best: bool = True
    """Keep the weights of the best evaluation on dev; false: those of the last step."""
    seed: CountOrZero = 1
    """Seed of initial weights, order of the data and dropout."""


@settings
class TrainingCommandSettings:
    """What `finetune` and `distill` share."""

    data: DataSettings = field(default_factory=DataSettings)
    """What to train on."""
    window: WindowSettings = field(default_factory=WindowSettings)
    """How texts are cut into model inputs."""
    training: TrainingSettings = field(default_factory=TrainingSettings)
    """How to train."""
    output: str = "runs/run"
    """Directory of the run."""
    resume: bool = False
    """Continue the run in `output` from its last whole checkpoint."""
    overwrite: bool = False
    """Replace a run that is in `output` already."""


# ---------------------------------------------------------------------------------------------------- commands
@settings
class FinetuneSettings(TrainingCommandSettings):
    """Train a reader on questions: a pre-trained encoder, or a random model of a given shape."""

    model: ModelSettings = field(default_factory=ModelSettings)
    """What to start from."""


@settings
class DistillSettings(TrainingCommandSettings):
    """Distill a teacher into a student. With only `loss.task` above zero, the same student without distillation."""

    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    """Who teaches; its tokenizer is the student's too."""
    student: StudentSettings = field(default_factory=StudentSettings)
    """Who learns."""
    loss: LossSettings = field(default_factory=LossSettings)
    """What is matched, and how much each term weighs."""


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
