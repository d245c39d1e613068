"""The objective of the paper (arXiv 2312.04193), term by term, and the loss functions that the training loop calls.

Shape legend: B batch (rows), T tokens, D_s and D_t hidden sizes of student and teacher, H heads, L layers. A mask
(B, T) is true at real tokens and false at padding.

    L = w_task L_task + w_soft L_soft + w_hidden L_hidden + w_attention L_attention

Invariants: every term is a mean over the rows of a quantity of one row, itself taken over the real tokens of that row
alone. So padding changes nothing, and micro-batches weighted by their share of the rows give the gradient of the whole
batch exactly. Every term is computed in fp32 even under autocast (float64 stays float64).

This module does not step an optimizer, nor does it divide by the number of micro-batches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from destila.errors import UserError
from destila.models import forward, unwrapped
from destila.recording import at_least_fp32
from destila.settings import LossSettings

if TYPE_CHECKING:
    from destila.windows import Batch


@dataclass(frozen=True)
class TorchBatch:
    """`windows.Batch` as tensors, all (B, T).

    Attributes:
        input_ids, attention_mask: int64.
        context_mask: bool, true at tokens of the context.
        start_positions, end_positions: bool, true at every gold position; at position 0 alone where the window has no
            answer; nowhere in a row that nobody has labelled.
    """

    input_ids: Tensor
    attention_mask: Tensor
    context_mask: Tensor
    start_positions: Tensor
    end_positions: Tensor


def to_tensors(batch: "Batch", device: torch.device | str = "cpu") -> TorchBatch:
    """Move a numpy batch to a device."""
    return TorchBatch(
        input_ids=torch.from_numpy(batch.input_ids).to(device),
        attention_mask=torch.from_numpy(batch.attention_mask).to(device),
        context_mask=torch.from_numpy(batch.context_mask).to(device),
        start_positions=torch.from_numpy(batch.start_positions).to(device),
        end_positions=torch.from_numpy(batch.end_positions).to(device),
    )


@dataclass(frozen=True)
class Loss:
    """What a loss function returns.

    Attributes:
        total: scalar to call backward on.
        parts: the terms before their weights, detached scalars, by name.
    """

    total: Tensor
    parts: dict[str, Tensor]


# ---------------------------------------------------------------------------------------------------- the terms
def _log_probabilities(logits: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(logits / temperature) over the real tokens, (B, T); at padding a huge negative number.

    It is finite rather than -inf, so that 0 * (log p - log q) is 0 at padding and not NaN.
    """
    scaled = at_least_fp32(logits) / temperature
    return scaled.masked_fill(~mask, torch.finfo(scaled.dtype).min).log_softmax(dim=-1)


def task_loss(
    start_logits: Tensor, end_logits: Tensor, start_positions: Tensor, end_positions: Tensor, attention_mask: Tensor
) -> Tensor:
    """L_task: cross-entropy with the gold positions, mean of start and end.

    With gold positions G of a row: -log sum_{i in G} softmax(z)_i, which is the cross-entropy where there is one.

    Args:
        start_logits, end_logits: (B, T).
        start_positions, end_positions: (B, T) bool; a row without any is unlabelled and counts as 0.
        attention_mask: (B, T), zero or false at padding.
    """
    mask = attention_mask.bool()
    return (_gold_loss(start_logits, start_positions, mask) + _gold_loss(end_logits, end_positions, mask)) / 2


def _gold_loss(logits: Tensor, gold: Tensor, mask: Tensor) -> Tensor:
    unlabelled = ~gold.any(dim=-1)  # (B,)
    # All positions stand in as gold in unlabelled rows: logsumexp over none would make the gradient NaN.
    counted = gold | unlabelled[:, None]
    log_probabilities = _log_probabilities(logits, mask).masked_fill(~counted, -torch.inf)
    return -log_probabilities.logsumexp(dim=-1).masked_fill(unlabelled, 0).mean()


def soft_loss(
    student_start: Tensor,
    student_end: Tensor,
    teacher_start: Tensor,
    teacher_end: Tensor,
    mask: Tensor,
    temperature: float,
) -> Tensor:
    """L_soft = tau^2 [KL(softmax(z_start^T / tau) || softmax(z_start^S / tau)) + the same for the end].

    All logits and the mask are (B, T); tau is the temperature.
    """
    mask = mask.bool()
    start = _divergence(student_start, teacher_start, mask, temperature)
    return temperature**2 * (start + _divergence(student_end, teacher_end, mask, temperature))


def _divergence(student: Tensor, teacher: Tensor, mask: Tensor, temperature: float) -> Tensor:
    student = _log_probabilities(student, mask, temperature)
    teacher = _log_probabilities(teacher, mask, temperature)
    return (teacher.exp() * (teacher - student)).sum(dim=-1).mean()


def hidden_loss(
    student_hidden: Tensor, teacher_hidden: Tensor, projection: Callable[[Tensor], Tensor], mask: Tensor
) -> Tensor:
    """One term of L_hidden = sum_m MSE(H_m^S W, H_g(m)^T), over the real tokens.

    Args:
        student_hidden: (B, T, D_s).
        teacher_hidden: (B, T, D_t).
        projection: the map W from (..., D_s) to (..., D_t).
        mask: (B, T).
    """
    with torch.autocast(student_hidden.device.type, enabled=False):
        projected = projection(at_least_fp32(student_hidden))  # (B, T, D_t)
        error = (projected - at_least_fp32(teacher_hidden)).square().mean(dim=-1)  # (B, T)
        return _token_mean(error, mask).mean()


def attention_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """One term of L_attention = sum_m MSE(A_m^S, A_g(m)^T), per head, over real queries and real keys.

    Args:
        student, teacher: (B, H, T, T) attention probabilities, queries before keys.
        mask: (B, T).
    """
    with torch.autocast(student.device.type, enabled=False):
        error = (at_least_fp32(student) - at_least_fp32(teacher)).square()  # (B, H, T, T)
        # A product with the mask sums over the real keys without a second tensor of this size for the backward pass.
        keys = mask.to(error.dtype)[:, None, :, None]  # (B, 1, T, 1)
        error = torch.matmul(error, keys).squeeze(-1).mean(dim=1)  # (B, T)
        return (_token_mean(error, mask) / mask.sum(dim=-1)).mean()


def _token_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, T) values over each row's real tokens, (B,)."""
    return values.masked_fill(~mask.bool(), 0).sum(dim=-1) / mask.sum(dim=-1)


# ---------------------------------------------------------------------------------------------------- loss functions
class TaskLoss:
    """Learn from the gold answers alone: `TaskLoss()(student, batch)`."""

    def __call__(self, student: Any, batch: TorchBatch) -> Loss:
        """The cross-entropy of one batch."""
        outputs = forward(student, batch.input_ids, batch.attention_mask)
        total = task_loss(
            outputs.start_logits, outputs.end_logits, batch.start_positions, batch.end_positions, batch.attention_mask
        )
        return Loss(total, {"task": total.detach()})


class DistillationLoss(torch.nn.Module):
    """Learn from the gold answers and from a teacher: `DistillationLoss(...)(student, batch)`.

    Its parameters are the projections alone, to be trained with the student's; the teacher moves with it between
    devices but is no part of its parameters or state. A term of weight 0 is not computed, and without soft, hidden and
    attention terms the teacher does not run.
    """

    def __init__(
        self, settings: LossSettings, *, teacher: Any | None, student: Any, mapping: Sequence[int], seed: int
    ) -> None:
        """Check that the terms can be computed, and draw the projections.

        Args:
            teacher, student: models (not LoadedModel); the teacher may be None when only the task term has a weight.
            mapping: `models.layer_map(...)`, the teacher layer of each student layer.
            seed: of the projections.

        Raises:
            UserError: all weights are zero, a term needs a teacher that is missing, or attention maps of different
                numbers of heads are to be matched.
        """
        super().__init__()
        self.settings, self.mapping = settings, tuple(mapping)
        self._teacher = (teacher,)  # in a tuple: a registered module would enter parameters() and state_dict()
        self.projections = torch.nn.ModuleList()
        if not (settings.task or self.needs_teacher):
            raise UserError("loss", "all weights are 0", "Give at least one term a weight above 0.")
        if not self.needs_teacher:
            return
        if teacher is None:
            raise UserError("teacher.name", "is empty, and the loss needs a teacher", "Name one.")
        teacher.eval().requires_grad_(False)
        ours, theirs = unwrapped(student).config, teacher.config
        if settings.attention:
            _check_heads(ours.num_attention_heads, theirs.num_attention_heads)
        if settings.hidden:
            count = 1 if settings.projections == "shared" else len(self.mapping)
            self.projections = _projections(count, ours.hidden_size, theirs.hidden_size, seed)

    @property
    def needs_teacher(self) -> bool:
        """Whether a term with a weight looks at the teacher."""
        return bool(self.settings.soft or self.settings.hidden or self.settings.attention)

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
        theirs: Any = None
        if self.needs_teacher:
            with torch.no_grad():
                theirs = forward(
                    self._teacher[0],
                    *inputs,
                    hidden_layers=[self.mapping[layer] for layer in hidden],
                    attention_layers=[self.mapping[layer] for layer in attention],
                    lazy=True,
                )

        def compare(layer: int, ours: Tensor) -> Tensor:
            with torch.no_grad():
                map = theirs.attention[self.mapping[layer]].compute()
            return attention_loss(ours, map, batch.attention_mask)

        # The maps are compared where they arise: at most one of the student and one of the teacher exist at a time.
        ours = forward(student, *inputs, hidden_layers=hidden, attention_layers=attention, reduce=compare)
        terms = self._terms(ours, theirs, batch)
        total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
        return Loss(total, {name: term.detach() for name, term in terms.items()})

    def _terms(self, ours: Any, theirs: Any, batch: TorchBatch) -> dict[str, Tensor]:
        """The terms that have a weight, before it."""
        weights, mask, terms = self.settings, batch.attention_mask.bool(), {}
        spans = (ours.start_logits, ours.end_logits)
        if weights.task:
            terms["task"] = task_loss(*spans, batch.start_positions, batch.end_positions, mask)
        if weights.soft:
            terms["soft"] = soft_loss(*spans, theirs.start_logits, theirs.end_logits, mask, weights.temperature)
        if weights.hidden:
            terms["hidden"] = torch.stack(
                [
                    hidden_loss(state, theirs.hidden[self.mapping[layer]], self._projection(layer), mask)
                    for layer, state in ours.hidden.items()
                ]
            ).sum()
        if weights.attention:
            terms["attention"] = torch.stack(list(ours.attention.values())).sum()
        return terms

    def _projection(self, layer: int) -> torch.nn.Module:
        return self.projections[0 if self.settings.projections == "shared" else layer]


def _check_heads(student: int, teacher: int) -> None:
    if student != teacher:
        problem = f"is above 0, but the student has {student} heads and the teacher {teacher}"
        raise UserError("loss.attention", problem, f"Set student.shape.heads = {teacher}, or loss.attention = 0.")


def _projections(count: int, student_size: int, teacher_size: int, seed: int) -> torch.nn.ModuleList:
    """The maps W, random; between equal widths the identity, which loses nothing to begin with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [torch.nn.Linear(student_size, teacher_size, bias=False) for _ in range(count)]
    if student_size == teacher_size:
        for layer in layers:
            torch.nn.init.eye_(layer.weight)
    return torch.nn.ModuleList(layers)
