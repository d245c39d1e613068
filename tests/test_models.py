"""Readers load, save and run as transformers' own do, and what is wrong on the disk is said."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

import tiny
from destila.errors import UserError
from destila.models import (
    LoadedModel,
    SpanModule,
    build_student,
    forward,
    layer_map,
    load_reader,
    longest_window,
    random_model,
    save_reader,
    span_logits,
    unwrapped,
)
from destila.settings import ShapeSettings, StudentSettings

SMALL = ShapeSettings(layers=2, heads=2, hidden=8, feed_forward=16)
TOKENS = 12
REAL = (TOKENS, 7, 3)  # real tokens of each row


def inputs(model: object, *, separator: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Random rows of different lengths, padded on the right."""
    config = model.config
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(5, config.vocab_size, (len(REAL), TOKENS), generator=generator)
    mask = (torch.arange(TOKENS) < torch.tensor(REAL)[:, None]).long()
    if separator is not None:
        ids[:, 1] = separator
        ids[range(len(REAL)), [real - 1 for real in REAL]] = separator
    return ids.masked_fill(mask == 0, config.pad_token_id), mask


def loaded(model: object) -> LoadedModel:
    return LoadedModel(model, tiny.tiny_tokenizer(), {}, "teacher")


@pytest.fixture(params=tiny.ARCHITECTURES)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> LoadedModel:
    directory = tiny.tiny_reader(tmp_path / "reader", request.param, layers=4, hidden=16)
    if request.param == "modernbert":  # sliding windows narrower than the rows, so that their mask matters
        config = json.loads((directory / "config.json").read_text())
        (directory / "config.json").write_text(json.dumps(config | {"local_attention": 6}))
    return load_reader(str(directory), dropout=0.1)


def theirs(reader: LoadedModel, ids: torch.Tensor, mask: torch.Tensor) -> object:
    """transformers' own eager forward pass with everything recorded."""
    model = AutoModelForQuestionAnswering.from_pretrained(reader.name, attn_implementation="eager")
    extras = {}
    if model.config.model_type == "bert":
        extras["token_type_ids"] = torch.zeros_like(ids)
        for row, real in enumerate(REAL):
            extras["token_type_ids"][row, 2:real] = 1
    with torch.no_grad():
        return model.eval()(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, output_attentions=True, **extras
        )


# ---------------------------------------------------------------------------------------------------- looking inside
def test_forward_equals_transformers_eager(reader: LoadedModel) -> None:
    separator = reader.tokenizer.token_to_id("[SEP]")
    ids, mask = inputs(reader.model, separator=separator)
    expected = theirs(reader, ids, mask)
    with torch.no_grad():
        ours = forward(reader.model, ids, mask, hidden_layers=range(5), attention_layers=range(1, 5))
        lazy = forward(reader.model, ids, mask, attention_layers=range(1, 5), lazy=True).attention
    real = mask.bool()
    assert torch.allclose(ours.start_logits[real], expected.start_logits[real], atol=1e-5)
    assert torch.allclose(ours.end_logits[real], expected.end_logits[real], atol=1e-5)
    for layer in range(5):
        assert torch.allclose(ours.hidden[layer][real], expected.hidden_states[layer][real], atol=1e-5)
    for layer in range(1, 5):
        attention = ours.attention[layer].transpose(1, 2)[real]  # real queries
        assert torch.allclose(attention, expected.attentions[layer - 1].transpose(1, 2)[real], atol=1e-6)
        assert torch.allclose(attention.sum(-1), torch.ones(()), atol=1e-5)
        assert ours.attention[layer].isfinite().all()
        assert torch.allclose(lazy[layer].compute().transpose(1, 2)[real], attention, atol=1e-6)
        padded_keys = ours.attention[layer][2, :, : REAL[2], REAL[2] :]
        assert (padded_keys == 0).all()


def test_only_what_is_asked_is_kept(reader: LoadedModel) -> None:
    ids, mask = inputs(reader.model)
    all_of_it = forward(reader.model, ids, mask, hidden_layers=range(5), attention_layers=range(1, 5))
    some = forward(reader.model, ids, mask, hidden_layers=(0, 4), attention_layers=(3,))
    assert sorted(some.hidden) == [0, 4]
    assert sorted(some.attention) == [3]
    real = mask.bool()  # a padded query that sees no key is uniform in a recorded layer and zero in the others
    assert torch.allclose(some.hidden[4][real], all_of_it.hidden[4][real], atol=1e-5)
    assert torch.allclose(some.attention[3].transpose(1, 2)[real], all_of_it.attention[3].transpose(1, 2)[real])
    nothing = forward(reader.model, ids, mask)
    assert not nothing.hidden
    assert not nothing.attention
    assert torch.allclose(nothing.start_logits[real], all_of_it.start_logits[real], atol=1e-5)


def test_maps_are_taken_before_dropout_and_carry_gradients(reader: LoadedModel) -> None:
    ids, mask = inputs(reader.model)
    still = forward(reader.model, ids, mask, attention_layers=(1,)).attention[1]
    reader.model.train()  # the dropout of the embeddings lies before the first map: off
    embeddings = [
        module for name, module in reader.model.named_modules() if name.endswith(("embeddings.dropout", "drop"))
    ]
    for module in embeddings:
        module.p = 0.0
    trained = forward(reader.model, ids, mask, attention_layers=(1,)).attention[1]
    assert torch.allclose(still, trained, atol=1e-6)
    trained.square().sum().backward()
    gradients = [parameter.grad for parameter in reader.model.parameters() if parameter.grad is not None]
    assert any(gradient.abs().max() > 0 for gradient in gradients)


def test_gradient_checkpointing_changes_no_gradient(reader: LoadedModel) -> None:
    def gradient() -> torch.Tensor:
        reader.model.zero_grad()
        outputs = forward(reader.model, ids, mask, hidden_layers=(0, 2, 4), attention_layers=(2, 3))
        sums = forward(
            reader.model, ids, mask, attention_layers=(1, 4), reduce=lambda layer, map: layer * map.square().sum()
        )
        states = [*outputs.hidden.values(), *outputs.attention.values(), *sums.attention.values(), outputs.start_logits]
        sum((state * mask.sum() / state.numel()).square().sum() for state in states).backward()
        return torch.cat([p.grad.flatten() for p in reader.model.parameters() if p.grad is not None])

    for module in reader.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for name in ("attention_dropout", "attention_probs_dropout_prob"):
        setattr(reader.model.config, name, 0.0)
    for module in reader.model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    ids, mask = inputs(reader.model)
    reader.model.train()
    plain = gradient()
    reader.model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    assert torch.allclose(gradient(), plain, rtol=1e-4, atol=1e-6)


def test_a_reduced_map_has_the_gradient_of_the_map(reader: LoadedModel) -> None:
    ids, mask = inputs(reader.model)

    def gradient(reduced: bool) -> torch.Tensor:
        def energy(layer: int, attention: torch.Tensor) -> torch.Tensor:
            return layer * attention.square().sum()

        reader.model.zero_grad()
        torch.manual_seed(7)  # the same dropout twice: also within the recomputed part
        reduce = energy if reduced else None
        outputs = forward(reader.model, ids, mask, attention_layers=(1, 3), reduce=reduce)
        kept = outputs.attention if reduced else {layer: energy(layer, map) for layer, map in outputs.attention.items()}
        (sum(kept.values()) + outputs.end_logits[mask.bool()].square().sum()).backward()
        return torch.cat([p.grad.flatten() for p in reader.model.parameters() if p.grad is not None])

    reader.model.train()
    expected = gradient(False)
    assert (gradient(True) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_maps_are_fp32_under_autocast(reader: LoadedModel) -> None:
    ids, mask = inputs(reader.model)
    exact = forward(reader.model, ids, mask, attention_layers=(1,)).attention[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = forward(reader.model, ids, mask, attention_layers=(1,)).attention[1]
    assert rounded.dtype == torch.float32
    assert torch.allclose(rounded.sum(-1), torch.ones(()), atol=1e-5)
    assert (exact - rounded).abs().max() < 0.1


def test_recording_leaves_nothing_behind_and_nests(reader: LoadedModel) -> None:
    ids, mask = inputs(reader.model)
    inner = []
    handle = reader.model.base_model.register_forward_hook(
        lambda *_: inner.append(forward(other, ids, mask, attention_layers=(1,))) if not inner else None
    )
    other = random_model(
        SMALL, architecture="roberta", vocabulary_size=400, pad_id=1, positions=130, dropout=0.0, seed=1
    )
    outer = forward(reader.model, ids, mask, attention_layers=(4,))
    handle.remove()
    assert sorted(outer.attention) == [4]
    assert sorted(inner[0].attention) == [1]
    assert not forward(reader.model, ids, mask).attention


class Wrapper(torch.nn.Module):
    """Wraps as DistributedDataParallel does."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module, self.calls = module, 0

    def forward(self, *arguments: object, **keywords: object) -> object:
        self.calls += 1
        return self.module(*arguments, **keywords)


def test_a_wrapped_model_is_called_through_its_wrapper() -> None:
    model = random_model(SMALL, architecture="roberta", vocabulary_size=60, pad_id=1, positions=30, dropout=0.0, seed=1)
    wrapper = Wrapper(model)
    ids, mask = inputs(model)
    outputs = forward(wrapper, ids, mask, hidden_layers=(1,), attention_layers=(2,))
    assert wrapper.calls == 1
    assert unwrapped(wrapper) is model
    assert torch.equal(outputs.attention[2], forward(model, ids, mask, attention_layers=(2,)).attention[2])


def test_span_module_exports_with_dynamic_shapes(reader: LoadedModel) -> None:
    ids, mask = inputs(reader.model, separator=reader.tokenizer.token_to_id("[SEP]"))
    module = SpanModule(reader.model)
    dimensions = {0: torch.export.Dim("batch", min=1, max=8), 1: torch.export.Dim("tokens", min=2, max=100)}
    program = torch.export.export(module, (ids, mask), dynamic_shapes=(dimensions, dimensions), strict=False)
    for rows, tokens in ((3, TOKENS), (1, 7)):
        exported = program.module()(ids[:rows, :tokens], mask[:rows, :tokens])
        expected = span_logits(reader.model, ids[:rows, :tokens], mask[:rows, :tokens])
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(exported, expected, strict=True))


# ---------------------------------------------------------------------------------------------------- building
def count(shape: ShapeSettings) -> int:
    with torch.device("meta"):
        model = random_model(
            shape, architecture="roberta", vocabulary_size=50262, pad_id=1, positions=514, dropout=0.1, seed=1
        )
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_papers_models_have_the_papers_sizes() -> None:
    assert count(ShapeSettings(layers=24, heads=16, hidden=1024, feed_forward=4096)) == 354_309_122
    assert count(ShapeSettings()) == 51_211_778


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_the_seed_alone_decides_the_weights(architecture: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        model = random_model(
            SMALL, architecture=architecture, vocabulary_size=60, pad_id=1, positions=30, dropout=0.2, seed=seed
        )
        assert not model.training
        assert longest_window(model.config) == (28 if "roberta" in architecture else 30)
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


# ---------------------------------------------------------------------------------------------------- files
def test_what_is_saved_loads_again_here_and_in_transformers(reader: LoadedModel, tmp_path: Path) -> None:
    directory = tmp_path / "saved"
    directory.mkdir()
    metadata = {"window": {"length": 384}, "no_answer_threshold": None, "source": "año"}
    save_reader(Wrapper(reader.model), reader.tokenizer, metadata, directory)
    assert {path.name for path in directory.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "destila.json",
    }
    again = load_reader(str(directory))
    assert again.metadata == metadata
    assert again.tokenizer.to_str() == reader.tokenizer.to_str()
    ids, mask = inputs(reader.model, separator=reader.tokenizer.token_to_id("[SEP]"))
    real = mask.bool()
    expected = span_logits(reader.model, ids, mask)
    assert all(torch.equal(a, b) for a, b in zip(span_logits(again.model, ids, mask), expected, strict=True))
    plain = AutoModelForQuestionAnswering.from_pretrained(directory)
    assert plain.config._attn_implementation == "sdpa"
    if plain.config.model_type != "bert":  # transformers wants BERT's token types from its user
        logits = plain(input_ids=ids, attention_mask=mask).start_logits
        assert torch.allclose(logits[real], expected[0][real], atol=1e-5)
    converted = AutoTokenizer.from_pretrained(directory)
    assert converted.pad_token_id == reader.model.config.pad_token_id
    for text in tiny.TEXTS:
        assert converted("¿Dónde?", text)["input_ids"] == reader.tokenizer.encode("¿Dónde?", text).ids


def test_weights_can_be_saved_narrow_and_load_wide(reader: LoadedModel, tmp_path: Path) -> None:
    sizes = {}
    for dtype in (torch.float32, torch.float16):
        directory = tmp_path / str(dtype)
        directory.mkdir()
        save_reader(reader.model, reader.tokenizer, {}, directory, dtype=dtype)
        sizes[dtype] = (directory / "model.safetensors").stat().st_size
        assert {p.dtype for p in load_reader(str(directory)).model.parameters()} == {torch.float32}
    assert sizes[torch.float16] < 0.7 * sizes[torch.float32]
    assert next(reader.model.parameters()).dtype == torch.float32


def test_dropout_is_set_on_loading(tmp_path: Path) -> None:
    directory = tiny.tiny_reader(tmp_path / "reader")
    assert load_reader(str(directory), dropout=0.25).model.config.hidden_dropout_prob == 0.25
    assert load_reader(str(directory)).model.config.hidden_dropout_prob == 0.1


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_a_bare_encoder_gets_a_random_head(
    architecture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tiny.tiny_reader(tmp_path / "reader", architecture)
    encoder = tiny.tiny_model(architecture).base_model
    encoder.save_pretrained(directory)
    capsys.readouterr()
    reader = load_reader(str(directory))
    output = capsys.readouterr()
    assert "has no question answering head" in output.err
    assert "LOAD REPORT" not in output.err + output.out
    state = reader.model.base_model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.state_dict().items() if name in state)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def drop_layer(directory: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(directory / "model.safetensors")
    kept = {name: tensor for name, tensor in state.items() if ".layer.1." not in name}
    save_file(kept, directory / "model.safetensors", metadata={"format": "pt"})


def change_config(directory: Path, **fields: object) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, **fields}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda d: [p.unlink() for p in d.iterdir()],
            "holds no model; expected config.json, model.safetensors, tokenizer",
        ),
        (
            lambda d: (d / "tokenizer.json").unlink(),
            "has no tokenizer.json; expected config.json, model.safetensors, tokenizer.json. Was the run interrupted",
        ),
        (lambda d: (d / "model.safetensors").unlink(), "has no model.safetensors; expected"),
        (lambda d: (d / "config.json").unlink(), "has no config.json; expected"),
        (lambda d: truncate(d / "model.safetensors"), "model.safetensors: is torn or not a safetensors file"),
        (lambda d: (d / "model.safetensors").write_bytes(b""), "model.safetensors: is torn or not a safetensors file"),
        (lambda d: (d / "model.safetensors").write_text("version https://git-lfs"), "model.safetensors: is torn"),
        (lambda d: truncate(d / "config.json"), "config.json: is not JSON"),
        (lambda d: (d / "config.json").write_text("[]"), "config.json: has no model_type"),
        (lambda d: truncate(d / "tokenizer.json"), "tokenizer.json: is no tokenizer"),
        (lambda d: (d / "destila.json").write_text("{"), "destila.json: is not JSON"),
        (lambda d: change_config(d, vocab_size=50), "tokens and the model only 50"),
        (lambda d: change_config(d, model_type="gpt2"), "is a model of type 'gpt2'.*Supported: bert"),
        (lambda d: change_config(d, model_type="no-such"), "cannot be loaded.*no-such"),
        (
            lambda d: change_config(d, intermediate_size=7),
            r"dense.* is \(32.*\) on the disk and \(7.*\) by config.json",
        ),
        (lambda d: change_config(d, hidden_size="wide"), "cannot be loaded"),
        (lambda d: change_config(d, num_hidden_layers=9), "lacks .* weights of its encoder"),
        (drop_layer, r"lacks \d+ weights of its encoder, first 'roberta.encoder.layer.1"),
    ],
)
def test_what_is_wrong_with_a_directory_is_said(damage: object, message: str, tmp_path: Path) -> None:
    directory = tiny.tiny_reader(tmp_path / "reader", metadata={})
    load_reader(str(directory))
    damage(directory)
    with pytest.raises(UserError) as error:
        load_reader(str(directory))
    assert re.search(message, str(error.value), re.DOTALL), str(error.value)
    assert str(directory) in str(error.value)


def test_the_separator_of_a_bert_comes_from_its_tokenizer(tmp_path: Path) -> None:
    directory = tiny.tiny_reader(tmp_path / "reader", "bert")
    change_config(directory, sep_token_id=None)
    assert load_reader(str(directory)).model.config.sep_token_id == tiny.tiny_tokenizer("bert").token_to_id("[SEP]")


def test_a_bert_whose_tokenizer_has_no_separator_is_refused(tmp_path: Path) -> None:
    directory = tiny.tiny_reader(tmp_path / "reader", "bert")
    shutil.copy(tiny.tiny_reader(tmp_path / "other", "roberta") / "tokenizer.json", directory)
    change_config(directory, vocab_size=500, sep_token_id=None)
    with pytest.raises(UserError, match=r"no \[SEP\]"):
        load_reader(str(directory))


@pytest.mark.parametrize("name", ["./runs/none", "/no/such/model", "runs/student/best/", "a b", "no\nname", ""])
def test_a_path_that_is_not_there_never_asks_the_network(name: str) -> None:
    with pytest.raises(UserError, match="is not a directory"):
        load_reader(name)


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    with pytest.raises(UserError, match="is not a directory"):
        load_reader(str(tmp_path / "model.bin"))


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"no local directory, and the hub gave no such model.*give its directory"):
        load_reader("nobody/no-such-reader")
