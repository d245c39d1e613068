"""The objective: terms weighed and summed, projections, and what cannot be computed."""

import pytest
import torch
from torch import Tensor

from destila.config import LossSettings
from destila.core.errors import UserError
from destila.training.distillation_loss import DistillationLoss
from destila.training.losses import (
    TaskLoss,
)
from loss_case import ROWS, TOKENS, attention_reference, batch, hidden_reference, model, soft_reference, task_reference

TERMS = ("task", "soft", "hidden", "attention")


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
