"""Numbers and tables as text."""

from typing import Any

import pytest

from destila.core.formatting import markdown_table, with_interval


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((31.456, (28.0, 35.999)), "31.46 [28.00, 36.00]"),
        ((-0.5, (-1.25, 0.25), "+"), "-0.50 [-1.25, +0.25]"),
        ((31.456, (28.0, 35.999), "+", 1), "+31.5 [+28.0, +36.0]"),
    ],
)
def test_an_interval_has_the_digits_of_its_value(arguments: tuple[Any, ...], expected: str) -> None:
    value, interval, *rest = arguments
    assert with_interval(value, interval, **dict(zip(("sign", "digits"), rest, strict=False))) == expected


def test_a_markdown_table_says_which_columns_stand_to_the_right() -> None:
    lines = markdown_table(["a", "b"], [["x", "1"], ["y", "22"]], right=[1]).splitlines()
    assert lines == ["| a | b |", "| --- | ---: |", "| x | 1 |", "| y | 22 |"]
