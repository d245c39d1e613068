"""Settings that commands share which train readers, and those of `destila finetune`."""

from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le

from destila.config.fields import (
    Count,
    CountOrZero,
    Fraction,
    NonNegative,
    Positive,
    Precision,
    Seed,
    Share,
    settings,
    strings,
)


@settings
class DataSettings:
    train: list[str] = strings()
    """Files (SQuAD JSON, JSONL, Parquet) or named sources (such as squad-es-v1.1/train) to train on."""
    dev: list[str] = strings()
    """Files or named sources to choose the best checkpoint on."""
    repair: bool = True
    """Mend training answers that do not match their context, and drop those that cannot be mended; false: refuse them.
    `dev` is always scored as it was published."""
    unanswerable: bool = True
    """Train on unanswerable questions, too; false: leave them out, and the reader always answers."""
    negatives: Share = 1.0
    """Share of the windows without their question's answer that are trained on; few teach "no answer" worse."""
    max_train_examples: CountOrZero = 0
    """Train on the first so many examples only; 0: on all."""
    max_dev_examples: CountOrZero = 0
    """Evaluate on the first so many examples only; 0: on all."""
    weights: dict[str, NonNegative] = field(default_factory=dict)
    """How often an epoch sees the questions of a file, by its name or stem; 0.5: half of them, drawn anew each epoch;
    1 unless given."""
    languages: dict[str, str] = field(default_factory=dict)
    """Language of a file, by its name or stem, for the record; else what "language" in the head of SQuAD JSON says."""
    other_paragraphs: NonNegative = 0.0
    """Questions labeled "no answer" for each answered one: set before another paragraph in which none of its answers
    occurs, of the same article if there is one; 0.5: for half of them."""
    crop: CountOrZero = 0
    """Cut training contexts that are longer than so many characters, at sentences around the answer; 0: never."""

    def __post_init__(self) -> None:
        if self.other_paragraphs and not self.unanswerable:
            raise ValueError("other_paragraphs makes unanswerable questions, and unanswerable leaves them out")


@settings
class WindowSettings:
    length: Annotated[int, Ge(16)] = 384
    """Tokens of one model input, question and special tokens included."""
    stride: CountOrZero = 128
    """Tokens of context that neighboring windows share."""
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
    """Shape of the random model when no name is given, or of what the named one is grown to."""
    grow: bool = False
    """Make the named model as large as `shape` before the first step; it begins with what it has learned."""
    architecture: Literal["roberta", "bert", "xlm-roberta", "modernbert"] = "roberta"
    """Family of the random model."""
    tokenizer: str = ""
    """Directory of a tokenizer.json for the random model; empty: train one on the training texts."""
    vocabulary_size: Count = 8000
    """Size of the tokenizer that is trained when none is given."""
    dropout: Fraction = 0.1
    """Dropout of hidden states and attention during training."""

    def __post_init__(self) -> None:
        if self.grow and not self.name:
            raise ValueError("grow is set and name is empty: there is nothing to grow")


@settings
class TrainingSettings:
    epochs: Positive = 3.0
    """Passes over the training windows; used unless `steps` is set."""
    steps: CountOrZero = 0
    """Optimizer steps; 0: follow `epochs`."""
    seconds: NonNegative = 0.0
    """Seconds of training, over all calls, instead of `epochs` and `steps`: the learning rate follows; 0: none."""
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
    precision: Precision = "fp32"
    """Arithmetic of the forward pass; weights and optimizer stay in fp32."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: the GPU if there is one; cpu: never a GPU."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the forward and backward pass; auto: where it pays, that is, on a GPU with rows of one length."""
    evaluate_every: CountOrZero = 0
    """Steps between evaluations on dev; 0: once an epoch."""
    checkpoint_every: CountOrZero = 0
    """Steps between checkpoints; 0: once an epoch."""
    log_every: Count = 10
    """Steps between lines of metrics.jsonl."""
    keep_best: bool = True
    """Keep the weights of the best evaluation on dev; false: those of the last step."""
    seed: Seed = 1
    """Seed of initial weights, order of the data and dropout."""


def _no_trackers() -> list[Literal["mlflow", "wandb", "trackio"]]:
    """None but what is always there."""
    return []


@settings
class RunSettings:
    """What every command that trains shares."""

    training: TrainingSettings = field(default_factory=TrainingSettings)
    """How to train."""
    output: str = "runs/run"
    """Directory of the run."""
    resume: bool | str = False
    """Continue the run in `output` from its last whole checkpoint; with the directory of a run: that one, under its own
    settings."""
    overwrite: bool = False
    """Replace a run that is in `output` already."""
    stop_after_seconds: NonNegative = 0.0
    """End this call after so many seconds, everything saved, with exit code 75; 0: never. The next one resumes."""
    trackers: list[Literal["mlflow", "wandb", "trackio"]] = field(default_factory=_no_trackers)
    """Where to show numbers besides metrics.jsonl and TensorBoard; each needs its extra, such as destila[mlflow]."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""


# How a run is called rather than what it is: a run may be resumed with others.
CALL_SETTINGS = ("output", "resume", "overwrite", "stop_after_seconds", "trackers", "json")


@settings
class StageSettings:
    """One of several trainings in a row. Its tables hold what differs from those of the whole file."""

    name: str
    """Name of the stage; it trains in `output`-name, but for the last, which trains in `output`."""
    data: dict[str, Any] = field(default_factory=dict)
    """What differs in [data]."""
    training: dict[str, Any] = field(default_factory=dict)
    """What differs in [training]."""


@settings
class TrainingCommandSettings(RunSettings):
    """What `finetune` and `distill` share."""

    data: DataSettings = field(default_factory=DataSettings)
    """What to train on."""
    window: WindowSettings = field(default_factory=WindowSettings)
    """How texts are cut into model inputs."""


@settings
class FinetuneSettings(TrainingCommandSettings):
    """Train a reader on questions: a pre-trained encoder, or a random model of a given shape."""

    OFTEN: ClassVar[tuple[str, ...]] = (
        "model.name",
        "data.train",
        "data.dev",
        "window.length",
        "training.epochs",
        "training.learning_rate",
        "training.batch_size",
        "training.precision",
        "training.seed",
        "output",
    )

    model: ModelSettings = field(default_factory=ModelSettings)
    """What to start from."""
    stages: list[StageSettings] = field(default_factory=list)
    """Trainings in a row, each of the reader that the one before left; in a file, as [[stages]]. Empty: one."""
