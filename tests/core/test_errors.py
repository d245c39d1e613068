"""The one exception that users see."""

import pytest

from destila.core.errors import UserError


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        ("is empty", "x: is empty. Fill it."),
        ("is empty.", "x: is empty. Fill it."),
        ("no verb; did you mean y?", "x: no verb; did you mean y? Fill it."),
    ],
)
def test_where_what_and_what_to_do(problem: str, expected: str) -> None:
    assert str(UserError("x", problem, "Fill it.")) == expected


def test_without_a_remedy() -> None:
    assert str(UserError("x", "is empty")) == "x: is empty."


def test_many_problems_are_counted_and_ten_are_shown() -> None:
    text = str(UserError.from_problems("x", [f"problem {n}" for n in range(1, 14)], "Mend them."))
    assert text.startswith("x: 13 problems:\n  - problem 1\n")
    assert "problem 10\n  - and 3 more" in text
    assert text.endswith("\nMend them.")
    assert str(UserError.from_problems("x", ["is odd"], "Mend it.")) == "x: is odd. Mend it."
