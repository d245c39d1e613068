"""A student born from its teacher: exact where nothing is cut or where what is cut never varies, near it elsewhere."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from destila.config import ShapeSettings, StudentSettings
from destila.core.errors import UserError
from destila.data.windows import Window, WindowBuilder, collate
from destila.models.files import LoadedModel, build_student, forward, layer_map
from destila.models.importance import Importance, importance_over, measure, stored
from destila.models.pruning import (
    Basis,
    born_from,
    channel_basis,
    principal_basis,
    prune_into,
    score_maps,
    value_maps,
)
from tiny import pad_token_id, tiny_examples, tiny_model, tiny_tokenizer

FAMILIES = ("roberta", "bert", "xlm-roberta")
LAYERS, HEADS, HIDDEN, UNITS = 4, 4, 32, 64


def teacher_of(architecture: str = "roberta") -> LoadedModel:
    model = tiny_model(architecture, layers=LAYERS, heads=HEADS, hidden=HIDDEN)
    model.set_attn_implementation("destila")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm" in name:  # gains and biases as different as trained ones are
                parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
    return LoadedModel(model, tiny_tokenizer(architecture), {}, architecture)


def batches_of(architecture: str = "roberta") -> list[tuple[Tensor, Tensor]]:
    pad = pad_token_id(architecture)
    windows = WindowBuilder(tiny_tokenizer(architecture), length=60, stride=10, pad_id=pad).build(tiny_examples())
    batches = [collate(windows[first : first + 3], pad_id=pad) for first in range(0, len(windows), 3)]
    return [(torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)) for batch in batches]


def born(
    teacher: LoadedModel,
    importance: Importance,
    *,
    layers: int = LAYERS,
    heads: int = HEADS,
    hidden: int = HIDDEN,
    units: int = UNITS,
    principal: bool = False,
) -> object:
    shape = ShapeSettings(layers=layers, heads=heads, hidden=hidden, feed_forward=units)
    mapping = layer_map("uniform", teacher_layers=LAYERS, student_layers=layers)
    settings = StudentSettings(shape=shape, initial="teacher", dropout=0.0)
    student = build_student(teacher, settings, mapping=mapping, seed=5)
    basis = channel_basis(teacher.model, importance, count=hidden, mapping=mapping)
    if principal:
        basis = principal_basis(importance, count=hidden)
    prune_into(student, teacher.model, mapping=mapping, importance=importance, basis=basis)
    return student


def logits(model: object, batch: tuple[Tensor, Tensor]) -> Tensor:
    with torch.no_grad():
        outputs = forward(model, *batch)
    return torch.stack([outputs.start_logits, outputs.end_logits])[:, batch[1].bool()]


# ---------------------------------------------------------------------------------------------------- exactness
@pytest.mark.parametrize("architecture", FAMILIES)
def test_the_teachers_own_shape_gives_its_logits(architecture: str) -> None:
    teacher, batches = teacher_of(architecture), batches_of(architecture)
    student = born(teacher, measure(teacher.model, batches))
    for batch in batches:
        assert torch.equal(logits(student, batch), logits(teacher.model, batch))


@pytest.mark.parametrize("architecture", FAMILIES)
def test_parts_that_never_vary_are_cut_for_nothing(architecture: str) -> None:
    """Constant units, heads of low rank and an idle head go; what they wrote on the average stays."""
    teacher, batches = teacher_of(architecture), batches_of(architecture)
    size = HIDDEN // HEADS
    with torch.no_grad():
        for layer in teacher.model.base_model.encoder.layer:
            layer.intermediate.dense.weight[1::2] = 0  # these units are constant, but not zero
            layer.attention.self.value.weight[:size] = 0  # this head writes a constant
            for name in ("query", "value"):
                weight = getattr(layer.attention.self, name).weight.view(HEADS, size, HIDDEN)
                bias = getattr(layer.attention.self, name).bias.view(HEADS, size)
                weight[:, size // 2 :] = 2 * weight[:, : size // 2]
                bias[:, size // 2 :] = 2 * bias[:, : size // 2]
    importance = measure(teacher.model, batches)
    # Twice as many heads of half the size: four of the teacher's, halved, and four that write nothing yet.
    student = born(teacher, importance, heads=2 * HEADS, units=UNITS // 2)
    for batch in batches:
        assert torch.allclose(logits(student, batch), logits(teacher.model, batch), atol=2e-3)


def test_halved_heads_of_low_rank_attend_as_before() -> None:
    generator = torch.Generator().manual_seed(1)
    queries, keys = (torch.randn(200, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    queries[:, 4:] = queries[:, :4] @ torch.randn(4, 4, generator=generator, dtype=torch.float64)
    query_map, key_map = score_maps(queries.T @ queries / 200, keys.T @ keys / 200, 4)
    assert query_map.shape == key_map.shape == (4, 8)
    assert torch.allclose((queries @ query_map.T) @ (keys @ key_map.T).T, queries @ keys.T, atol=1e-2)


def test_score_maps_are_the_best_of_their_rank() -> None:
    """Against the optimum for the very sample: the singular values of Q K^T beyond the rank."""
    generator = torch.Generator().manual_seed(2)
    scales = torch.tensor([5, 3, 2, 1, 0.5, 0.3, 0.2, 0.1], dtype=torch.float64)
    queries = torch.randn(300, 8, generator=generator, dtype=torch.float64) * scales
    keys = torch.randn(300, 8, generator=generator, dtype=torch.float64) * scales.flip(0)
    product = queries @ keys.T
    optimum = torch.linalg.svdvals(product)[3:].norm()
    query_map, key_map = score_maps(queries.T @ queries / 300, keys.T @ keys / 300, 3)
    error = (product - (queries @ query_map.T) @ (keys @ key_map.T).T).norm()
    assert error == pytest.approx(optimum.item(), rel=1e-3)
    axes = (queries.square().mean(0) * keys.square().mean(0)).topk(3).indices
    assert error < (product - queries[:, axes] @ keys[:, axes].T).norm()


def test_value_maps_are_the_best_of_their_rank() -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(300, 8, generator=generator, dtype=torch.float64)
    writer = torch.randn(12, 8, generator=generator, dtype=torch.float64)
    value_map, narrow = value_maps(values.T @ values / 300, writer, 5)
    written = values @ writer.T
    error = (written - values @ value_map.T @ narrow.T).norm()
    assert error == pytest.approx(torch.linalg.svdvals(written)[5:].norm().item(), rel=1e-3)
    assert torch.allclose(value_map.norm(dim=1), torch.ones(5, dtype=torch.float64))


# ---------------------------------------------------------------------------------------------------- any shape
@pytest.mark.parametrize("architecture", FAMILIES)
@pytest.mark.parametrize(
    "shape",
    [
        {"layers": 2, "hidden": 16, "units": 96},  # more units than the teacher's, as the paper's 6x512x3072 has
        {"layers": 4, "hidden": 24, "heads": 3, "units": 20},  # fewer heads
        {"layers": 1, "hidden": 32, "heads": 2, "units": 64},  # larger heads
        {"layers": 3, "hidden": 32, "heads": 8, "units": 64},  # more heads
    ],
)
@pytest.mark.parametrize("principal", [False, True])
def test_any_shape_computes_and_learns(architecture: str, shape: dict[str, int], principal: bool) -> None:
    teacher, batches = teacher_of(architecture), batches_of(architecture)
    student = born(teacher, measure(teacher.model, batches), **shape, principal=principal)
    outputs = forward(student, *batches[0])
    (outputs.start_logits.square().sum() + outputs.end_logits.sum()).backward()
    assert outputs.start_logits.isfinite().all()
    for name, parameter in student.named_parameters():
        assert parameter.isfinite().all(), name
        if "token_type" not in name and "key.bias" not in name:
            assert (parameter.grad != 0).any(), name


def windows_of() -> list[Window]:
    return WindowBuilder(tiny_tokenizer(), length=60, stride=10, pad_id=pad_token_id()).build(tiny_examples())


def test_a_wider_or_unknown_model_is_refused(tmp_path: Path) -> None:
    teacher, wide = teacher_of(), tiny_model(layers=LAYERS, heads=HEADS, hidden=2 * HIDDEN)
    places = {"mapping": range(LAYERS + 1), "windows": windows_of(), "directory": tmp_path}
    with pytest.raises(UserError, match=r"hidden: is 64, and the teacher's is 32"):
        born_from(wide, teacher.model, **places)
    with pytest.raises(UserError, match="the teacher is a modernbert"):
        measure(tiny_model("modernbert"), batches_of("modernbert"))


# ---------------------------------------------------------------------------------------------------- the basis
def test_a_rotated_basis_is_exact_where_gains_are_even() -> None:
    """States in few directions and even gains: a normalization commutes with the rotation, means included."""
    teacher, batches = teacher_of(), batches_of()
    small, spread = (
        HIDDEN // 2,
        torch.linalg.qr(torch.randn(HIDDEN, HIDDEN, generator=torch.Generator().manual_seed(1)))[0],
    )
    plane = spread[:, : small - 1] - spread[:, : small - 1].mean(0)  # no direction in it changes the mean
    projection = plane @ torch.linalg.pinv(plane)
    model = teacher.model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm" in name:
                parameter.fill_(1 if name.endswith("weight") else 0)
            elif name.endswith("embeddings.weight"):
                parameter.copy_(parameter @ projection + 0.7)  # the mean differs from zero
            elif "output.dense" in name:
                parameter.copy_(projection @ parameter + 0.3)
                if "attention" in name and name.endswith("weight"):
                    parameter[:, HIDDEN // 2 :] = 0  # half of the heads write nothing
    importance = measure(model, batches)
    student = born(teacher, importance, heads=HEADS // 2, hidden=small, principal=True)
    for batch in batches:
        assert torch.allclose(logits(student, batch), logits(model, batch), atol=1e-3)


def test_bases_are_orthonormal_and_keep_the_mean() -> None:
    importance = measure(teacher_of().model, batches_of())
    for count in (5, HIDDEN):
        basis = principal_basis(importance, count=count)
        identity = torch.eye(count, dtype=torch.float64)
        assert torch.allclose(basis.directions.T @ basis.directions, identity, atol=1e-9)
        even = basis.directions @ torch.ones(count, dtype=torch.float64)
        assert torch.allclose(even / even.norm(), torch.full((HIDDEN,), HIDDEN**-0.5, dtype=torch.float64))
    assert torch.allclose(basis.squares, importance.sum_square.sum(1))


@pytest.mark.usefixtures("messages_on_stderr")
def test_the_better_basis_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = teacher_of()
    with torch.no_grad():
        teacher.model.qa_outputs.weight.mul_(30)  # distributions that differ
    importance = importance_over(teacher.model, windows_of(), directory=tmp_path)
    shape = StudentSettings(shape=ShapeSettings(layers=LAYERS, heads=4, hidden=24, feed_forward=UNITS), dropout=0.0)
    student = build_student(teacher, shape, mapping=range(LAYERS + 1), seed=5)
    born_from(student, teacher.model, mapping=range(LAYERS + 1), windows=windows_of(), directory=tmp_path)
    said = capsys.readouterr().err
    errors = {float(number): name for number, name in re.findall(r"([\d.]+) nats in its (channels|principal)", said)}
    assert len(errors) == 2
    assert f"keeps the {errors[min(errors)]}" in said
    again = [born(teacher, importance, hidden=24, principal=principal) for principal in (False, True)]
    kept = [torch.equal(logits(student, batches_of()[0]), logits(one, batches_of()[0])) for one in again]
    assert kept == [errors[min(errors)] == name for name in ("channels", "principal")]


@pytest.mark.usefixtures("messages_on_stderr")
def test_the_basis_is_judged_at_full_depth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher, said = teacher_of(), []
    with torch.no_grad():
        teacher.model.qa_outputs.weight.mul_(30)
    for layers in (1, LAYERS):
        shape = ShapeSettings(layers=layers, heads=4, hidden=24, feed_forward=UNITS)
        mapping = layer_map("uniform", teacher_layers=LAYERS, student_layers=layers)
        student = build_student(teacher, StudentSettings(shape=shape, dropout=0.0), mapping=mapping, seed=5)
        state = torch.random.get_rng_state()
        born_from(student, teacher.model, mapping=mapping, windows=windows_of(), directory=tmp_path)
        assert torch.equal(torch.random.get_rng_state(), state)
        said.append(re.findall(r"[\d.]+ nats in its principal", capsys.readouterr().err))
    assert said[0] == said[1] != []  # the directions do not depend on the student's depth


def test_cutting_a_little_changes_little_and_means_help() -> None:
    """A narrower student is nearer to its teacher than one with the same parts chosen against the importance."""
    teacher, batches = teacher_of(), batches_of()
    importance = measure(teacher.model, batches)
    wrong = Importance(**vars(importance))
    object.__setattr__(wrong, "unit_variance", 1 / (importance.unit_variance + 1e-9))
    object.__setattr__(wrong, "state_variance", 1 / (importance.state_variance + 1e-9))
    exact = torch.cat([logits(teacher.model, batch).flatten() for batch in batches])
    errors = []
    for used in (importance, wrong):
        student = born(teacher, used, hidden=28, units=48)
        ours = torch.cat([logits(student, batch).flatten() for batch in batches])
        errors.append((ours - exact).square().mean().item())
    assert errors[0] < 0.7 * errors[1]
    assert errors[0] < exact.var().item()


def test_channels_follow_what_varies_and_is_read() -> None:
    teacher = teacher_of()
    importance = measure(teacher.model, batches_of())
    quiet, unread = 5, 11
    importance.state_variance[:, quiet] = 0
    with torch.no_grad():
        teacher.model.qa_outputs.weight[:, unread] = 0
        for layer in teacher.model.base_model.encoder.layer:
            attention = layer.attention.self
            for linear in (attention.query, attention.key, attention.value, layer.intermediate.dense):
                linear.weight[:, unread] = 0
    basis: Basis = channel_basis(teacher.model, importance, count=HIDDEN - 2, mapping=range(LAYERS + 1))
    assert basis.directions.sum(0).eq(1).all()
    assert basis.directions.argmax(0).tolist() == [
        channel for channel in range(HIDDEN) if channel not in (quiet, unread)
    ]


# ---------------------------------------------------------------------------------------------------- measuring
def test_moments_are_those_of_the_real_tokens() -> None:
    teacher, batches = teacher_of(), batches_of()
    importance = measure(teacher.model, batches)
    states: list[list[Tensor]] = [[] for _ in range(LAYERS + 1)]
    for input_ids, attention_mask in batches:
        for row, mask in zip(input_ids, attention_mask, strict=True):  # one row at a time: no padding at all
            ids = row[mask.bool()][None]
            with torch.no_grad():
                hidden = teacher.model(ids, torch.ones_like(ids), output_hidden_states=True).hidden_states
            for layer, state in enumerate(hidden):
                states[layer].append(state[0].double())
    for layer in range(LAYERS + 1):
        tokens = torch.cat(states[layer])
        assert torch.allclose(importance.state_mean[2 * layer], tokens.mean(0), atol=1e-5)
        assert torch.allclose(importance.state_variance[2 * layer], tokens.var(0, correction=0), atol=1e-4)
    block, tokens = teacher.model.base_model.encoder.layer[1], torch.cat(states[1]).float()
    keys = block.attention.self.key(tokens).detach().double().view(-1, HEADS, HIDDEN // HEADS)
    assert torch.allclose(importance.key[1, 2], torch.cov(keys[:, 2].T, correction=0), atol=1e-4)


def test_importance_is_measured_once_and_stored_whole(tmp_path: Path) -> None:
    path, calls = tmp_path / "importance.safetensors", []

    def make() -> Importance:
        calls.append(1)
        return measure(teacher_of().model, batches_of())

    first, second = stored(path, make), stored(path, make)
    assert len(calls) == 1
    assert all(torch.equal(getattr(first, name), value) for name, value in vars(second).items())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="is torn"):
        stored(path, make)


def test_importance_that_cannot_be_stored_is_used_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("I am no directory")
    found = stored(tmp_path / "file" / "importance.safetensors", lambda: measure(teacher_of().model, batches_of()))
    assert found.query.numel()
    assert "cannot be written: a file stands where a directory is needed; the importance is not kept" in caplog.text


def test_hooks_are_gone_after_a_failure() -> None:
    teacher = teacher_of().model
    with pytest.raises(Exception, match=r"index|range"):
        measure(teacher, [(torch.full((1, 4), 10_000), torch.ones(1, 4, dtype=torch.long))])
    assert not any(module._forward_hooks for module in teacher.modules())


def test_importance_belongs_to_a_teacher_and_its_windows(tmp_path: Path) -> None:
    teacher, windows = teacher_of().model, windows_of()
    first = importance_over(teacher, windows, directory=tmp_path)
    assert torch.equal(importance_over(teacher, windows, directory=tmp_path).query, first.query)
    assert len(list(tmp_path.iterdir())) == 1
    importance_over(teacher, windows[1:], directory=tmp_path)
    with torch.no_grad():
        teacher.qa_outputs.bias[0] += 1e-3
    importance_over(teacher, windows, directory=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    whole = measure(teacher, batches_of())
    assert torch.allclose(whole.unit_variance, first.unit_variance, rtol=1e-4)
