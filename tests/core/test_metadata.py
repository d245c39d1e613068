"""destila.json is checked when it is read, keeps what it does not know, and says what is wrong with it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
known = {"window", "no_answer_threshold", "source", "files", "dev", "parameters", "calibration"}
strange = st.dictionaries(st.text().filter(lambda name: name not in known), values, max_size=5)


@given(others=strange, threshold=st.none() | st.integers(-9, 9) | st.floats(-1e6, 1e6))
def test_unknown_keys_survive_a_round_trip(
    others: dict[str, Any], threshold: float | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("model")
    before = {**others, "no_answer_threshold": threshold, "window": {"length": 96, "new": 1}}
    ModelMetadata(before).write(directory)
    found = ModelMetadata.read(directory)
    assert found.content == before
    assert found.no_answer_threshold == threshold
    assert found.window == {"length": 96, "new": 1}
    changed = found.changed(no_answer_threshold=2.5)
    changed.write(directory)
    assert json.loads((directory / "destila.json").read_text()) == {**before, "no_answer_threshold": 2.5}
    assert changed.without("window").window == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is not a JSON object"),
        ("null", "is not a JSON object"),
        ("{", "is not JSON"),
        ('{"no_answer_threshold": NaN}', "no_answer_threshold is nan: it is a finite number, or null"),
        ('{"no_answer_threshold": -Infinity}', "no_answer_threshold is -inf"),
        ('{"no_answer_threshold": 1e999}', "no_answer_threshold is inf"),
        ('{"no_answer_threshold": true}', "no_answer_threshold is True"),
        ('{"no_answer_threshold": "0.5"}', "no_answer_threshold is '0.5'"),
        ('{"window": 384}', "window is 384 and not a JSON object"),
        ('{"source": "here", "files": []}', r"2 problems:(.|\n)*source is 'here'(.|\n)*files is \[\]"),
        ('{"files": {"model.onnx": "9"}}', "the size of model.onnx is '9'"),
        ('{"parameters": 1.5}', "parameters is 1.5"),
    ],
)
def test_what_is_wrong_is_one_error(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "destila.json").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        ModelMetadata.read(tmp_path)
    assert str(tmp_path / "destila.json") in str(error.value)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), True, "1"])
def test_what_could_not_be_read_is_not_written(threshold: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no_answer_threshold"):
        ModelMetadata().changed(no_answer_threshold=threshold)


def test_a_missing_file(tmp_path: Path) -> None:
    assert ModelMetadata.read(tmp_path) == ModelMetadata()
    assert ModelMetadata().no_answer_threshold is None
    with pytest.raises(UserError, match="does not exist"):
        ModelMetadata.read(tmp_path, required=True)


def test_it_needs_no_torch() -> None:
    code = "import sys, destila.core.metadata; assert not {'torch', 'numpy', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
