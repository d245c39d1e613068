"""Everything that a report says, as numbers: plain frozen records, filled by `destila.reporting.collect`.

Invariant: F1 and exact match are in percent, as in `records.Report`; shares and probabilities are in [0, 1]; times are
in seconds unless named otherwise. What could not be had is a `Missing` that says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from destila.core.records import Missing, Report
from destila.data.licences import DataSet
from destila.evaluation.breakdowns import Group
from destila.evaluation.calibration import NoAnswerCurve, Reliability
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
    """One reader.

    Attributes:
        label: short and unique in the report; `name`: the directory or hub id.
        parameters: weights of the network; `bytes`: of the files that it needs; None where unknown.
        threshold: on the no-answer score; None: it always answers.
        reports: one by each normalizer, that of the whole report first.
        groups: scores by kind of question.
        speed: one for each length; empty where nobody measured.
        predictions: file of its raw predictions, beside the page.
        origin: where it comes from.
    """

    label: str
    name: str
    backend: str
    precision: str
    parameters: int | None
    bytes: int | None
    threshold: float | None
    window: Mapping[str, int]
    reports: tuple[Report, ...]
    groups: tuple[Group, ...]
    reliability: Reliability
    no_answer: NoAnswerCurve | Missing
    speed: tuple[Speed, ...]
    predictions: str
    origin: Provenance


@dataclass(frozen=True, slots=True)
class Curve:
    """A number over the steps of a run.

    Attributes:
        kind: "loss" (the loss and its terms before their weights), "dev" (scores on dev) or "other".
        points: (step, value), thinned; `low`: the point of the lowest value of all; `high` likewise; `count`: of all.
    """

    name: str
    kind: str
    points: tuple[tuple[int, float], ...]
    low: tuple[int, float]
    high: tuple[int, float]
    count: int


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run among the ancestors of a model: its curves, and what it cost.

    Attributes:
        steps: optimizer steps done; None if unknown.
        energy: an estimate; None where nothing is known to estimate it from.
    """

    label: str
    origin: Provenance
    curves: tuple[Curve, ...]
    steps: int | None
    energy: Energy | None


Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class LayerAgreement:
    """How alike two models are inside, on the same text.

    Attributes:
        student, teacher: their labels.
        windows, tokens: how much was compared.
        unit: what is compared: "tokens", or "words" where the tokenizers differ; then `tokens` counts those.
        mapping: the teacher layer that each student layer 0..M learned from, or would by the uniform map.
        trained: whether `mapping` is that of the student's run.
        hidden: linear CKA of hidden states, student layers 0..M by teacher layers 0..L; 1: the same up to a rotation
            and a scale.
        attention: 1 - Jensen-Shannon divergence (in bits) of the attention, mean over heads, of each token; student
            layers 1..M by teacher layers 1..L; 1: the same.
    """

    student: str
    teacher: str
    windows: int
    tokens: int
    mapping: tuple[int, ...]
    trained: bool
    hidden: Matrix
    attention: Matrix
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
        licences: data sets behind the subject under their licence.
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
