"""Divergences of attention and relations, and trust in gold: against float64 references written with plain loops."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from destila.config import LossSettings
from destila.core.errors import UserError
from destila.models.files import forward
from destila.training.distillation_loss import DistillationLoss
from destila.training.losses import attention_divergence, relation_loss, soft_loss, task_loss, trust_in_gold
from loss_case import HEADS, MASK, REAL, ROWS, TOKENS, batch, draw, gold, model, softmax

Array = NDArray[np.float64]
SIZES = ((2, 6), (4, 5))  # heads and their size, of student and teacher: 12 and 20 wide


def divergence(p: list[float], q: list[float]) -> float:
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True) if a > 0)


def maps(seed: int) -> Tensor:
    scores = 2 * draw(ROWS, HEADS, TOKENS, TOKENS, seed=seed)
    return scores.masked_fill(~MASK[:, None, None, :], -torch.inf).softmax(-1)


def attention_reference(student: Array, teacher: Array) -> float:
    total = 0.0
    for row, real in enumerate(REAL):
        for head in range(HEADS):
            for query in range(real):
                ours, theirs = student[row, head, query, :real], teacher[row, head, query, :real]
                total += divergence(list(theirs), list(ours)) / (HEADS * real)
    return total / ROWS


def relation_reference(student: Array, teacher: Array, heads: int) -> float:
    """One kind of vectors (B, H, T, d), with the heads side by side cut anew."""
    total = 0.0
    for row, real in enumerate(REAL):
        distributions = []
        for vectors in (student, teacher):
            joined = np.concatenate(list(vectors[row]), axis=1)[:real]  # (real, H d)
            width = joined.shape[1] // heads
            parts = [joined[:, part * width : (part + 1) * width] for part in range(heads)]
            distributions.append(
                [[softmax([float(x @ y) / math.sqrt(width) for y in part]) for x in part] for part in parts]
            )
        for ours, theirs in zip(*distributions, strict=True):
            for token in range(real):
                total += divergence(theirs[token], ours[token]) / (heads * real)
    return total / ROWS


def vectors(which: int, *, seed: int, garbage: float = 0.0) -> list[Tensor]:
    heads, size = SIZES[which]
    drawn = [draw(ROWS, heads, TOKENS, size, seed=seed + kind) for kind in range(3)]
    return [values.where(MASK[:, None, :, None], garbage) for values in drawn]


# ---------------------------------------------------------------------------------------------------- the terms
def test_attention_divergence() -> None:
    student, teacher = maps(1), maps(2)
    expected = attention_reference(student.numpy(), teacher.numpy())
    assert attention_divergence(student, teacher, MASK).item() == pytest.approx(expected, rel=1e-12)
    assert attention_divergence(teacher, teacher, MASK).item() == 0


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_relations_of_models_with_other_heads_and_widths(heads: int) -> None:
    student, teacher = vectors(0, seed=1), vectors(1, seed=5)
    pairs = zip(student, teacher, strict=True)
    expected = sum(relation_reference(ours.numpy(), theirs.numpy(), heads) for ours, theirs in pairs) / 3
    assert relation_loss(student, teacher, MASK, heads=heads).item() == pytest.approx(expected, rel=1e-12)
    assert relation_loss(teacher, teacher, MASK, heads=heads).item() == 0


def test_padding_does_not_matter_and_precision_is_kept() -> None:
    clean = relation_loss(vectors(0, seed=1), vectors(1, seed=5), MASK, heads=2)
    dirty = relation_loss(vectors(0, seed=1, garbage=9.0), vectors(1, seed=5, garbage=-9.0), MASK, heads=2)
    assert torch.equal(clean, dirty)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        single = relation_loss(
            [v.float() for v in vectors(0, seed=1)], [v.float() for v in vectors(1, seed=5)], MASK, heads=2
        )
        probabilities = attention_divergence(maps(1).float(), maps(2).float(), MASK)
    assert single.dtype == probabilities.dtype == torch.float32
    assert single.item() == pytest.approx(clean.item(), rel=1e-5)
    assert probabilities.item() == pytest.approx(attention_divergence(maps(1), maps(2), MASK).item(), rel=1e-5)


def test_gradients() -> None:
    student = [v.requires_grad_() for v in vectors(0, seed=1)]
    teacher = vectors(1, seed=5)
    assert torch.autograd.gradcheck(lambda *v: relation_loss(v, teacher, MASK, heads=2), tuple(student))
    scores, theirs = draw(ROWS, HEADS, TOKENS, TOKENS).requires_grad_(), maps(2)
    assert torch.autograd.gradcheck(lambda s: attention_divergence(s.softmax(-1), theirs, MASK), (scores,))


def test_trust_in_gold() -> None:
    logits, marks, doubt = 4 * draw(ROWS, TOKENS, seed=3), gold((2,), (0, 1), (1,)), 0.8
    expected = []
    for row, real in enumerate(REAL):
        beliefs = softmax([float(value) for value in logits[row, :real]])
        mass = sum(p for place, p in enumerate(beliefs) if marks[row, place])
        expected.append(1 - doubt * max(0.0, max(beliefs) - mass))
    assert trust_in_gold(logits, marks, MASK, doubt).tolist() == pytest.approx(expected, rel=1e-12)
    sure = torch.zeros(1, 5).index_fill(1, torch.tensor([3]), 50.0)
    wrong, right = torch.arange(5)[None] == 1, torch.arange(5)[None] == 3
    full = torch.ones(1, 5)
    assert trust_in_gold(sure, wrong, full, 0.8).item() == pytest.approx(0.2)
    assert trust_in_gold(sure, right, full, 0.8).item() == 1


# ---------------------------------------------------------------------------------------------------- the objective
OFF = {"task": 0.0, "soft": 0.0, "hidden": 0.0, "attention": 0.0}


def objective(student: object, teacher: object, **weights: object) -> DistillationLoss:
    settings = LossSettings(**{**OFF, **weights})
    return DistillationLoss(settings, teacher=teacher, student=student, mapping=(0, 2, 4), seed=3).double()


@pytest.mark.parametrize("architecture", ["roberta", "bert", "xlm-roberta", "modernbert"])
def test_vectors_are_what_attention_is_made_of(architecture: str) -> None:
    network, rows = model(architecture), batch()
    outputs = forward(network, rows.input_ids, rows.attention_mask, vector_layers=[2], attention_layers=[1])
    assert set(outputs.vectors) == {2}
    whole = forward(network, rows.input_ids, rows.attention_mask, attention_layers=[2])
    query, key, _ = outputs.vectors[2]
    for row, real in enumerate(REAL):
        ours = (query[row, :, :real] @ key[row, :, :real].transpose(1, 2) / query.shape[-1] ** 0.5).softmax(-1)
        assert torch.allclose(ours, whole.attention[2][row, :, :real, :real])


@pytest.mark.parametrize("layer", [0, 3])
def test_the_last_layer_learns_the_relations_of_the_chosen_one(layer: int) -> None:
    student, teacher, rows = model(), model(layers=4, hidden=12, heads=3, seed=2), batch()
    loss = objective(student, teacher, relations=2.0, relation_heads=4, relation_layer=layer)(student, rows)
    ours, theirs = (
        forward(network, rows.input_ids, rows.attention_mask, vector_layers=[place]).vectors[place]
        for network, place in ((student, 2), (teacher, layer or 4))
    )
    pairs = zip(ours, theirs, strict=True)
    expected = sum(relation_reference(a.detach().numpy(), b.detach().numpy(), 4) for a, b in pairs) / 3
    assert loss.parts["relations"].item() == pytest.approx(expected, rel=1e-9)
    assert loss.total.item() == pytest.approx(2 * expected, rel=1e-9)
    loss.total.backward()
    used = student.base_model.encoder.layer[1].attention.self
    assert all((linear.weight.grad != 0).any() for linear in (used.query, used.key, used.value))


def test_micro_batches_give_the_loss_of_the_batch() -> None:
    student, teacher = model(), model(layers=4, hidden=12, seed=2)
    settings = {"task": 1.0, "soft": 1.0, "attention": 1.0, "relations": 1.0, "relation_heads": 4, "gold_discount": 0.5}
    loss_fn = objective(student, teacher, **settings, attention_error="divergence", soft_positions="context")
    whole = loss_fn(student, batch())
    parts = [
        loss_fn(student, batch(rows=slice(0, 1))),
        loss_fn(student, batch(rows=slice(1, 3), tokens=TOKENS + 3)),
    ]
    assert list(whole.parts) == ["task", "soft", "attention", "relations"]
    for name, value in whole.parts.items():
        assert value.item() > 0
        assert value.item() == pytest.approx((parts[0].parts[name] + 2 * parts[1].parts[name]).item() / 3, rel=1e-12)


def test_options_reach_their_terms() -> None:
    student, teacher, rows = model(), model(layers=4, hidden=12, seed=2), batch()
    rows.context_mask[:, :3] = False
    with torch.no_grad():
        ours, theirs = (forward(network, rows.input_ids, rows.attention_mask) for network in (student, teacher))
    spans = [(o.start_logits, o.end_logits) for o in (ours, theirs)]
    where = rows.context_mask.clone()
    where[:, 0] = True
    loss = objective(student, teacher, task=1.0, soft=1.0, gold_discount=0.7, soft_positions="context")(student, rows)
    assert loss.parts["soft"].item() == pytest.approx(soft_loss(*spans[0], *spans[1], where, 1.0).item(), rel=1e-12)
    golds = (rows.start_positions, rows.end_positions)
    trust = [trust_in_gold(z, marks, MASK, 0.7) for z, marks in zip(spans[1], golds, strict=True)]
    expected = task_loss(*spans[0], *golds, MASK, trust=(trust[0], trust[1]))
    assert loss.parts["task"].item() == pytest.approx(expected.item(), rel=1e-12)
    assert expected < task_loss(*spans[0], *golds, MASK)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"relation_heads": 5}, "relation_heads is 5, which does not divide the student's width 8"),
        ({"relation_heads": 8}, "relation_heads is 8, which does not divide the teacher's width 12"),
        ({"relation_heads": 4, "relation_layer": 9}, "relation_layer is 9, and the teacher has 4"),
    ],
)
def test_relations_that_cannot_be_cut_are_refused(weights: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        objective(model(), model(layers=4, hidden=12), relations=1.0, **weights)
