"""JSON as every program reads it, and that nothing leaves the package in another way."""

import ast
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import destila
from destila.core.runs import Run, read_json, write_json
from destila.core.strict_json import dumps, finite, loads

SOURCE = Path(destila.__file__).parent
TEXT = st.text(st.characters(codec=None), max_size=8)  # halves of surrogate pairs among them
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))


def refused(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict | list):
        return [one for each in (value.values() if isinstance(value, dict) else value) for one in numbers(each)]
    return [value] if isinstance(value, float) else []


@given(
    value=VALUES, indent=st.sampled_from([None, 2]), compact=st.booleans(), ascii=st.booleans(), sort_keys=st.booleans()
)
def test_what_is_written_is_json_in_utf8_or_refused(value: Any, **options: Any) -> None:
    if not all(map(math.isfinite, numbers(value))):
        with pytest.raises(ValueError, match="JSON"):
            dumps(value, **options)
        value = finite(value)
    text = dumps(value, **options)
    text.encode("ascii" if options["ascii"] else "utf-8")
    assert json.loads(text, parse_constant=refused) == value
    assert loads(text) == value
    assert options["indent"] or "\n" not in text


def test_nothing_is_escaped_without_need() -> None:
    assert dumps({"año": "😀"}) == '{"año": "😀"}'
    assert dumps({"b": [1, 2], "a": "é"}, compact=True, ascii=True, sort_keys=True) == '{"a":"\\u00e9","b":[1,2]}'
    assert dumps("é\ud83d") == '"\\u00e9\\ud83d"'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("NaN", "NaN is no number"),
        ('{"a": [1, -Infinity]}', "-Infinity is no number"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' stands twice"),
        ('[{"x": {"": 1, "": 1}}]', "the key '' stands twice"),
        ("1" * 5000, "digits"),
        ("{'a': 1}", "Expecting property name"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_json_is_refused(text: str, problem: str) -> None:
    with pytest.raises((ValueError, RecursionError), match=problem):
        loads(text)


def test_only_one_module_writes_json() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("dump", "dumps") and isinstance(node.value, ast.Name):
                found += [path.name] * (node.value.id in ("json", "orjson", "simplejson"))
            if isinstance(node, ast.ImportFrom) and node.module == "json":
                found += [path.name] * any(alias.name in ("dump", "dumps") for alias in node.names)
    assert set(found) == {"strict_json.py"}


def test_files_of_a_run_are_json_also_where_a_loss_is_lost(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", settings_text="", seed=1)
    run.log({"step": 1, "loss": math.nan, "gradient_norm": math.inf, "task": 2.5})
    line = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8")
    assert json.loads(line, parse_constant=refused) == {"step": 1, "loss": None, "gradient_norm": None, "task": 2.5}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "value.json", {"f1": math.nan})
    assert not re.search("value", " ".join(path.name for path in tmp_path.iterdir()))
    write_json(tmp_path / "value.json", {"text": "\ud83d"})
    assert read_json(tmp_path / "value.json") == {"text": "\ud83d"}
