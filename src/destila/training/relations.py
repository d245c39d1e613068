"""Terms that compare whom tokens attend to, or resemble, as distributions: beyond the paper's squared errors.

Shape legend: B batch (rows), T tokens, H heads, d head size, R relation heads. A mask (B, T) is true at real tokens.

Mental model: a row of an attention map is a distribution over tokens, and so is a softmax of the products of queries
with queries (or keys with keys, values with values: the relations of MiniLMv2, arXiv 2012.15828). A divergence between
distributions is of the order of one whatever T is; a squared error of probabilities shrinks as 1 / T^2.

Invariant, as in `destila.training.losses`: a term is a mean over rows of a quantity of one row, itself a mean over the
row's real tokens, in fp32 even under autocast.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from destila.models.forward import at_least_fp32


def token_mean(values: Tensor, mask: Tensor) -> Tensor:
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
        return token_mean(rows.mean(dim=1), mask).mean()


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
            terms.append(token_mean(rows.mean(dim=1), mask).mean())
        return torch.stack(terms).mean()


def _log_relations(vectors: Tensor, mask: Tensor, heads: int) -> Tensor:
    """log softmax(x x^T / sqrt(D / R)) over the real tokens, (B, R, T, T); at padding a huge negative number."""
    joined = at_least_fp32(vectors).transpose(1, 2).flatten(2)  # (B, T, D)
    parts = joined.unflatten(2, (heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call]  # (B, R, T, D / R)
    scores = torch.matmul(parts * parts.shape[-1] ** -0.5, parts.transpose(2, 3))
    return scores.masked_fill(~mask.bool()[:, None, None, :], torch.finfo(scores.dtype).min).log_softmax(dim=-1)
