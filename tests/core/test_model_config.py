"""config.json: what this package goes by is checked where it is read, for every run time."""

import json
from pathlib import Path

import pytest

from destila import Reader
from destila.core.errors import UserError
from destila.core.model_config import read_config
from readers import change_config
from report_case import onnx_reader
from tiny import ARCHITECTURES, tiny_reader

WRONG = [
    ({"pad_token_id": "1"}, "pad_token_id is '1', not a whole number or null"),
    ({"pad_token_id": 1.5}, "pad_token_id is 1.5"),
    ({"pad_token_id": True}, "pad_token_id is True"),
    ({"pad_token_id": [1]}, r"pad_token_id is \[1\]"),
    ({"max_position_embeddings": None}, "max_position_embeddings is None, not a whole number above 0"),
    ({"max_position_embeddings": "512"}, "max_position_embeddings is '512'"),
    ({"max_position_embeddings": 0}, "max_position_embeddings is 0"),
    ({"model_type": 7, "pad_token_id": {}}, r"2 problems:(.|\n)*model_type is 7(.|\n)*pad_token_id is \{\}"),
]


@pytest.mark.parametrize(("fields", "problem"), WRONG)
def test_fields_of_another_kind_are_named_for_torch_and_onnx(
    fields: dict[str, object], problem: str, tmp_path: Path
) -> None:
    for directory in (tiny_reader(tmp_path / "torch"), onnx_reader(tmp_path / "onnx")):
        change_config(directory, **fields)
        with pytest.raises(UserError, match=problem) as caught:
            Reader.load(directory)
        assert caught.value.where == str(directory / "config.json")


@pytest.mark.parametrize("content", ["[]", "null", '"roberta"', "{}", '{"model_type": "roberta"}', "[" * 20_000])
def test_what_is_no_configuration_is_said(content: str, tmp_path: Path) -> None:
    directory = onnx_reader(tmp_path / "onnx")
    (directory / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json: (is not a JSON object|has no|2 problems|is not JSON)"):
        Reader.load(directory)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_padding_token_of_null_changes_no_answer(architecture: str, tmp_path: Path) -> None:
    directory = tiny_reader(tmp_path / "reader", architecture)
    asked = "¿Quién fundó Lima?", "Lima fue fundada por Francisco Pizarro en 1535."
    before = Reader.load(directory).answer(*asked)
    change_config(directory, pad_token_id=None)
    assert json.loads((directory / "config.json").read_text())["pad_token_id"] is None
    assert Reader.load(directory).answer(*asked) == before


def test_a_directory_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(UserError, match=r"config\.json: cannot be read"):
        read_config(tmp_path)
