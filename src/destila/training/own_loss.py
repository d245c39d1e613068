"""The research seam: a loss function of the user's own, by name or as an object, and what is checked of it.

A loss function takes the student and a `losses.TorchBatch` and returns a `losses.Loss`. The terms should be means over
rows: then micro-batches and processes give the gradient of the whole batch.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from destila.core.errors import UserError
from destila.training.losses import Loss, TorchBatch

LossFunction = Callable[[Any, TorchBatch], Loss]
FORM = "Give package.module:function, such as examples.own_loss:loss."
# What the loop writes into metrics.jsonl itself, besides the scores on dev, which begin with "dev_".
TAKEN = {"step", "epoch", "loss", "learning_rate", "gradient_norm", "tokens_per_second", "waiting", "utilization"}


def name_of(function: LossFunction) -> str:
    """What settings.toml calls a function that was given as an object; `load_loss` reads it, unless it is local."""
    kind = function if hasattr(function, "__qualname__") else type(function)
    return f"{kind.__module__}:{kind.__qualname__}"


def load_loss(name: str) -> LossFunction:
    """The function of a name, "package.module:function"; modules are also looked for in the working directory.

    Raises:
        UserError: the name has another form, the module cannot be imported, or it has no such function.
    """
    where, (module_name, _, attribute) = "loss.function", name.partition(":")
    if not module_name or not attribute:
        raise UserError(where, f"{name!r} is not the name of a function", FORM)
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # whatever a user's module raises
        problem = f"{name!r}: importing {module_name} fails ({type(error).__name__}: {error})"
        raise UserError(
            where, problem, "Mend it, or name a module of the working directory or the installation."
        ) from error
    finally:
        sys.path.remove(str(Path.cwd()))
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UserError(where, f"{name!r}: {module_name} has no {attribute}", FORM)
        found = getattr(found, part)
    if not callable(found):
        raise UserError(where, f"{name!r} is {type(found).__name__}, which cannot be called", FORM)
    return found  # type: ignore[no-any-return]


class OwnLoss(nn.Module):
    """A loss function whose results are checked; the parameters of one that is a module are trained, too."""

    def __init__(self, function: LossFunction, *, name: str) -> None:
        super().__init__()
        self.function, self.name = function, name

    def forward(self, student: Any, batch: TorchBatch) -> Loss:
        """The loss of a batch.

        Raises:
            UserError: the function returned something else than a `Loss`, or a part under a name that is taken.
        """
        loss = self.function(student, batch)
        if problem := _problem(loss):
            remedy = "Return destila.training.losses.Loss(total, parts): a scalar with a gradient, and scalars by name."
            raise UserError("loss.function", f"{self.name} returned {problem}", remedy)
        return loss


def _problem(loss: Any) -> str:
    """What is wrong with what a loss function returned; empty if nothing is."""
    total, parts = getattr(loss, "total", None), getattr(loss, "parts", None)
    if not isinstance(total, Tensor) or not isinstance(parts, dict):
        return f"{type(loss).__name__}, not a Loss"
    if total.shape != torch.Size() or (torch.is_grad_enabled() and not total.requires_grad):
        return f"a total of shape {tuple(total.shape)} {'with' if total.requires_grad else 'without'} a gradient"
    if odd := [name for name in parts if not isinstance(name, str)]:
        return f"a part under {odd[0]!r}, which is no text"
    wrong = [name for name, part in parts.items() if not isinstance(part, Tensor) or part.dim()]
    if wrong:
        return f"the part {wrong[0]!r}, which is no scalar tensor"
    taken = [name for name in parts if name in TAKEN or name.startswith("dev_")]
    return f"a part under {taken[0]!r}, a name that the training loop writes under" if taken else ""
