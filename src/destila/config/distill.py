"""Settings of `destila distill`: who teaches whom, what is compared, and in which stages."""

from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le

from destila.config.fields import Count, CountOrZero, Fraction, NonNegative, Positive, settings, strings
from destila.config.pretrain import ClozeSettings, weights_by_source
from destila.config.training import ShapeSettings, StageSettings, TrainingCommandSettings


@settings
class TeacherSettings:
    name: str = ""
    """A local directory or a hub id of a fine-tuned reader."""
    revision: str | None = None
    """Commit of the hub repository; pin it."""
    ensemble: list[str] = strings()
    """More readers, such as other seeds; what all say is averaged. For losses of logits alone."""
    other_paragraphs: CountOrZero = 0
    """So many other paragraphs that each training question is read in, too, labeled by the teacher alone."""
    cache: str = "runs/cache"
    """Directory for what is computed once from a teacher, and used again by other runs."""


@settings
class StudentSettings:
    name: str = ""
    """A student to go on with, such as an earlier run's; empty: a new one of the given shape."""
    tokenizer: str = ""
    """Directory of a tokenizer.json of its own for a new student; empty: the teacher's. Where the two differ, the
    teacher's answers are carried over by the characters that they cover, for losses of logits alone."""
    architecture: Literal["roberta", "bert", "xlm-roberta", "modernbert"] = "roberta"
    """Family of a new student with a tokenizer of its own; with the teacher's it is of the teacher's family."""
    shape: ShapeSettings = field(default_factory=ShapeSettings)
    """Shape of the student."""
    initial: Literal["random", "layers", "teacher"] = "random"
    """random: all weights random (the paper); layers: the mapped layers of a teacher of the same width, as they are,
    also with a tokenizer of some of its tokens (`destila trim --keep`); teacher: the mapped layers, pruned to the
    student's shape by what matters over real windows."""
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
    gold_discount: Annotated[float, Ge(0), Le(1)] = 0.0
    """How much less a gold answer counts where the teacher is sure of another: the share of its weight that goes."""
    attention_error: Literal["squares", "divergence"] = "squares"
    """How attention matrices are compared: mean squared error (the paper), or KL divergence of each row."""
    scale: Literal["none", "start"] = "none"
    """start: each term is divided by what it is on the first rows before any training, so that weights compare terms
    of about one; none: as it is (the paper)."""
    relation_heads: Count = 32
    """Heads that queries, keys and values are cut into for the relations; divides the width of teacher and student."""
    relation_layer: CountOrZero = 0
    """Teacher layer whose relations the student's last layer learns; 0: the last. Large teachers: 3/4 up."""
    layer_map: Literal["uniform", "last"] | list[int] = "uniform"
    """Teacher layer of each student layer: uniform (every L_teacher / L_student), last (the last ones), or a list."""
    projections: Literal["shared", "per-layer"] = "shared"
    """Linear maps from the student's width to the teacher's: one for all layers (the paper), or one each."""
    function: str = ""
    """A loss of your own in place of all of these, as package.module:function; it is given the student and a batch that
    brings the teachers' logits, and returns destila.training.losses.Loss."""


@settings
class UnlabeledSettings:
    """Raw text for a teacher to label. Its tokens are the student's, and must be byte-level as RoBERTa's are."""

    files: list[str] = strings()
    """Text files (.txt, .txt.xz, .txt.gz) or directories: a paragraph a line, a blank line between documents."""
    weights: dict[str, NonNegative] = field(default_factory=weights_by_source)
    """How often a token of each source is read; 1 unless given. A source is what file names begin with."""
    store: str = "runs/text"
    """Directory of the tokenized text, one subdirectory for each set of files and tokenizer."""
    workers: Annotated[int, Ge(-1)] = -1
    """Processes that tokenize and make rows ahead of training; -1: as many as the cores and the device want."""
    text_only: bool = False
    """Train on rows of this text alone, laid out as question and context, without gold answers: the general stage."""
    questions: CountOrZero = 0
    """So many questions made of this text that stand beside those of the data, labeled by the teacher alone."""
    cloze: ClozeSettings = field(default_factory=ClozeSettings)
    """How questions are made of the text; their span loss, and so its weight, plays no part here."""


@settings
class DistillStageSettings(StageSettings):
    """One of several distillations in a row."""

    teacher: dict[str, Any] = field(default_factory=dict)
    """What differs in [teacher]."""
    unlabeled: dict[str, Any] = field(default_factory=dict)
    """What differs in [unlabeled]."""
    loss: dict[str, Any] = field(default_factory=dict)
    """What differs in [loss]."""


@settings
class DistillSettings(TrainingCommandSettings):
    """Distill a teacher into a student. With only `loss.task` above zero, the same student without distillation."""

    OFTEN: ClassVar[tuple[str, ...]] = (
        "teacher.name",
        "data.train",
        "data.dev",
        "student.shape.layers",
        "student.shape.hidden",
        "student.initial",
        "training.epochs",
        "training.batch_size",
        "training.precision",
        "output",
    )

    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    """Who teaches; its tokenizer is the student's too, unless the student brings one."""
    student: StudentSettings = field(default_factory=StudentSettings)
    """Who learns."""
    unlabeled: UnlabeledSettings = field(default_factory=UnlabeledSettings)
    """Raw text beside the questions, or in their place."""
    loss: LossSettings = field(default_factory=LossSettings)
    """What is matched, and how much each term weighs."""
    stages: list[DistillStageSettings] = field(default_factory=list)
    """Trainings in a row, each of the student that the one before left; in a file, as [[stages]]. Empty: one."""
