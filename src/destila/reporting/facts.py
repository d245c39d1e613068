"""Everything that a report says, as numbers: plain frozen records, filled by `destila.reporting.collect`.

Invariant: F1 and exact match are in percent, as in `records.Report`; shares and probabilities are in [0, 1]; times are
in seconds unless named otherwise. What could not be had is a `Missing` that says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from destila.core.records import Missing, Report
from destila.data.licenses import DataSet
from destila.evaluation.breakdowns import Group
from destila.evaluation.calibration import NoAnswerCurve, Reliability, RiskCurve
from destila.evaluation.errors import Mistakes
from destila.reporting.energy import Energy
from destila.reporting.provenance import Provenance


@dataclass(frozen=True, slots=True)
class Speed:
    """Times of one model at one length, from text to answer, as `destila bench` measured them."""

    tokens: int
    p50_ms: float
    p95_ms: float
    queries_per_s: float


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One reader."""

    label: str  # short and unique in the report
    name: str  # the directory or hub id
    backend: str
    precision: str
    parameters: int | None  # weights of the network
    bytes: int | None  # of the files that it needs; None where unknown
    threshold: float | None  # on the no-answer score; None: it always answers
    window: Mapping[str, int]
    reports: tuple[Report, ...]  # one by each normalizer, that of the whole report first
    groups: tuple[Group, ...]  # scores by kind of question
    reliability: Reliability
    no_answer: NoAnswerCurve | Missing
    risk: RiskCurve | Missing
    speed: tuple[Speed, ...]  # one for each length; empty where nobody measured
    predictions: str  # file of its raw predictions, beside the page
    origin: Provenance  # where it comes from


@dataclass(frozen=True, slots=True)
class Curve:
    """A number over the steps of a run."""

    name: str
    kind: str  # "loss" (the loss and its terms before their weights), "dev" (scores on dev) or "other"
    points: tuple[tuple[int, float], ...]  # (step, value), thinned
    low: tuple[int, float]  # the point of the lowest value of all
    high: tuple[int, float]  # likewise
    count: int  # of all


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run among the ancestors of a model: its curves, and what it cost."""

    label: str
    origin: Provenance
    curves: tuple[Curve, ...]
    steps: int | None  # optimizer steps done; None if unknown
    energy: Energy | None  # an estimate; None where nothing is known to estimate it from


Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class LayerAgreement:
    """How alike two models are inside, on the same text."""

    # student, teacher: their labels
    student: str
    teacher: str
    # windows, tokens: how much was compared
    windows: int
    tokens: int
    mapping: tuple[int, ...]  # the teacher layer that each student layer 0..M learned from, or would by the uniform map
    trained: bool  # whether `mapping` is that of the student's run
    # linear CKA of hidden states, student layers 0..M by teacher layers 0..L; 1: the same up to a rotation and a scale
    hidden: Matrix
    # 1 - Jensen-Shannon divergence (in bits) of the attention, mean over heads, of each token; student layers 1..M by
    # teacher layers 1..L; 1: the same
    attention: Matrix
    # what is compared: "tokens", or "words" where the tokenizers differ; then `tokens` counts those
    unit: str = "tokens"


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the report says.

    Attributes:
        models: the reference first, if there is one; `subject`: the label of the one that the report is about.
        reference: label of the model that the others are compared with.
        directory: where the report is written.
        comparisons: of each other model with the reference, by each normalizer; see `evaluate.compare`.
        runs: of the models and their ancestors, oldest first.
        judged: what the models were judged on.
        repaired: whether gold answers were mended, so that scores are not the official ones.
        limited: whether only the first questions of the data were taken.
        licenses: data sets behind the subject under their license.
        bench: the environment of the timing; empty where nobody measured.
        environment: of the machine that judged.
    """

    title: str
    directory: str
    made: float
    version: str
    command: str
    subject: str
    reference: str | None
    models: tuple[ModelFacts, ...]
    comparisons: tuple[Mapping[str, Any], ...]
    runs: tuple[RunFacts, ...]
    agreement: LayerAgreement | Missing
    mistakes: Mistakes
    judged: tuple[DataSet, ...]
    repaired: bool
    limited: bool
    questions: Mapping[str, int]
    bench: Mapping[str, Any]
    environment: Mapping[str, Any]
    normalizer: str
    seed: int
    resamples: int

    def model(self, label: str) -> ModelFacts:
        """The model of a label."""
        return next(model for model in self.models if model.label == label)
