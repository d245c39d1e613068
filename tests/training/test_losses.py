"""Every term equals a float64 reference written with plain loops; padding and micro-batches change nothing."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from destila.data.windows import Batch
from destila.training.losses import (
    attention_loss,
    hidden_loss,
    soft_loss,
    task_loss,
    to_tensors,
)
from loss_case import (
    HEADS,
    MASK,
    ROWS,
    TOKENS,
    attention_reference,
    batch,
    draw,
    gold,
    hidden_reference,
    soft_reference,
    task_reference,
)

TERMS = ("task", "soft", "hidden", "attention")
Array = NDArray[np.float64]


# ---------------------------------------------------------------------------------------------------- the terms
@pytest.mark.parametrize(
    "marks",
    [
        (gold((2,), (0,), (1,)), gold((5,), (0,), (1,))),
        (gold((1, 3), (0,), (0, 1)), gold((2, 5, 4), (0,), (1,))),
        (gold((2,), (), (1,)), gold((5,), (), (1,))),  # nobody has labeled the second row
    ],
    ids=["one gold", "several golds", "unlabeled"],
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


def test_an_unlabeled_row_has_no_gradient() -> None:
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


def test_batches_become_tensors() -> None:
    tensors = batch()
    arrays = Batch(**{field.name: getattr(tensors, field.name).numpy() for field in dataclasses.fields(Batch)})
    again = to_tensors(arrays, "cpu")
    for field in dataclasses.fields(Batch):
        assert torch.equal(getattr(again, field.name), getattr(tensors, field.name))
