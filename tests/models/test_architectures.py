"""Random models, students and layer maps."""

import re
from pathlib import Path

import pytest
import torch

import tiny
from destila.config import ShapeSettings, StudentSettings
from destila.core.errors import UserError
from destila.data.windows import longest_window
from destila.models.files import LoadedModel, build_student, layer_map, random_model, span_logits
from readers import SMALL, four_layers, inputs


@pytest.fixture(params=tiny.ARCHITECTURES)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> LoadedModel:
    return four_layers(tmp_path / "reader", request.param)


def count(shape: ShapeSettings) -> int:
    with torch.device("meta"):
        model = random_model(
            shape, architecture="roberta", vocabulary_size=50262, pad_id=1, longest=512, dropout=0.1, seed=1
        )
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_papers_models_have_the_papers_sizes() -> None:
    assert count(ShapeSettings(layers=24, heads=16, hidden=1024, feed_forward=4096)) == 354_309_122
    assert count(ShapeSettings()) == 51_211_778


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_the_seed_alone_decides_the_weights(architecture: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        model = random_model(
            SMALL, architecture=architecture, vocabulary_size=60, pad_id=1, longest=28, dropout=0.2, seed=seed
        )
        assert not model.training
        assert longest_window(model.config.to_dict()) == 28
        return torch.cat([parameter.flatten() for parameter in model.parameters()])

    first = weights(1)
    state = torch.random.get_rng_state()
    torch.rand(3)
    after = torch.random.get_rng_state()
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))
    assert torch.equal(torch.random.get_rng_state(), after)
    assert not torch.equal(state, after)


def test_a_student_copies_its_teachers_layers(reader: LoadedModel) -> None:
    settings = StudentSettings(
        shape=ShapeSettings(layers=2, heads=2, hidden=16, feed_forward=32), initial="layers", dropout=0.3
    )
    teacher = reader.model.state_dict()
    student = build_student(reader, settings, mapping=(0, 2, 4), seed=1)
    copied = 0
    for name, tensor in student.state_dict().items():
        places = re.findall(r"\d+", name)
        source = name.replace(f".{places[0]}.", f".{2 * int(places[0]) + 1}.", 1) if places else name
        assert torch.equal(tensor, teacher[source]), name
        copied += 1
    assert copied > 10
    if student.config.model_type == "modernbert":
        assert student.config.layer_types == [reader.model.config.layer_types[layer] for layer in (1, 3)]


def test_a_random_student_has_its_own_shape_and_its_teachers_vocabulary(reader: LoadedModel) -> None:
    student = build_student(reader, StudentSettings(shape=SMALL, dropout=0.3), mapping=(0, 2, 4), seed=1)
    ours, teachers = student.config, reader.model.config
    assert (ours.num_hidden_layers, ours.hidden_size, ours.num_attention_heads, ours.intermediate_size) == (2, 8, 2, 16)
    for name in ("vocab_size", "max_position_embeddings", "pad_token_id", "bos_token_id", "eos_token_id", "model_type"):
        assert getattr(ours, name) == getattr(teachers, name)
    dropout = ours.attention_dropout if ours.model_type == "modernbert" else ours.hidden_dropout_prob
    assert dropout == 0.3
    assert teachers.num_hidden_layers == 4
    ids, mask = inputs(reader.model)
    assert span_logits(student, ids, mask)[0].shape == ids.shape


def test_layers_are_not_copied_between_widths(reader: LoadedModel) -> None:
    with pytest.raises(UserError, match=r"hidden is 8 and the teacher's is 16(.|\n)*feed_forward is 16"):
        build_student(reader, StudentSettings(shape=SMALL, initial="layers"), mapping=(0, 2, 4), seed=1)


@pytest.mark.parametrize(
    ("kind", "teacher", "student", "expected"),
    [
        ("uniform", 24, 6, (0, 4, 8, 12, 16, 20, 24)),
        ("uniform", 12, 12, tuple(range(13))),
        ("uniform", 12, 5, (0, 2, 5, 7, 10, 12)),  # 2.4, 4.8, 7.2, 9.6
        ("uniform", 3, 2, (0, 2, 3)),  # 1.5: upwards
        ("last", 24, 6, (0, 19, 20, 21, 22, 23, 24)),
        ([1, 5, 9], 12, 3, (0, 1, 5, 9)),
        ([0, 1, 5, 9], 12, 3, (0, 1, 5, 9)),
    ],
)
def test_layer_maps(kind: object, teacher: int, student: int, expected: tuple[int, ...]) -> None:
    assert layer_map(kind, teacher_layers=teacher, student_layers=student) == expected


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("uniform", "the student has 6 layers and the teacher only 4"),
        ("last", "the student has 6 layers and the teacher only 4"),
        ([1, 2], "names 2 teacher layers for 6 student layers"),
        ([1, 2, 3, 4, 5, 6], "leaves the teacher's layers 1 to 4"),
        ([0, 1, 2, 3, 4, 4], "does not increase"),
        ([], "names 0"),
    ],
)
def test_impossible_layer_maps(kind: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        layer_map(kind, teacher_layers=4, student_layers=6)
