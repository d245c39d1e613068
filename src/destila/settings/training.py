"""Settings of the commands that train."""

from dataclasses import field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from destila.settings.types import Count, CountOrZero, Fraction, NonNegative, Positive, settings, strings


@settings
class DataSettings:
    train: list[str] = strings()
    """Files (SQuAD JSON, JSONL, Parquet) or named sources (such as squad-es-v1.1/train) to train on."""
    dev: list[str] = strings()
    """Files or named sources to choose the best checkpoint on."""
    repair: bool = True
    """Mend answers that do not match their context, and drop those that cannot be mended; false: refuse them."""
    unanswerable: bool = True
    """Train on unanswerable questions, too; false: leave them out, and the reader always answers."""
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
    others: list[str] = strings()
    """More readers of the same tokenizer, such as other seeds; what all say is averaged. For losses of logits alone."""
    other_paragraphs: CountOrZero = 0
    """So many other paragraphs that each training question is read in, too, labelled by the teacher alone."""
    cache: str = "runs/cache"
    """Directory for what is computed once from a teacher, and used again by other runs."""


@settings
class StudentSettings:
    name: str = ""
    """A student to go on with, such as an earlier run's; empty: a new one of the given shape."""
    shape: ShapeSettings = field(default_factory=ShapeSettings)
    """Shape of the student."""
    initial: Literal["random", "layers", "teacher"] = "random"
    """random: all weights random (the paper); layers: the mapped layers of a teacher of the same width, as they are;
    teacher: the mapped layers, pruned to the student's shape by what matters over real windows."""
    vocabulary: list[str] = strings()
    """Files or named sources whose texts, with those of the training data, say which of the teacher's tokens the
    student keeps; empty: it keeps all."""
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
    """Weight of the error of the attention matrices."""
    relations: NonNegative = 0.0
    """Weight of the divergence of query-query, key-key and value-value relations (MiniLMv2) in the last layer."""
    temperature: Positive = 1.0
    """Temperature of the soft targets."""
    soft_positions: Literal["all", "context"] = "all"
    """Where the soft targets are compared: at all real tokens, or at the context and position 0 alone."""
    doubt: Annotated[float, Ge(0), Le(1)] = 0.0
    """How much less a gold answer counts where the teacher is sure of another: the share of its weight that goes."""
    attention_error: Literal["squares", "divergence"] = "squares"
    """How attention matrices are compared: mean squared error (the paper), or KL divergence of each row."""
    relation_heads: Count = 32
    """Heads that queries, keys and values are cut into for the relations; divides the width of teacher and student."""
    relation_layer: CountOrZero = 0
    """Teacher layer whose relations the student's last layer learns; 0: the last. Large teachers: 3/4 up."""
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
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
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
    seed: CountOrZero = 1
    """Seed of initial weights, order of the data and dropout."""


@settings
class RunSettings:
    """What every command that trains shares."""

    training: TrainingSettings = field(default_factory=TrainingSettings)
    """How to train."""
    output: str = "runs/run"
    """Directory of the run."""
    resume: bool = False
    """Continue the run in `output` from its last whole checkpoint."""
    overwrite: bool = False
    """Replace a run that is in `output` already."""
    stop_after_seconds: NonNegative = 0.0
    """End this call after so many seconds, everything saved, with exit code 75; 0: never. The next one resumes."""


# How a run is called rather than what it is: a run may be resumed with others.
CALL_SETTINGS = ("output", "resume", "overwrite", "stop_after_seconds")


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

    model: ModelSettings = field(default_factory=ModelSettings)
    """What to start from."""


@settings
class StageSettings:
    """One of several trainings in a row. Its tables hold what differs from those of the whole file."""

    name: str
    """Name of the stage; it trains in `output`-name, but for the last, which trains in `output`."""
    data: dict[str, Any] = field(default_factory=dict)
    """What differs in [data]."""
    loss: dict[str, Any] = field(default_factory=dict)
    """What differs in [loss]."""
    training: dict[str, Any] = field(default_factory=dict)
    """What differs in [training]."""


@settings
class DistillSettings(TrainingCommandSettings):
    """Distill a teacher into a student. With only `loss.task` above zero, the same student without distillation."""

    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    """Who teaches; its tokenizer is the student's too."""
    student: StudentSettings = field(default_factory=StudentSettings)
    """Who learns."""
    loss: LossSettings = field(default_factory=LossSettings)
    """What is matched, and how much each term weighs."""
    stages: list[StageSettings] = field(default_factory=list)
    """Trainings in a row, each of the student that the one before left; in a file, as [[stages]]. Empty: one."""
