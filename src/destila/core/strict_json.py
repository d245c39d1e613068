"""JSON that every program reads: what this package writes, and what it takes where it hands values on.

Python's own writes NaN and Infinity, which are no JSON, and halves of surrogate pairs, which no UTF-8 file can hold; it
reads both, and of two values with one key it silently takes the second. Every JSON text that leaves the package is made
by `dumps`, which a test sees to.
"""

import json
import math
from collections.abc import Mapping
from typing import Any


def dumps(
    value: Any, *, indent: int | None = None, compact: bool = False, ascii: bool = False, sort_keys: bool = False
) -> str:
    """The value as JSON that UTF-8 can hold.

    Args:
        compact: without white space.
        ascii: with every other character escaped; so are halves of surrogate pairs always.

    Raises:
        ValueError: it holds NaN or an infinite number, or itself.
        RecursionError: it is nested too deeply.
    """
    separators = (",", ":") if compact else None
    options: Any = {"allow_nan": False, "indent": indent, "separators": separators, "sort_keys": sort_keys}
    text = json.dumps(value, ensure_ascii=ascii, **options)
    return text if text.isascii() or _is_utf8(text) else json.dumps(value, **options)


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def loads(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON (NaN and Infinity are none), a key stands twice in an object, or a number has
            thousands of digits.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_constant=_refused, object_pairs_hook=_distinct)


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [name for name, _ in pairs]
        key = next(name for name in keys if keys.count(name) > 1)
        raise ValueError(f"the key {key!r} stands twice in an object")
    return found


def finite(value: Any) -> Any:
    """The same value, with None where a number is infinite or none at all: a loss that was lost, say."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
