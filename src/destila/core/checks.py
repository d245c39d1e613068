"""What the numbers of a library call must be, said in one way. A boolean is no number here; numpy's numbers are."""

import math
from numbers import Integral, Real
from typing import Any

from destila.core.errors import UserError


def whole_number(where: str, value: Any, *, least: int) -> int:
    """A whole number.

    Raises:
        UserError: it is none, or below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise UserError(where, f"is {value!r}", f"Make it a whole number of {least} or more.")
    return int(value)


def is_finite(value: Any) -> bool:
    """Whether it is a number, and neither NaN nor too large for one."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False
