"""The objective of the paper (arXiv 2312.04193), term by term; `destila.training.distillation_loss` weighs them.

Shape legend: B batch (rows), T tokens, D_s and D_t hidden sizes of student and teacher, H heads, L layers. A mask
(B, T) is true at real tokens and false at padding.

    L = w_task L_task + w_soft L_soft + w_hidden L_hidden + w_attention L_attention

Invariants: every term is a mean over the rows of a quantity of one row, itself taken over the real tokens of that row
alone. So padding changes nothing, and micro-batches weighted by their share of the rows give the gradient of the whole
batch exactly. Every term is computed in fp32 even under autocast (float64 stays float64).

Two terms go beyond the paper and compare distributions: a row of an attention map is one, and so is a softmax of the
products of queries with queries (or keys with keys, values with values: the relations of MiniLMv2, arXiv 2012.15828, in
R relation heads of size d). A divergence between distributions is of the order of one whatever T is; a squared error of
probabilities shrinks as 1 / T^2.

This module does not step an optimizer, nor does it divide by the number of micro-batches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from destila.models.files import forward
from destila.models.forward import at_least_fp32

if TYPE_CHECKING:
    from destila.data.windows import Batch


@dataclass(frozen=True)
class TorchBatch:
    """`windows.Batch` as tensors, all (B, T).

    Attributes:
        input_ids, attention_mask: int64.
        context_mask: bool, true at tokens of the context.
        start_positions, end_positions: bool, true at every gold position; at position 0 alone where the window has no
            answer; nowhere in a row that nobody has labeled.
        teacher_start, teacher_end: logits that were computed before; None: the teacher has to run.
    """

    input_ids: Tensor
    attention_mask: Tensor
    context_mask: Tensor
    start_positions: Tensor
    end_positions: Tensor
    teacher_start: Tensor | None = None
    teacher_end: Tensor | None = None


def tensors_of(arrays: Any, device: torch.device | str) -> dict[str, Tensor]:
    """The fields of a record of numpy arrays as tensors on a device, by name."""
    found = {each.name: torch.from_numpy(getattr(arrays, each.name)) for each in fields(arrays)}
    return {name: tensor.to(device, non_blocking=True) for name, tensor in found.items()}


def to_tensors(batch: "Batch", device: torch.device | str = "cpu") -> TorchBatch:
    """Move a numpy batch to a device."""
    return TorchBatch(**tensors_of(batch, device))


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
    start_logits: Tensor,
    end_logits: Tensor,
    start_positions: Tensor,
    end_positions: Tensor,
    attention_mask: Tensor,
    *,
    trust: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """L_task: cross-entropy with the gold positions, mean of start and end.

    With gold positions G of a row: -log sum_{i in G} softmax(z)_i, which is the cross-entropy where there is one.

    Args:
        start_logits, end_logits: (B, T).
        start_positions, end_positions: (B, T) bool; a row without any is unlabeled and counts as 0.
        attention_mask: (B, T), zero or false at padding.
        trust: weights of the rows, (B,) for starts and (B,) for ends; None: all one.
    """
    mask = attention_mask.bool()
    start, end = _gold_loss(start_logits, start_positions, mask), _gold_loss(end_logits, end_positions, mask)
    if trust is not None:
        start, end = start * trust[0], end * trust[1]
    return (start.mean() + end.mean()) / 2


def trust_in_gold(logits: Tensor, gold: Tensor, mask: Tensor, discount: float) -> Tensor:
    """1 - discount (p_max - p_gold): how much the gold of each row counts, given what the teacher believes, (B,).

    Where the teacher is unsure or agrees it is about one; where it is sure of another answer, about 1 - discount.

    Args:
        logits, gold: (B, T) of the teacher, and bool.
        mask: (B, T).
        discount: in [0, 1].
    """
    beliefs = _log_probabilities(logits, mask.bool()).exp()
    mass = (beliefs * gold).sum(dim=-1)
    return 1 - discount * (beliefs.amax(dim=-1) - mass).clamp(min=0)


def _gold_loss(logits: Tensor, gold: Tensor, mask: Tensor) -> Tensor:
    """The loss of each row, (B,)."""
    unlabeled = ~gold.any(dim=-1)  # (B,)
    # All positions stand in as gold in unlabeled rows: logsumexp over none would make the gradient NaN.
    counted = gold | unlabeled[:, None]
    log_probabilities = _log_probabilities(logits, mask).masked_fill(~counted, -torch.inf)
    return -log_probabilities.logsumexp(dim=-1).masked_fill(unlabeled, 0)


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


# ---------------------------------------------------------------------------------------------------- distributions
def _token_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, T) values over each row's real tokens, (B,)."""
    return values.masked_fill(~mask.bool(), 0).sum(dim=-1) / mask.sum(dim=-1)


def attention_divergence(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """KL(A^T || A^S) of each real query's row, mean over heads and queries.

    Args:
        student, teacher: (B, H, T, T) attention probabilities, queries before keys; zero at padded keys.
        mask: (B, T).
    """
    with torch.autocast(student.device.type, enabled=False):
        theirs = at_least_fp32(teacher)
        smallest = torch.finfo(theirs.dtype).tiny
        ratio = theirs.clamp(min=smallest).log() - at_least_fp32(student).clamp(min=smallest).log()
        rows = (theirs * ratio).masked_fill(~mask.bool()[:, None, None, :], 0).sum(dim=-1)  # (B, H, T)
        return _token_mean(rows.mean(dim=1), mask).mean()


def relation_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor, *, heads: int) -> Tensor:
    """KL of the teacher's relations from the student's, mean over q-q, k-k and v-v, relation heads and real tokens.

    The heads of a model are joined and cut anew into `heads` relation heads, so that models of any numbers of heads can
    be compared.

    Args:
        student, teacher: queries, keys and values of one layer, each (B, H, T, d); H and d may differ.
        mask: (B, T).
        heads: R; it divides H d of both.
    """
    with torch.autocast(mask.device.type, enabled=False):
        terms = []
        for ours, theirs in zip(student, teacher, strict=True):
            log_student, log_teacher = (_log_relations(vectors, mask, heads) for vectors in (ours, theirs))
            rows = (log_teacher.exp() * (log_teacher - log_student)).sum(dim=-1)  # (B, R, T)
            terms.append(_token_mean(rows.mean(dim=1), mask).mean())
        return torch.stack(terms).mean()


def _log_relations(vectors: Tensor, mask: Tensor, heads: int) -> Tensor:
    """log softmax(x x^T / sqrt(D / R)) over the real tokens, (B, R, T, T); at padding a huge negative number."""
    joined = at_least_fp32(vectors).transpose(1, 2).flatten(2)  # (B, T, D)
    parts = joined.unflatten(2, (heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call]  # (B, R, T, D / R)
    scores = torch.matmul(parts * parts.shape[-1] ** -0.5, parts.transpose(2, 3))
    return scores.masked_fill(~mask.bool()[:, None, None, :], torch.finfo(scores.dtype).min).log_softmax(dim=-1)
