"""Readers load and save as transformers' own do, and what is wrong on the disk is said."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

import tiny
from destila import Reader
from destila.core.errors import UserError
from destila.core.model_files import torch_weights
from destila.models.files import LoadedModel, load_reader, save_reader, span_logits
from readers import Wrapper, change_config, four_layers, inputs


@pytest.fixture(params=tiny.ARCHITECTURES)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> LoadedModel:
    return four_layers(tmp_path / "reader", request.param)


def test_what_is_saved_loads_again_here_and_in_transformers(reader: LoadedModel, tmp_path: Path) -> None:
    directory = tmp_path / "saved"
    directory.mkdir()
    metadata = {"window": {"length": 384}, "no_answer_threshold": None, "source": {"command": "año"}}
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


def test_weights_in_shards_are_the_same_and_every_shard_is_needed(reader: LoadedModel, tmp_path: Path) -> None:
    save_reader(reader.model, reader.tokenizer, {}, tmp_path, shard_size="40KB")
    index, *shards = torch_weights(tmp_path)
    assert index.name == "model.safetensors.index.json"
    assert len(shards) > 1
    assert not (tmp_path / "model.safetensors").exists()
    loaded = load_reader(str(tmp_path)).model.state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in reader.model.state_dict().items())
    content = shards[1].read_bytes()
    shards[1].write_bytes(content[:-100])
    with pytest.raises(UserError, match=r"torn"):
        load_reader(str(tmp_path))
    shards[1].unlink()
    with pytest.raises(UserError, match=shards[1].name):
        load_reader(str(tmp_path))


def test_dropout_is_set_on_loading(tmp_path: Path) -> None:
    directory = tiny.tiny_reader(tmp_path / "reader")
    assert load_reader(str(directory), dropout=0.25).model.config.hidden_dropout_prob == 0.25
    assert load_reader(str(directory)).model.config.hidden_dropout_prob == 0.1


@pytest.mark.usefixtures("messages_on_stderr")
@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_a_bare_encoder_gets_a_random_head(
    architecture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tiny.tiny_reader(tmp_path / "reader", architecture)
    encoder = tiny.tiny_model(architecture).base_model
    encoder.save_pretrained(directory)
    capsys.readouterr()
    with pytest.raises(UserError, match=r"has no question answering head, so it cannot answer\. Train one"):
        Reader.load(directory, backend="torch")
    reader = load_reader(str(directory), random_head=True)
    output = capsys.readouterr()
    assert "has no question answering head" in output.err
    assert "LOAD REPORT" not in output.err + output.out
    state = reader.model.base_model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.state_dict().items() if name in state)


@pytest.mark.parametrize("random_head", [False, True])
@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_a_head_of_which_a_part_is_missing_is_torn(architecture: str, random_head: bool, tmp_path: Path) -> None:
    directory = tiny.tiny_reader(tmp_path / "reader", architecture)
    path = directory / "model.safetensors"
    state = load_file(path)
    last = "classifier" if architecture == "modernbert" else "qa_outputs"
    for part in [f"{last}.bias", f"{last}.weight", *(name for name in state if name.startswith("head."))]:
        save_file({name: tensor for name, tensor in state.items() if name != part}, path, metadata={"format": "pt"})
        with pytest.raises(UserError, match=f"lacks '{part}' of its question answering head, and has '{last}"):
            load_reader(str(directory), random_head=random_head)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def drop_layer(directory: Path) -> None:
    state = load_file(directory / "model.safetensors")
    kept = {name: tensor for name, tensor in state.items() if ".layer.1." not in name}
    save_file(kept, directory / "model.safetensors", metadata={"format": "pt"})


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 6\n"


def shards(directory: Path, missing: str) -> None:
    """The weights in two files, of which one is not there."""
    (directory / "model.safetensors").rename(directory / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": f"{missing}.safetensors"}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda d: [p.unlink() for p in d.iterdir()],
            "holds no model; expected config.json, model.safetensors, tokenizer",
        ),
        (
            lambda d: (d / "tokenizer.json").unlink(),
            "has no tokenizer.json; expected config.json, model.safetensors, tokenizer.json. Was it copied whole",
        ),
        (lambda d: (d / "model.safetensors").unlink(), "has no model.safetensors; expected"),
        (lambda d: (d / "config.json").unlink(), "has no config.json; expected"),
        (lambda d: truncate(d / "model.safetensors"), "model.safetensors: is torn or not a safetensors file"),
        (lambda d: (d / "model.safetensors").write_bytes(b""), "model.safetensors: is torn or not a safetensors file"),
        *(
            (lambda d, name=name: (d / name).write_text(POINTER), f"{name} is a pointer of Git LFS.*Run git lfs pull")
            for name in ("model.safetensors", "tokenizer.json")
        ),
        (
            lambda d: shards(d, "model-00002-of-00002"),
            "has no model-00002-of-00002.safetensors; model.safetensors.index",
        ),
        (lambda d: truncate(d / "config.json"), "config.json: is not JSON"),
        (lambda d: (d / "config.json").write_text("[]"), "config.json: is not a JSON object"),
        (lambda d: truncate(d / "tokenizer.json"), "tokenizer.json: is not a tokenizer"),
        (lambda d: (d / "destila.json").write_text("{"), "destila.json: is not JSON"),
        (lambda d: (d / "config.json").write_text("{}"), "config.json: has no model_type"),
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
    with pytest.raises(UserError, match=r"no local directory, and the hub cannot be reached.*give its directory"):
        load_reader("nobody/no-such-reader")
