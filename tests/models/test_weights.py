"""Weights in old pickles are read as those of safetensors are, and no code of a file ever runs."""

import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from destila import Reader
from destila.core.errors import UserError
from destila.models.files import load_reader
from destila.models.trim import trim
from destila.models.weights import read_weights
from tiny import ARCHITECTURES, TEXTS, tiny_reader

ASKED = "¿Quién fundó Lima?", TEXTS[0]


def with_pickle(directory: Path, *, zipped: bool = True, shards: int = 1) -> Path:
    """The same reader as libraries of old wrote it; in zip files, or in the form before them."""
    state = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = [f"pytorch_model-{number:05d}-of-{shards:05d}.bin" for number in range(1, shards + 1)]
    places = {name: names[number % shards] for number, name in enumerate(sorted(state))}
    for file in names if shards > 1 else ["pytorch_model.bin"]:
        part = {name: state[name] for name in state if shards == 1 or places[name] == file}
        torch.save(part, directory / file, _use_new_zipfile_serialization=zipped)
    if shards > 1:
        (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    return directory


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("zipped", "shards"), [(True, 1), (False, 1), (True, 3)])
def test_a_pickle_answers_as_safetensors_do(architecture: str, zipped: bool, shards: int, tmp_path: Path) -> None:
    directory = tiny_reader(tmp_path / "reader", architecture)
    before = Reader.load(directory).answers(*ASKED, top_k=3)
    with_pickle(directory, zipped=zipped, shards=shards)
    assert Reader.load(directory).answers(*ASKED, top_k=3) == before


def test_names_of_old_libraries_and_tables_that_are_no_weights(tmp_path: Path) -> None:
    directory = tiny_reader(tmp_path / "reader", "bert")
    before = Reader.load(directory).answer(*ASKED)
    state = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in state.items()
    }
    torch.save({**old, "bert.embeddings.position_ids": torch.arange(130)[None]}, directory / "pytorch_model.bin")
    assert Reader.load(directory).answer(*ASKED) == before


class Evil:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


def bytes_of(kind: str, mark: Path) -> bytes:
    file = io.BytesIO()
    if kind == "code":
        pickle.dump(Evil(mark), file)
    elif kind == "code of protocol 2":
        pickle.dump({"weight": Evil(mark)}, file, protocol=2)
    elif kind == "code in a zip":
        torch.save({"weight": Evil(mark)}, file)
    elif kind == "code in the old form":
        torch.save({"weight": Evil(mark)}, file, _use_new_zipfile_serialization=False)
    elif kind == "a whole model":
        torch.save(torch.nn.Linear(2, 2), file)
    elif kind == "arrays of numpy":
        pickle.dump({"weight": torch.ones(2).numpy()}, file)
    elif kind == "tar":
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("tensors"))
    elif kind == "a list":
        torch.save([torch.ones(2)], file)
    elif kind == "weights in a table of a table":
        torch.save({"state_dict": {"weight": torch.ones(2)}}, file)
    elif kind == "sparse":
        torch.save({"weight": torch.ones(2, 2).to_sparse()}, file)
    elif kind == "nothing in it":
        torch.save({}, file)
    elif kind == "cut short":
        torch.save({"weight": torch.ones(2000)}, file)
        return file.getvalue()[:-500]
    elif kind == "text":
        return b"version https://git-lfs.github.com/spec/v1\n"
    return file.getvalue()


KINDS = ("code", "code of protocol 2", "code in a zip", "code in the old form", "a whole model", "arrays of numpy")
KINDS += ("tar", "a list", "weights in a table of a table", "sparse", "nothing in it", "cut short", "text", "empty")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_table_of_weights_is_one_line_and_runs_nothing(kind: str, tmp_path: Path) -> None:
    directory, mark = tiny_reader(tmp_path / "reader"), tmp_path / "mark"
    (directory / "model.safetensors").unlink()
    (directory / "pytorch_model.bin").write_bytes(bytes_of(kind, mark))
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    for use in (
        lambda: Reader.load(directory),
        lambda: load_reader(str(directory)),
        lambda: trim(str(directory), [str(tmp_path / "texts.txt")], tmp_path / "out"),
    ):
        with pytest.raises(
            UserError, match=r"pytorch_model\.bin: (cannot be read without running|is no table of)"
        ) as e:
            use()
        assert "\n" not in str(e.value)
    assert not mark.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": {"a": 3}}', '{"weight_map": ["a"]}', "{"])
def test_a_damaged_index_is_named(content: str, tmp_path: Path) -> None:
    directory = with_pickle(tiny_reader(tmp_path / "reader"), shards=2)
    (directory / "pytorch_model.bin.index.json").write_text(content)
    with pytest.raises(UserError, match=r"pytorch_model\.bin\.index\.json"):
        load_reader(str(directory))


def test_a_missing_shard_is_named_and_an_index_leads_nowhere_else(tmp_path: Path) -> None:
    directory = with_pickle(tiny_reader(tmp_path / "reader"), shards=2)
    index = directory / "pytorch_model.bin.index.json"
    places = json.loads(index.read_text())["weight_map"]
    (tmp_path / "elsewhere.bin").write_bytes((directory / places["qa_outputs.weight"]).read_bytes())
    index.write_text(json.dumps({"weight_map": {**places, "qa_outputs.weight": "../elsewhere.bin"}}))
    with pytest.raises(UserError, match=r"reader/elsewhere\.bin: cannot be read"):
        load_reader(str(directory))


def test_a_model_in_a_pickle_is_trimmed_as_its_copy_in_safetensors(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("\n\n".join(TEXTS[:3]))
    safe = trim(str(tiny_reader(tmp_path / "safe")), [str(texts)], tmp_path / "from-safe")
    old = trim(str(with_pickle(tiny_reader(tmp_path / "old"))), [str(texts)], tmp_path / "from-old")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("from-safe", "from-old"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (safe.parameters, safe.vocabulary) == (old.parameters, old.vocabulary)


def test_a_weight_under_two_names_is_there_once(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(4, 3)
    state = {"words": whole, "head": whole, "part": whole[1:], "empty": torch.empty(0), "none": torch.empty(0)}
    torch.save(state, tmp_path / "pytorch_model.bin")
    found = read_weights(tmp_path)
    assert sorted(found) == ["empty", "none", "part", "words"]
    assert torch.equal(found["part"], whole[1:])
    assert found["part"].untyped_storage().nbytes() == found["part"].nbytes
