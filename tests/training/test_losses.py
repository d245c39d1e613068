"""Every term equals a float64 reference written with plain loops; padding and micro-batches change nothing."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from destila.config import LossSettings
from destila.core.errors import UserError
from destila.data.windows import Batch
from destila.training.distillation_loss import DistillationLoss
from destila.training.losses import (
    TaskLoss,
    attention_loss,
    hidden_loss,
    soft_loss,
    task_loss,
    to_tensors,
)
from loss_case import HEADS, MASK, REAL, ROWS, TOKENS, batch, draw, gold, model, softmax

TERMS = ("task", "soft", "hidden", "attention")
Array = NDArray[np.float64]


# ---------------------------------------------------------------------------------------------------- references


def task_reference(start: Array, end: Array, start_gold: Array, end_gold: Array) -> float:
    total = 0.0
    for row, real in enumerate(REAL):
        for logits, marks in ((start, start_gold), (end, end_gold)):
            probabilities = softmax(list(logits[row, :real]))
            chosen = sum(p for place, p in enumerate(probabilities) if marks[row, place])
            if marks[row].any():
                total += -math.log(chosen) / 2
    return total / ROWS


def soft_reference(student: list[Array], teacher: list[Array], temperature: float) -> float:
    total = 0.0
    for row, real in enumerate(REAL):
        for ours, theirs in zip(student, teacher, strict=True):
            q = softmax([value / temperature for value in ours[row, :real]])
            p = softmax([value / temperature for value in theirs[row, :real]])
            total += temperature**2 * sum(p[i] * (math.log(p[i]) - math.log(q[i])) for i in range(real))
    return total / ROWS


def hidden_reference(student: Array, teacher: Array, weight: Array) -> float:
    total = 0.0
    for row, real in enumerate(REAL):
        error = 0.0
        for token in range(real):
            for unit in range(teacher.shape[2]):
                projected = sum(student[row, token, i] * weight[unit, i] for i in range(student.shape[2]))
                error += (projected - teacher[row, token, unit]) ** 2
        total += error / (real * teacher.shape[2])
    return total / ROWS


def attention_reference(student: Array, teacher: Array) -> float:
    total = 0.0
    for row, real in enumerate(REAL):
        error = 0.0
        for head in range(HEADS):
            for query in range(real):
                for key in range(real):
                    error += (student[row, head, query, key] - teacher[row, head, query, key]) ** 2
        total += error / (HEADS * real * real)
    return total / ROWS


# ---------------------------------------------------------------------------------------------------- the terms
@pytest.mark.parametrize(
    "marks",
    [
        (gold((2,), (0,), (1,)), gold((5,), (0,), (1,))),
        (gold((1, 3), (0,), (0, 1)), gold((2, 5, 4), (0,), (1,))),
        (gold((2,), (), (1,)), gold((5,), (), (1,))),  # nobody has labelled the second row
    ],
    ids=["one gold", "several golds", "unlabelled"],
)
def test_task_loss(marks: tuple[Tensor, Tensor]) -> None:
    start, end = draw(ROWS, TOKENS, seed=1), draw(ROWS, TOKENS, seed=2)
    expected = task_reference(start.numpy(), end.numpy(), marks[0].numpy(), marks[1].numpy())
    assert task_loss(start, end, *marks, MASK.long()).item() == pytest.approx(expected, rel=1e-12)


def test_task_loss_of_one_gold_is_cross_entropy() -> None:
    start, end, full = draw(ROWS, TOKENS), draw(ROWS, TOKENS, seed=2), torch.ones(ROWS, TOKENS)
    marks = gold((2,), (0,), (1,))
    target = marks.int().argmax(1)
    expected = (torch.nn.functional.cross_entropy(start, target) + torch.nn.functional.cross_entropy(end, target)) / 2
    assert torch.allclose(task_loss(start, end, marks, marks, full), expected, rtol=1e-12)


def test_an_unlabelled_row_has_no_gradient() -> None:
    start = draw(ROWS, TOKENS).requires_grad_()
    task_loss(start, start, gold((2,), (), (1,)), gold((2,), (), (1,)), MASK).backward()
    assert (start.grad[1] == 0).all()
    assert start.grad.isfinite().all()
    assert (start.grad[0] != 0).any()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_soft_loss(temperature: float) -> None:
    logits = [5 * draw(ROWS, TOKENS, seed=seed) for seed in range(4)]
    expected = soft_reference(
        [tensor.numpy() for tensor in logits[:2]], [tensor.numpy() for tensor in logits[2:]], temperature
    )
    assert soft_loss(*logits, MASK, temperature).item() == pytest.approx(expected, rel=1e-12)
    assert soft_loss(*logits[:2], *logits[:2], MASK, temperature).item() == 0


def test_hidden_loss() -> None:
    student, teacher = draw(ROWS, TOKENS, 3), draw(ROWS, TOKENS, 5, seed=1)
    projection = torch.nn.Linear(3, 5, bias=False).double()
    expected = hidden_reference(student.numpy(), teacher.numpy(), projection.weight.detach().numpy())
    assert hidden_loss(student, teacher, projection, MASK).item() == pytest.approx(expected, rel=1e-12)
    assert hidden_loss(student, projection(student), projection, MASK).item() == 0


def test_attention_loss() -> None:
    student, teacher = (draw(ROWS, HEADS, TOKENS, TOKENS, seed=seed).softmax(-1) for seed in (1, 2))
    expected = attention_reference(student.numpy(), teacher.numpy())
    assert attention_loss(student, teacher, MASK).item() == pytest.approx(expected, rel=1e-12)
    assert attention_loss(student, student, MASK).item() == 0


def terms(dtype: torch.dtype, *, garbage: float = 0.0) -> dict[str, Tensor]:
    """Every term of the same values; `garbage` stands at the padding of all of them."""

    def tensor(*shape: int, seed: int, both: bool = False) -> Tensor:
        values = draw(*shape, seed=seed)
        if both:
            real = MASK[:, None, :, None] & MASK[:, None, None, :]
        else:
            real = MASK.reshape(ROWS, TOKENS, *[1] * (len(shape) - 2))
        return values.where(real, garbage).to(dtype)

    projection = torch.nn.Linear(3, 5, bias=False).to(torch.float64 if dtype == torch.float64 else torch.float32)
    torch.nn.init.constant_(projection.weight, 0.3)
    marks = gold((1, 3), (0,), (1,))
    logits = [tensor(ROWS, TOKENS, seed=seed) for seed in range(4)]
    maps = [tensor(ROWS, HEADS, TOKENS, TOKENS, seed=seed, both=True) for seed in (4, 5)]
    return {
        "task": task_loss(logits[0], logits[1], marks, marks, MASK),
        "soft": soft_loss(*logits, MASK, 2.0),
        "hidden": hidden_loss(tensor(ROWS, TOKENS, 3, seed=6), tensor(ROWS, TOKENS, 5, seed=7), projection, MASK),
        "attention": attention_loss(*maps, MASK),
    }


@pytest.mark.parametrize("name", TERMS)
def test_what_stands_at_padding_does_not_matter(name: str) -> None:
    assert terms(torch.float64, garbage=77.0)[name] == terms(torch.float64)[name]


@pytest.mark.parametrize("name", TERMS)
def test_terms_are_fp32_under_autocast_and_float64_stays(name: str) -> None:
    exact = terms(torch.float64)[name]
    assert exact.dtype == torch.float64
    narrow = terms(torch.bfloat16)[name]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        single = terms(torch.float32)[name]
        assert torch.equal(terms(torch.bfloat16)[name], narrow)
    assert single.dtype == narrow.dtype == torch.float32
    assert single.item() == pytest.approx(exact.item(), rel=1e-5)  # bf16 arithmetic would be 1e-2 off


@pytest.mark.parametrize("name", TERMS)
def test_gradients(name: str) -> None:
    marks, projection = gold((1, 3), (0,), (1,)), torch.nn.Linear(3, 4, bias=False).double()
    student = {
        "task": (draw(ROWS, TOKENS), draw(ROWS, TOKENS, seed=1)),
        "soft": (draw(ROWS, TOKENS), draw(ROWS, TOKENS, seed=1)),
        "hidden": (draw(ROWS, TOKENS, 3),),
        "attention": (draw(ROWS, HEADS, TOKENS, TOKENS),),
    }[name]
    function = {
        "task": lambda start, end: task_loss(start, end, marks, marks, MASK),
        "soft": lambda start, end: soft_loss(
            start, end, draw(ROWS, TOKENS, seed=2), draw(ROWS, TOKENS, seed=3), MASK, 2.0
        ),
        "hidden": lambda hidden: hidden_loss(hidden, draw(ROWS, TOKENS, 4, seed=4), projection, MASK),
        "attention": lambda maps: attention_loss(maps, draw(ROWS, HEADS, TOKENS, TOKENS, seed=5), MASK),
    }[name]
    assert torch.autograd.gradcheck(function, tuple(tensor.requires_grad_() for tensor in student))


# ---------------------------------------------------------------------------------------------------- the objective


def objective(student: object, architecture: str = "roberta", **weights: object) -> DistillationLoss:
    teacher = model(architecture, layers=4, hidden=12, seed=2)
    return DistillationLoss(
        LossSettings(**weights), teacher=teacher, student=student, mapping=(0, 2, 4), seed=3
    ).double()


def gradients(loss_fn: object, student: object) -> Tensor:
    parameters = [*student.parameters(), *(loss_fn.parameters() if isinstance(loss_fn, torch.nn.Module) else ())]
    return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])


ARCHITECTURES = ("roberta", "bert", "xlm-roberta", "modernbert")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("projections", ["shared", "per-layer"])
def test_micro_batches_weighted_by_rows_give_the_gradient_of_the_batch(architecture: str, projections: str) -> None:
    student = model(architecture)
    loss_fn = objective(student, architecture, projections=projections)
    whole = loss_fn(student, batch())
    whole.total.backward()
    expected = gradients(loss_fn, student)
    student.zero_grad()
    loss_fn.zero_grad()
    total = 0.0
    for rows, tokens in ((slice(0, 1), TOKENS), (slice(1, 3), TOKENS + 3)):  # other padding, too
        part = loss_fn(student, batch(rows=rows, tokens=tokens))
        share = len(batch(rows=rows).input_ids) / ROWS
        (part.total * share).backward()
        total += part.total.item() * share
    assert total == pytest.approx(whole.total.item(), rel=1e-12)
    assert (gradients(loss_fn, student) - expected).abs().max() <= 1e-12 * expected.abs().max()
    assert expected.abs().max() > 0.1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_objective_is_the_weighted_sum_of_its_terms(architecture: str) -> None:
    student = model(architecture)
    plain = objective(student, architecture)(student, batch())
    assert list(plain.parts) == list(TERMS)
    assert all(part.item() > 0 and not part.requires_grad for part in plain.parts.values())
    assert plain.total.item() == pytest.approx(sum(part.item() for part in plain.parts.values()), rel=1e-12)
    weights = {"task": 0.5, "soft": 2.0, "hidden": 0.0, "attention": 3.0}
    weighted = objective(student, architecture, **weights)(student, batch())
    assert list(weighted.parts) == ["task", "soft", "attention"]
    expected = sum(weights[name] * plain.parts[name].item() for name in weights)
    assert weighted.total.item() == pytest.approx(expected, rel=1e-12)


def test_the_objective_sums_the_terms_of_the_paper() -> None:
    """All layers by hand, with transformers' own eager attention and hidden states."""
    student = model()
    loss_fn, rows = objective(student), batch()
    teacher = loss_fn._teacher[0]
    recorded = []
    for network in (student, teacher):
        network.set_attn_implementation("eager")
        with torch.no_grad():
            recorded.append(
                network(rows.input_ids, rows.attention_mask, output_hidden_states=True, output_attentions=True)
            )
        network.set_attn_implementation("destila")
    ours, theirs = recorded
    weight = loss_fn.projections[0].weight.detach().numpy()
    states = zip(ours.hidden_states, theirs.hidden_states[::2], strict=True)
    maps = zip(ours.attentions, theirs.attentions[1::2], strict=True)
    spans = [[o.start_logits.numpy(), o.end_logits.numpy()] for o in recorded]
    expected = {
        "task": task_reference(*spans[0], rows.start_positions.numpy(), rows.end_positions.numpy()),
        "soft": soft_reference(*spans, 1.0),
        "hidden": sum(hidden_reference(s.numpy(), t.numpy(), weight) for s, t in states),
        "attention": sum(attention_reference(s.numpy(), t.numpy()) for s, t in maps),
    }
    parts = loss_fn(student, rows).parts
    assert {name: parts[name].item() for name in TERMS} == pytest.approx(expected, rel=1e-9)


def test_a_student_that_is_its_teacher_has_nothing_to_learn_but_the_answers() -> None:
    teacher = model()
    loss_fn = DistillationLoss(LossSettings(), teacher=teacher, student=teacher, mapping=(0, 1, 2), seed=1).double()
    parts = loss_fn(teacher, batch()).parts  # equal widths: the projection starts as the identity
    assert [parts[name].item() for name in TERMS[1:]] == pytest.approx([0, 0, 0], abs=1e-15)
    assert parts["task"] > 0


def test_the_teacher_is_neither_trained_nor_saved_but_moves_along() -> None:
    student = model()
    loss_fn = objective(student, projections="per-layer")
    teacher = loss_fn._teacher[0]
    before = [parameter.clone() for parameter in teacher.parameters()]
    assert {name for name, _ in loss_fn.named_parameters()} == {f"projections.{layer}.weight" for layer in range(3)}
    assert set(loss_fn.state_dict()) == {f"projections.{layer}.weight" for layer in range(3)}
    loss_fn.train()
    assert not teacher.training
    loss_fn(student, batch()).total.backward()
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in teacher.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, teacher.parameters(), strict=True))
    loss_fn.to("meta")
    assert next(teacher.parameters()).device.type == "meta"


def test_the_projections_depend_on_their_seed_alone() -> None:
    student = model()
    first = objective(student).projections[0].weight
    torch.rand(5)
    assert torch.equal(first, objective(student).projections[0].weight)


def test_a_soft_temperature_reaches_the_term() -> None:
    student = model()
    parts = [objective(student, temperature=t)(student, batch()).parts["soft"].item() for t in (1.0, 3.0)]
    assert parts[0] != pytest.approx(parts[1], rel=1e-3)


def test_the_task_alone_needs_no_teacher() -> None:
    student = model()
    settings = LossSettings(soft=0.0, hidden=0.0, attention=0.0)
    loss_fn = DistillationLoss(settings, teacher=None, student=student, mapping=(0, 2, 4), seed=1)
    loss = loss_fn(student, batch())
    assert list(loss.parts) == ["task"]
    assert not list(loss_fn.parameters())
    assert torch.equal(loss.total, TaskLoss()(student, batch()).total)


def test_a_teacher_without_use_does_not_run() -> None:
    student, teacher = model(), model(layers=4)
    teacher.forward = None  # calling it fails
    settings = LossSettings(soft=0.0, hidden=0.0, attention=0.0)
    loss = DistillationLoss(settings, teacher=teacher, student=student, mapping=(0, 2, 4), seed=1)(student, batch())
    assert list(loss.parts) == ["task"]


@pytest.mark.parametrize(
    ("weights", "teacher", "message"),
    [
        ({}, None, "teacher.name: is empty"),
        (
            {},
            {"heads": 4},
            "the student has 2 heads and the teacher 4. Set student.shape.heads = 4, or loss.attention = 0",
        ),
        (dict.fromkeys(TERMS, 0.0), {}, "loss: all weights are 0"),
    ],
)
def test_what_cannot_be_computed_is_refused(weights: dict[str, float], teacher: object, message: str) -> None:
    taught = None if teacher is None else model(**teacher)
    with pytest.raises(UserError, match=message):
        DistillationLoss(LossSettings(**weights), teacher=taught, student=model(), mapping=(0, 1, 2), seed=1)


def test_batches_become_tensors() -> None:
    tensors = batch()
    arrays = Batch(**{field.name: getattr(tensors, field.name).numpy() for field in dataclasses.fields(Batch)})
    again = to_tensors(arrays, "cpu")
    for field in dataclasses.fields(Batch):
        assert torch.equal(getattr(again, field.name), getattr(tensors, field.name))
