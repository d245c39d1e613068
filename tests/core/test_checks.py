"""What counts as a number in a library call."""

import numpy as np
import pytest

from destila.core.checks import is_finite, whole_number
from destila.core.errors import UserError


@pytest.mark.parametrize("value", [1, 7, np.int64(3), np.uint8(2), 10**30])
def test_whole_numbers_pass_as_plain_ones(value: object) -> None:
    found = whole_number("top_k", value, least=1)
    assert found == value
    assert type(found) is int


@pytest.mark.parametrize("value", [0, -1, "3", 2.0, np.float64(2), True, np.True_, None, [1], float("nan"), b"1"])
def test_anything_else_is_named_with_what_it_is(value: object) -> None:
    with pytest.raises(UserError) as caught:
        whole_number("top_k", value, least=1)
    assert str(caught.value) == f"top_k: is {value!r}. Make it a whole number of 1 or more."


@pytest.mark.parametrize("value", [0, -3, 0.5, np.float32(1.5), np.int8(1)])
def test_finite_numbers(value: object) -> None:
    assert is_finite(value)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), np.float32("-inf"), np.nan, 10**400, True, "1", None, 1j]
)
def test_what_is_no_finite_number(value: object) -> None:
    assert not is_finite(value)
