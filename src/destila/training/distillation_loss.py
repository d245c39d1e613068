"""The loss function of `distill`: which terms are computed, of which layers, with which weights.

Mental model: one forward pass of the student and, if any term with a weight looks inside of it, one of the teacher;
each records exactly what the terms need. The teacher's logits may come with the batch
(`destila.training.teacher_cache`); then a loss of logits alone never runs the teacher. Terms may be divided by what
they were before training (`calibrate`), so that their weights compare like with like.

Invariant: as every term is a mean over rows, so is their weighted sum. This module does not step an optimizer, nor does
it divide by the number of micro-batches.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from destila.config import LossSettings
from destila.core.errors import UserError
from destila.models.files import Outputs, forward, unwrapped
from destila.models.forward import refuse_recording
from destila.training.losses import (
    Loss,
    TorchBatch,
    attention_divergence,
    attention_loss,
    hidden_loss,
    relation_loss,
    soft_loss,
    task_loss,
    trust_in_gold,
)

TERMS = ("task", "soft", "hidden", "attention", "relations")
SMALLEST = 1e-4  # a term that is less than this before training is divided by this


def looks_inside(settings: LossSettings) -> bool:
    """Whether a term looks inside of the teacher, so that it has to run."""
    return bool(settings.hidden or settings.attention or settings.relations)


def logits_alone(settings: LossSettings) -> bool:
    """Whether the teacher's logits are all that is looked at: they can be computed once and stored."""
    return not looks_inside(settings) and asks_answers(settings)


def asks_answers(settings: LossSettings) -> bool:
    """Whether a term looks at the teacher's answers."""
    return bool(settings.soft or (settings.task and settings.gold_discount))


class DistillationLoss(torch.nn.Module):
    """Learn from the gold answers and from a teacher: `DistillationLoss(...)(student, batch)`.

    Its parameters are the projections alone, to be trained with the student's; the teacher moves with it between
    devices but is no part of its parameters or state. A term of weight 0 is not computed; where no term looks at the
    teacher, or the batch brings all that they look at, the teacher does not run.
    """

    divisors: Tensor  # of the terms, in the order of TERMS

    def __init__(
        self,
        settings: LossSettings,
        *,
        teacher: Any | None,
        student: Any,
        mapping: Sequence[int],
        seed: int,
        stored: bool = False,
    ) -> None:
        """Check that the terms can be computed, and draw the projections.

        Args:
            teacher, student: models (not LoadedModel); the teacher may be None when only the task term has a weight,
                or when its logits are stored.
            mapping: `architectures.layer_map(...)`, the teacher layer of each student layer.
            seed: of the projections.
            stored: every batch brings the teacher's logits.

        Raises:
            UserError: all weights are zero, a term needs a teacher that is missing, or attention maps of different
                numbers of heads are to be matched.
        """
        super().__init__()
        self.settings, self.mapping = settings, tuple(mapping)
        self._teacher = (teacher,)  # in a tuple: a registered module would enter parameters() and state_dict()
        self.projections = torch.nn.ModuleList()
        if settings.scale != "none":  # a buffer: what the terms were before training must survive a pause
            self.register_buffer("divisors", torch.ones(len(TERMS)))
        if not (settings.task or self.needs_teacher):
            raise UserError("loss", "all weights are 0", "Give at least one term a weight above 0.")
        if not self.needs_teacher or (stored and self.needs_logits_alone):
            return
        if teacher is None:
            raise UserError("teacher.name", "is empty, and the loss needs a teacher", "Name one.")
        teacher.eval().requires_grad_(False)
        ours, theirs = unwrapped(student).config, teacher.config
        if settings.attention or settings.relations:
            for config in (ours, theirs):
                refuse_recording(config, "loss")
        if settings.attention:
            _check_heads(ours.num_attention_heads, theirs.num_attention_heads)
        if settings.relations:
            _check_relations(settings, ours.hidden_size, theirs)
        if settings.hidden:
            count = 1 if settings.projections == "shared" else len(self.mapping)
            self.projections = _projections(count, ours.hidden_size, theirs.hidden_size, seed)

    @property
    def needs_teacher(self) -> bool:
        """Whether a term with a weight looks at the teacher."""
        return self.needs_logits_alone or self.needs_inside

    @property
    def needs_inside(self) -> bool:
        """Whether a term looks inside of the teacher, so that it has to run."""
        return looks_inside(self.settings)

    @property
    def needs_logits_alone(self) -> bool:
        """Whether the teacher's logits are all that is looked at: they can be computed once and stored."""
        return logits_alone(self.settings)

    def _apply(self, function: Any, recurse: bool = True) -> "DistillationLoss":
        """Let the teacher follow `.to(device)`."""
        if self._teacher[0] is not None:
            self._teacher[0]._apply(function)
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(self, student: Any, batch: TorchBatch) -> Loss:
        """The weighted objective of one batch."""
        weights, student_layers = self.settings, range(len(self.mapping))
        hidden = tuple(student_layers) if weights.hidden else ()
        attention = tuple(student_layers)[1:] if weights.attention else ()
        inputs = (batch.input_ids, batch.attention_mask)
        theirs: Any = self._taught(batch, hidden, attention) if self.needs_teacher else None
        compared = attention_loss if weights.attention_error == "squares" else attention_divergence

        def compare(layer: int, ours: Tensor) -> Tensor:
            with torch.no_grad():
                map = theirs.attention[self.mapping[layer]].compute()
            return compared(ours, map, batch.attention_mask)

        # The maps are compared where they arise: at most one of the student and one of the teacher exist at a time.
        ours = forward(
            student,
            *inputs,
            hidden_layers=hidden,
            attention_layers=attention,
            vector_layers=student_layers[-1:] if weights.relations else (),
            reduce=compare,
        )
        terms = self._terms(ours, theirs, batch)
        scales = {name: self._scale(name) for name in terms}
        total = torch.stack([scales[name] * term for name, term in terms.items()]).sum()
        parts = {name: term.detach() for name, term in terms.items()}
        if weights.scale != "none":
            parts |= {f"weight_{name}": torch.as_tensor(scale) for name, scale in scales.items()}
        return Loss(total, parts)

    def _scale(self, name: str) -> Any:
        """What a term is multiplied with: its weight, over what it was before training if that is asked for."""
        weight = getattr(self.settings, name)
        return weight if self.settings.scale == "none" else weight / self.divisors[TERMS.index(name)]

    @torch.no_grad()
    def calibrate(self, student: Any, batches: Iterable[tuple[TorchBatch, int]]) -> None:
        """Divide each term from now on by its mean over some batches, given with their numbers of rows.

        The student is as it will be when training begins, in evaluation mode. A term that is almost nothing then is
        divided by SMALLEST.
        """
        self.divisors.fill_(1)
        sums, rows = torch.zeros_like(self.divisors), 0
        for batch, count in batches:
            parts = self(student, batch).parts
            sums += count * torch.stack([parts.get(name, torch.zeros_like(sums[0])) for name in TERMS])
            rows += count
        self.divisors.copy_((sums / rows).clamp(min=SMALLEST))

    @torch.no_grad()
    def _taught(self, batch: TorchBatch, hidden: Sequence[int], attention: Sequence[int]) -> Any:
        """What the teacher says of the batch; from the batch itself where logits are enough."""
        if batch.teacher_start is not None and not self.needs_inside:
            return Outputs(batch.teacher_start, batch.teacher_end, {}, {})  # type: ignore[arg-type]
        return forward(
            self._teacher[0],
            batch.input_ids,
            batch.attention_mask,
            hidden_layers=[self.mapping[layer] for layer in hidden],
            attention_layers=[self.mapping[layer] for layer in attention],
            vector_layers=[self._relation_layer] if self.settings.relations else (),
            lazy=True,
        )

    @property
    def _relation_layer(self) -> int:
        return self.settings.relation_layer or int(self._teacher[0].config.num_hidden_layers)  # type: ignore[union-attr]

    def _terms(self, ours: Any, theirs: Any, batch: TorchBatch) -> dict[str, Tensor]:
        """The terms that have a weight, before it."""
        weights, mask, terms = self.settings, batch.attention_mask.bool(), {}
        spans = (ours.start_logits, ours.end_logits)
        golds = (batch.start_positions, batch.end_positions)
        if weights.task:
            trust = None
            if weights.gold_discount:
                trust = (
                    trust_in_gold(theirs.start_logits, batch.start_positions, mask, weights.gold_discount),
                    trust_in_gold(theirs.end_logits, batch.end_positions, mask, weights.gold_discount),
                )
            terms["task"] = task_loss(*spans, *golds, mask, trust=trust)
        if weights.soft:
            where = mask
            if weights.soft_positions == "context":
                where = batch.context_mask.clone()
                where[:, 0] = True
            terms["soft"] = soft_loss(*spans, theirs.start_logits, theirs.end_logits, where, weights.temperature)
        if weights.hidden:
            terms["hidden"] = torch.stack(
                [
                    hidden_loss(state, theirs.hidden[self.mapping[layer]], self._projection(layer), mask)
                    for layer, state in ours.hidden.items()
                ]
            ).sum()
        if weights.attention:
            terms["attention"] = torch.stack(list(ours.attention.values())).sum()
        if weights.relations:
            vectors = ours.vectors[len(self.mapping) - 1], theirs.vectors[self._relation_layer]
            terms["relations"] = relation_loss(*vectors, mask, heads=weights.relation_heads)
        return terms

    def _projection(self, layer: int) -> torch.nn.Module:
        return self.projections[0 if self.settings.projections == "shared" else layer]


def _check_heads(student: int, teacher: int) -> None:
    if student != teacher:
        problem = f"is above 0, but the student has {student} heads and the teacher {teacher}"
        raise UserError("loss.attention", problem, f"Set student.shape.heads = {teacher}, or loss.attention = 0.")


def _check_relations(settings: LossSettings, ours: int, theirs: Any) -> None:
    """Whether both widths can be cut into the relation heads, and there is such a layer."""
    heads, layer, layers = settings.relation_heads, settings.relation_layer, theirs.num_hidden_layers
    problems = [
        f"relation_heads is {heads}, which does not divide the {who}'s width {width}"
        for who, width in (("student", ours), ("teacher", theirs.hidden_size))
        if width % heads
    ]
    if layer > layers:
        problems.append(f"relation_layer is {layer}, and the teacher has {layers}")
    if problems:
        raise UserError.from_problems("loss", problems, "Change them, or set loss.relations = 0.")


def _projections(count: int, student_size: int, teacher_size: int, seed: int) -> torch.nn.ModuleList:
    """The maps W, random; between equal widths the identity, which loses nothing to begin with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [torch.nn.Linear(student_size, teacher_size, bias=False) for _ in range(count)]
    if student_size == teacher_size:
        for layer in layers:
            torch.nn.init.eye_(layer.weight)
    return torch.nn.ModuleList(layers)
