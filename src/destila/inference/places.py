"""Where a reader lies and what it is called, also if nobody named one: then the bundled model is meant."""

from os import PathLike
from pathlib import Path

from destila.core.errors import UserError
from destila.core.model_files import ONNX_FILE
from destila.inference.questions import shown
from destila.models.hub import locate

SHIPPED = Path(__file__).parent / "shipped"  # the reader that comes with the package: an int8 ONNX export
SHIPPED_NAME = "the bundled model"  # in messages and reports; where it lies depends on the installation


def place_of(model: str | Path | None) -> str:
    """The directory or hub id to load; None: where the bundled model lies.

    Raises:
        UserError: it is no name, or this installation has no such reader.
    """
    if model is not None and not isinstance(model, str | PathLike):
        raise UserError("model", f"is {shown(model)}", "Give a directory or a hub id.")
    if model is None and not (SHIPPED / ONNX_FILE).is_file():
        problem = f"is missing from this installation (no {ONNX_FILE} in {SHIPPED})"
        raise UserError(SHIPPED_NAME, problem, "Install a release of destila, or name another reader with --model.")
    return str(SHIPPED if model is None else model)


def directory_of(model: str | Path | None, revision: str | None = None) -> Path:
    """Where the files of a model lie, fetched if need be; None: of the bundled model."""
    return locate(place_of(model), revision).directory


def name_of(model: str | Path | None) -> str:
    """What to call it in messages and reports."""
    return SHIPPED_NAME if model is None else str(model)
