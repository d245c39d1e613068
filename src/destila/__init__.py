"""Destila distills a large Spanish reader into a small one and answers questions with it.

>>> from destila import Reader
>>> reader = Reader.load("runs/student")                # doctest: +SKIP
>>> reader.answer("¿Quién fundó la ciudad?", context)   # doctest: +SKIP

Importing this package loads neither torch nor transformers; names are fetched when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from destila.core.errors import UserError
    from destila.core.records import Answer, Example, Prediction, Report
    from destila.inference.reader import Reader
    from destila.integrations.transformers_pipeline import pipeline

__all__ = ["Answer", "Example", "Prediction", "Reader", "Report", "UserError", "pipeline"]

_HOME = {
    "UserError": "core.errors",
    "Reader": "inference.reader",
    "pipeline": "integrations.transformers_pipeline",
    "Answer": "core.records",
    "Example": "core.records",
    "Prediction": "core.records",
    "Report": "core.records",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"destila.{_HOME[name]}"), name)
    if name == "__version__":
        return import_module("destila.core.runs").destila_version()
    raise AttributeError(f"module 'destila' has no attribute {name!r}")
