"""The decorator and the number types that every settings class is made with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

from annotated_types import Ge, Gt, Le, Lt

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Lt(1)]
Share = Annotated[float, Ge(0), Le(1)]
Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]  # a step's own seed is a product of it and must fit 64 bits
Precision = Literal["fp32", "bf16", "fp16"]
ThresholdCriterion = Literal["f1", "equal-errors"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """A frozen dataclass that refuses unknown keys, NaN and infinite numbers when it is resolved."""
    cls.__pydantic_config__ = {"extra": "forbid", "allow_inf_nan": False}  # type: ignore[attr-defined]
    return dataclass(frozen=True)(cls)


def positional(**keywords: Any) -> Any:
    """A field that the command line takes by position."""
    return field(metadata={"positional": True}, **keywords)


def strings() -> Any:
    """A list of strings, empty unless given."""
    factory: Callable[[], list[str]] = list
    return field(default_factory=factory)
