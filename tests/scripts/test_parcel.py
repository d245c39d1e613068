"""An encoder and labels that travel: small, and what comes out is what went in, to half a step of eight bits."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from destila.core.errors import UserError
from scripts import load_script


@pytest.fixture(scope="module")
def parcel() -> ModuleType:
    return load_script("scripts/parcel.py")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    generator = np.random.default_rng(1)
    rows = generator.standard_normal((50, 16)) * np.exp(generator.standard_normal((50, 1)) * 3)  # of unlike sizes
    rows[7] = 0
    weights = {"table": rows.astype(np.float32), "bias": generator.standard_normal(16).astype(np.float32)}
    directory = tmp_path / "model"
    directory.mkdir()
    save_file(weights, directory / "model.safetensors")
    for name in ("config.json", "tokenizer.json"):
        (directory / name).write_text(json.dumps({"name": name, "ñ": "¿?"}), encoding="utf-8")
    return directory


def test_what_comes_out_is_what_went_in(parcel: ModuleType, model: Path, tmp_path: Path) -> None:
    questions = tmp_path / "es.json"
    questions.write_text(json.dumps({"data": ["¿Qué?"] * 100}, ensure_ascii=False), encoding="utf-8")
    size = parcel.pack(model, [questions], tmp_path / "parcel")
    assert size < sum(path.stat().st_size for path in (*model.iterdir(), questions))
    parcel.unpack(tmp_path / "parcel", tmp_path / "there")
    before, after = load_file(model / "model.safetensors"), load_file(tmp_path / "there/encoder/model.safetensors")
    assert before.keys() == after.keys()
    half_a_step = np.abs(before["table"]).max(axis=1, keepdims=True) / 127 / 2
    assert np.all(np.abs(before["table"] - after["table"]) <= half_a_step * 1.001)
    np.testing.assert_allclose(after["bias"], before["bias"], atol=1e-3)
    for name in ("config.json", "tokenizer.json"):
        assert (tmp_path / "there/encoder" / name).read_bytes() == (model / name).read_bytes()
    assert (tmp_path / "there/data/es.json").read_bytes() == questions.read_bytes()


def test_what_was_unpacked_is_not_unpacked_again(parcel: ModuleType, model: Path, tmp_path: Path) -> None:
    parcel.pack(model, [], tmp_path / "parcel")
    parcel.unpack(tmp_path / "parcel", tmp_path / "there")
    weights = tmp_path / "there/encoder/model.safetensors"
    weights.write_bytes(b"trained meanwhile")
    parcel.unpack(tmp_path / "parcel", tmp_path / "there")
    assert weights.read_bytes() == b"trained meanwhile"


def test_a_parcel_that_may_not_travel_says_so(
    parcel: ModuleType, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcel, "LIMIT", 100)
    with pytest.raises(UserError, match="64 may travel"):
        parcel.pack(model, [], tmp_path / "parcel")


def test_what_is_missing_is_named_before_anything_is_written(parcel: ModuleType, model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.json is not there"):
        parcel.pack(model, [tmp_path / "nowhere.json"], tmp_path / "parcel")
    assert not (tmp_path / "parcel").exists()
