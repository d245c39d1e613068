"""A student born from its teacher: narrower, shallower, and computing as nearly the same as its shape allows.

Shape legend: D hidden, H heads, d = D / H, F feed-forward units, L layers; capitals of the student are primed: D', H',
d', F'.

Mental model: student block m starts as teacher block g(m) with parts cut out. One choice of residual channels holds for
the whole network, because the residual stream ties all blocks together; feed-forward units and heads are chosen per
block; inside of a head there is freedom to rotate, so its d' directions are the best of all, not the best d' axes:

- queries and keys: only q k^T matters, so the head keeps the rank-d' product nearest to it over the data;
- values: only W_o v matters, so it keeps the d' directions that carry the most of what the head writes.

Whatever is cut had a mean over the data; that is folded into the next bias. A normalization over fewer channels divides
by another deviation; its gain makes up for the average of it. Parts that the teacher does not have (more units, larger
heads) stay random where they read and zero where they write, so that they change nothing to begin with but can learn.

Invariant: with the teacher's own shape nothing is cut, rotated or rescaled: the student gives the teacher's logits.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from destila.errors import UserError
from destila.importance import Block, Importance, blocks_of

RIDGE = 1e-6  # of the mean eigenvalue: keeps directions that never occur from being blown up


def prune_into(student: Any, teacher: Any, *, mapping: Sequence[int], importance: Importance) -> None:
    """Give a student the weights that its teacher's suggest, in place.

    Args:
        student, teacher: readers of one family and vocabulary; the student as `models.build_student` makes it.
        mapping: `models.layer_map(...)`; block m starts as the teacher's block mapping[m].
        importance: of the teacher.

    Raises:
        UserError: the student is wider than its teacher, or the family cannot be pruned.
    """
    ours, theirs, wide = blocks_of(student), blocks_of(teacher), teacher.config.hidden_size
    if student.config.hidden_size > wide:
        problem = f"is {student.config.hidden_size}, and the teacher's is {wide}: a student cannot be born wider"
        raise UserError("student.shape.hidden", problem, 'Make it narrower, or take student.initial = "random".')
    places = [layer - 1 for layer in mapping[1:]]
    channels = choose_channels(teacher, importance, count=student.config.hidden_size, places=places)
    with torch.no_grad():
        _embeddings(student, teacher, importance, channels)
        for block, place in zip(ours, places, strict=True):
            _attention(block, theirs[place], importance, place, channels, heads=student.config.num_attention_heads)
            _feed_forward(block, theirs[place], importance, place, channels)
        _read(student.qa_outputs, teacher.qa_outputs, channels, importance.state_mean[-1])


def choose_channels(teacher: Any, importance: Importance, *, count: int, places: Sequence[int]) -> Tensor:
    """The residual channels that matter most to what reads them, in order, (D',).

    To a linear map a channel matters by how much it moves the output: its variance times the squared length of its
    column. Every map that stays in the student has one vote, shared out over the channels.

    Args:
        places: the teacher blocks that stay, counted from 0.
    """
    readers = [(-1, teacher.qa_outputs)]
    for place, block in enumerate(blocks_of(teacher)):
        if place in places:
            readers += [(2 * place, reader) for reader in (block.query, block.key, block.value)]
            readers += [(2 * place + 1, block.up)]
    votes = torch.zeros_like(importance.state_mean[0])
    for state, reader in readers:
        carried = importance.state_variance[state] * _exact(reader.weight).square().sum(0)
        votes += carried / carried.sum()
    return _most(votes, count)


def _most(scores: Tensor, count: int) -> Tensor:
    """Places of the highest scores, in order; all places where there are no more than `count`."""
    return scores.topk(min(count, len(scores))).indices.sort().values


def _exact(weight: Tensor) -> Tensor:
    return weight.detach().double().cpu()


def _narrowed(reader: Any, kept: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear map without the inputs that are not kept, whose mean moves into the bias."""
    weight, bias = _exact(reader.weight), _exact(reader.bias)
    gone = torch.ones(weight.shape[1], dtype=torch.bool)
    gone[kept] = False
    return weight[:, kept], bias + weight[:, gone] @ mean[gone]


def _read(ours: Any, theirs: Any, channels: Tensor, mean: Tensor) -> None:
    weight, bias = _narrowed(theirs, channels, mean)
    ours.weight.copy_(weight)
    ours.bias.copy_(bias)


def _norm(ours: Any, theirs: Any, channels: Tensor, mean: Tensor, square: Tensor) -> None:
    """A normalization over fewer channels; gain and bias undo, on the average, the change of deviation and mean.

    Args:
        mean, square: (D,) moments of what enters it.
    """

    def level_and_deviation(mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
        level = mean.mean()
        return level, (square.mean() - level.square()).sqrt()

    level, deviation = level_and_deviation(mean, square)
    new_level, new_deviation = level_and_deviation(mean[channels], square[channels])
    gain = _exact(theirs.weight)[channels]
    ours.weight.copy_(gain * (new_deviation / deviation))
    ours.bias.copy_(_exact(theirs.bias)[channels] + gain * ((new_level - level) / deviation))


def _embeddings(student: Any, teacher: Any, importance: Importance, channels: Tensor) -> None:
    ours, theirs = student.base_model.embeddings, teacher.base_model.embeddings
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        getattr(ours, name).weight.copy_(_exact(getattr(theirs, name).weight)[:, channels])
    _norm(ours.LayerNorm, theirs.LayerNorm, channels, importance.sum_mean[0], importance.sum_square[0])


def _feed_forward(ours: Block, theirs: Block, importance: Importance, place: int, channels: Tensor) -> None:
    """The units that move the output most, in the block's own order."""
    state = 2 * place + 1
    up, up_bias = _narrowed(theirs.up, channels, importance.state_mean[state])
    moved = importance.unit_variance[place] * _exact(theirs.down.weight)[channels].square().sum(0)
    units = _most(moved, ours.up.out_features)
    down, down_bias = _narrowed(theirs.down, units, importance.unit_mean[place])
    ours.down.weight.zero_()  # units that the teacher does not have write nothing yet
    ours.up.bias.zero_()
    ours.up.weight[: len(units)] = up[units].to(ours.up.weight)
    ours.up.bias[: len(units)] = up_bias[units].to(ours.up.bias)
    ours.down.weight[:, : len(units)] = down[channels].to(ours.down.weight)
    ours.down.bias.copy_(down_bias[channels])
    moments = importance.sum_mean[state + 1], importance.sum_square[state + 1]
    _norm(ours.output_norm, theirs.output_norm, channels, *moments)


# ---------------------------------------------------------------------------------------------------- attention
def _attention(ours: Block, theirs: Block, importance: Importance, place: int, channels: Tensor, *, heads: int) -> None:
    """The heads that move the output most, each in the d' directions that serve it best."""
    output = _exact(theirs.attention_output.weight)[channels]  # (D', H d)
    output_bias = _exact(theirs.attention_output.bias)[channels]
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
        parts = _narrowed(getattr(theirs, name), channels, importance.state_mean[2 * place])
        readers[name] = torch.cat([parts[0], parts[1][:, None]], dim=1).reshape(*mean.shape, -1)  # (H, d, D' + 1)
    written = torch.zeros_like(output_bias)
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
    ours.attention_output.bias.copy_(output_bias + missing)
    state = 2 * place + 1
    _norm(
        ours.attention_norm, theirs.attention_norm, channels, importance.sum_mean[state], importance.sum_square[state]
    )


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
