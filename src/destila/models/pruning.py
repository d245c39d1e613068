"""A student born from its teacher: narrower, shallower, and computing as nearly the same as its shape allows.

Shape legend: D hidden, H heads, d = D / H, F feed-forward units, L layers; capitals of the student are primed: D', H',
d', F'.

Mental model: student block m starts as teacher block g(m), seen through a basis P (D, D') of the residual stream: one
for the whole network, because the residual stream ties all blocks together. Feed-forward units and heads are chosen per
block; inside of a head there is freedom to rotate, so its d' directions are the best of all, not the best d' axes:

- queries and keys: only q k^T matters, so the head keeps the rank-d' product nearest to it over the data;
- values: only W_o v matters, so it keeps the d' directions that carry the most of what the head writes.

The basis is D' of the channels, or the principal directions of the states. The latter carry more; but a normalization
has a gain for each channel, so it does not commute with a rotation, and the diagonal of the rotated gains stands in for
them. Which of the two errors is smaller depends on the teacher: `born_from` tries both, at the teacher's own depth.

Whatever is cut had a mean over the data; that is folded into the next bias. A normalization over fewer channels divides
by another deviation; its gain makes up for the average of it. Parts that the teacher does not have (more units, larger
heads) stay random where they read and zero where they write, so that they change nothing to begin with but can learn.

Invariant: with the teacher's own shape nothing is cut, rotated or rescaled: the student gives the teacher's logits.
"""

import copy
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from destila.core.errors import UserError
from destila.data.sources import spread
from destila.data.windows import Window
from destila.models.forward import at_least_fp32, span_logits
from destila.models.importance import Block, Importance, batches_of, blocks_of, importance_over

LOG = logging.getLogger(__name__)

Inputs = tuple[Tensor, Tensor]  # input_ids and attention_mask, (B, T)
TRIAL_WINDOWS = 64
RIDGE = 1e-6  # of the mean eigenvalue: keeps directions that never occur from being blown up


@dataclass(frozen=True)
class Basis:
    """What stays of the residual stream."""

    directions: Tensor  # (D, D') with orthonormal columns; float64, as everything here
    squares: Tensor  # (2L + 1,) mean squared length, within the basis, of what enters each normalization


def born_from(
    student: Any, teacher: Any, *, mapping: Sequence[int], windows: Sequence[Window], directory: Path
) -> None:
    """Give a student the weights that its teacher's suggest, in place, in the better of the two bases.

    Args:
        student, teacher: readers of one family and vocabulary; the student as `architectures.build_student` makes it.
        mapping: `architectures.layer_map(...)`; block m starts as the teacher's block mapping[m].
        windows: of the training data.
        directory: of the stored importance.

    Raises:
        UserError: the student is wider than its teacher, or the family cannot be pruned.
    """
    ours, theirs = student.config.hidden_size, teacher.config.hidden_size
    if ours > theirs:
        problem = f"is {ours}, and the teacher's is {theirs}: a student cannot be born wider"
        raise UserError("student.shape.hidden", problem, 'Make it narrower, or take student.initial = "random".')
    importance = importance_over(teacher, windows, directory=directory)
    basis = channel_basis(teacher, importance, count=ours, mapping=mapping)
    if ours < theirs:
        bases = {"channels": basis, "principal directions": principal_basis(importance, count=ours)}
        batches = batches_of(teacher, spread(windows, TRIAL_WINDOWS))
        errors = _width_errors(student, teacher, importance, bases, batches)
        best = min(errors, key=errors.__getitem__)
        seen = " and ".join(f"{error:.3f} nats in its {name}" for name, error in errors.items())
        LOG.info(f"width alone costs {seen}: the student keeps the {best}")
        basis = bases[best]
    prune_into(student, teacher, mapping=mapping, importance=importance, basis=basis)


def _width_errors(
    student: Any, teacher: Any, importance: Importance, bases: Mapping[str, Basis], batches: Sequence[Inputs]
) -> dict[str, float]:
    """How far a student of the teacher's depth is from it in each basis: where blocks are missing, that drowns the
    difference (6.2 against 6.4 nats for a basis that trains many times faster)."""
    config = copy.deepcopy(student.config)
    config.num_hidden_layers = teacher.config.num_hidden_layers
    with torch.random.fork_rng(devices=[]):
        trial = type(student)(config).eval().to(student.device)
    errors = {}
    for name, basis in bases.items():
        prune_into(trial, teacher, mapping=range(config.num_hidden_layers + 1), importance=importance, basis=basis)
        errors[name] = _divergence(trial, teacher, batches)
    return errors


@torch.no_grad()
def _divergence(student: Any, teacher: Any, batches: Sequence[Inputs]) -> float:
    """Mean KL divergence of the student's start and end distributions from the teacher's."""
    rows, total = 0, 0.0
    for input_ids, attention_mask in batches:
        inputs = (input_ids.to(student.device), attention_mask.to(student.device))
        ours, theirs = span_logits(student, *inputs), span_logits(teacher, input_ids, attention_mask)
        theirs = (theirs[0].to(student.device), theirs[1].to(student.device))
        pairs = zip(ours, theirs, strict=True)
        total += float(sum(_kl(*pair, inputs[1]) for pair in pairs)) * len(input_ids)
        rows += len(input_ids)
    return total / rows


def _kl(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """KL divergence of the student's distribution over real tokens from the teacher's, mean of rows; all (B, T)."""
    padding = ~mask.bool()
    ours, theirs = (
        at_least_fp32(logits).masked_fill(padding, -1e30).log_softmax(dim=-1) for logits in (student, teacher)
    )
    return (theirs.exp() * (theirs - ours)).sum(dim=-1).mean()


def prune_into(student: Any, teacher: Any, *, mapping: Sequence[int], importance: Importance, basis: Basis) -> None:
    """Set all weights of a student in a given basis; only parts that the teacher does not have keep theirs."""
    ours, theirs, keep = blocks_of(student), blocks_of(teacher), basis.directions
    with torch.no_grad():
        embeddings, their_embeddings = student.base_model.embeddings, teacher.base_model.embeddings
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
            getattr(embeddings, name).weight.copy_(_exact(getattr(their_embeddings, name).weight) @ keep)
        _norm(embeddings.LayerNorm, their_embeddings.LayerNorm, importance, 0, basis)
        for block, layer in zip(ours, mapping[1:], strict=True):
            heads = student.config.num_attention_heads
            _attention(block, theirs[layer - 1], importance, layer - 1, basis, heads=heads)
            _feed_forward(block, theirs[layer - 1], importance, layer - 1, basis)
        weight, bias = _narrowed(teacher.qa_outputs, keep, importance.state_mean[-1])
        student.qa_outputs.weight.copy_(weight)
        student.qa_outputs.bias.copy_(bias)


# ---------------------------------------------------------------------------------------------------- the basis
def channel_basis(teacher: Any, importance: Importance, *, count: int, mapping: Sequence[int]) -> Basis:
    """The residual channels that matter most to what reads them, in order.

    To a linear map a channel matters by how much it moves the output: its variance times the squared length of its
    column. Every map that stays in the student has one vote, shared out over the channels.
    """
    readers = [(-1, teacher.qa_outputs)]
    for place, block in enumerate(blocks_of(teacher)):
        if place + 1 in mapping:
            readers += [(2 * place, reader) for reader in (block.query, block.key, block.value)]
            readers += [(2 * place + 1, block.up)]
    votes = torch.zeros_like(importance.state_mean[0])
    for state, reader in readers:
        carried = importance.state_variance[state] * _exact(reader.weight).square().sum(0)
        votes += carried / carried.sum()
    chosen = _most(votes, count)
    return Basis(torch.eye(len(votes), dtype=votes.dtype)[:, chosen], importance.sum_square[:, chosen].sum(1))


def principal_basis(importance: Importance, *, count: int) -> Basis:
    """The direction of the channels' mean and the principal directions of the states.

    They are reflected (Householder) so that the former comes to lie along the mean over the new channels: what the
    student's normalization takes off is then what the teacher's takes off.
    """
    even = torch.full((count,), count**-0.5, dtype=torch.float64)
    mirror = -even
    mirror[0] += 1
    reflection = torch.eye(count, dtype=torch.float64) - 2 * torch.outer(mirror, mirror) / mirror.square().sum()
    directions = importance.rotation[:, :count] @ reflection
    return Basis(directions, importance.rotated_square[:, :count].sum(1))


def _most(scores: Tensor, count: int) -> Tensor:
    """Places of the highest scores, in order; all places where there are no more than `count`."""
    return scores.topk(min(count, len(scores))).indices.sort().values


def _exact(weight: Tensor) -> Tensor:
    return weight.detach().double().cpu()


def _narrowed(reader: Any, keep: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear map of x when only keep^T x is left; the mean of the rest moves into the bias."""
    weight = _exact(reader.weight)
    return weight @ keep, _exact(reader.bias) + weight @ (mean - keep @ (keep.T @ mean))


def _norm(ours: Any, theirs: Any, importance: Importance, state: int, basis: Basis) -> None:
    """The normalization that makes a state; its gain and bias undo, on the average, what the basis changes."""
    keep, mean = basis.directions, importance.sum_mean[state]
    new_mean = keep.T @ mean
    deviation = (importance.sum_square[state].mean() - mean.mean().square()).sqrt()
    new_deviation = (basis.squares[state] / len(new_mean) - new_mean.mean().square()).sqrt()
    gain = _exact(theirs.weight)
    new_gain = keep.T.square() @ gain  # the diagonal of keep^T diag(gain) keep
    ours.weight.copy_(new_gain * (new_deviation / deviation))
    drift = keep.T @ (gain * (mean - mean.mean())) - new_gain * (new_mean - new_mean.mean())
    ours.bias.copy_(keep.T @ _exact(theirs.bias) + drift / deviation)


def _feed_forward(ours: Block, theirs: Block, importance: Importance, place: int, basis: Basis) -> None:
    """The units that move the output most, in the block's own order."""
    state = 2 * place + 1
    keep, mean = basis.directions, importance.unit_mean[place]
    up, up_bias = _narrowed(theirs.up, keep, importance.state_mean[state])
    down = keep.T @ _exact(theirs.down.weight)  # (D', F)
    units = _most(importance.unit_variance[place] * down.square().sum(0), ours.up.out_features)
    gone = torch.ones_like(mean)
    gone[units] = 0
    ours.down.weight.zero_()  # units that the teacher does not have write nothing yet
    ours.up.bias.zero_()
    ours.up.weight[: len(units)] = up[units].to(ours.up.weight)
    ours.up.bias[: len(units)] = up_bias[units].to(ours.up.bias)
    ours.down.weight[:, : len(units)] = down[:, units].to(ours.down.weight)
    ours.down.bias.copy_(keep.T @ _exact(theirs.down.bias) + down @ (gone * mean))
    _norm(ours.output_norm, theirs.output_norm, importance, state + 1, basis)


# ---------------------------------------------------------------------------------------------------- attention
def _attention(ours: Block, theirs: Block, importance: Importance, place: int, basis: Basis, *, heads: int) -> None:
    """The heads that move the output most, each in the d' directions that serve it best."""
    keep = basis.directions
    output = keep.T @ _exact(theirs.attention_output.weight)  # (D', H d)
    covariance, mean = importance.context[place], importance.context_mean[place]  # (H, d, d), (H, d)
    writers = output.reshape(-1, *mean.shape).transpose(0, 1)  # (H, D', d)
    chosen = _most(torch.einsum("hod,hde,hoe->h", writers, covariance, writers), heads)
    size = ours.query.out_features // heads  # d'
    for linear in (ours.query, ours.key, ours.value):
        linear.bias.zero_()
    ours.key.weight.zero_()
    ours.attention_output.weight.zero_()
    readers = {}
    for name in ("query", "key", "value"):
        parts = _narrowed(getattr(theirs, name), keep, importance.state_mean[2 * place])
        readers[name] = torch.cat([parts[0], parts[1][:, None]], dim=1).reshape(*mean.shape, -1)  # (H, d, D' + 1)
    written = torch.zeros_like(output[:, 0])
    for number, head in enumerate(chosen.tolist()):
        query_map, key_map = score_maps(importance.query[place, head], importance.key[place, head], size)
        value_map, writer = value_maps(covariance[head], writers[head], size)
        rescale = math.sqrt(size / mean.shape[1])  # scores are divided by the root of d' now, and no more of d
        first = number * size
        _fill(ours.query, first, rescale * query_map @ readers["query"][head])
        _fill(ours.key, first, key_map @ readers["key"][head])
        _fill(ours.value, first, value_map @ readers["value"][head])
        ours.attention_output.weight[:, first : first + writer.shape[1]] = writer.to(ours.attention_output.weight)
        written += writer @ (value_map @ mean[head])
    # What all heads wrote on the average, less what the student's still write.
    missing = torch.einsum("hod,hd->o", writers, mean) - written
    ours.attention_output.bias.copy_(keep.T @ _exact(theirs.attention_output.bias) + missing)
    _norm(ours.attention_norm, theirs.attention_norm, importance, 2 * place + 1, basis)


def _fill(linear: Any, first: int, rows: Tensor) -> None:
    """Set rows of a linear map from (N, D' + 1) weights with their biases in the last column."""
    linear.weight[first : first + len(rows)] = rows[:, :-1].to(linear.weight)
    linear.bias[first : first + len(rows)] = rows[:, -1].to(linear.bias)


def _root(covariance: Tensor) -> Tensor:
    """Some R with R R^T = covariance, but for eigenvalues near zero, which are lifted so that R has an inverse."""
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    lowest = RIDGE * eigenvalues.mean().clamp(min=torch.finfo(eigenvalues.dtype).tiny ** 0.5)
    root: Tensor = vectors * eigenvalues.clamp(min=lowest).sqrt()
    return root


def score_maps(query: Tensor, key: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Maps A, B (d', d) of queries and keys for which (A q) . (B k) is nearest to q . k over the data.

    With q = R z and k = S y of white z and y, q . k = z^T (R^T S) y: the best rank-d' product cuts the singular
    values of R^T S (Eckart and Young).

    Args:
        query, key: (d, d) second moments.
        size: d'; with d' >= d nothing is cut and the maps are the identity (d, d).
    """
    if size >= len(query):
        identity = torch.eye(len(query), dtype=query.dtype)
        return identity, identity
    roots = _root(query), _root(key)
    left, singular, right = torch.linalg.svd(roots[0].T @ roots[1])
    share = singular[:size].sqrt()
    maps = [
        torch.linalg.solve(root.T, vectors[:, :size] * share).T
        for root, vectors in zip(roots, (left, right.T), strict=True)
    ]
    return maps[0], maps[1]


def value_maps(covariance: Tensor, writer: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """A map E (d', d) of a head's values and a new writer U (D', d') for which U E v is nearest to W v over the data.

    Args:
        covariance: (d, d) of the values v that attention has averaged.
        writer: (D', d), the map W.
        size: d'; with d' >= d nothing is cut.
    """
    if size >= len(covariance):
        return torch.eye(len(covariance), dtype=covariance.dtype), writer
    directions = torch.linalg.svd(writer @ _root(covariance), full_matrices=False)[0][:, :size]  # (D', d')
    values = directions.T @ writer  # (d', d)
    lengths = values.norm(dim=1).clamp(min=torch.finfo(values.dtype).tiny)  # values keep the scale that they had
    return values / lengths[:, None], directions * lengths
