"""What the training loop is given: a student, a loss function, rows, and how to judge and save the student.

The research seam is `Task.loss_fn`: any function (student, batch) -> Loss whose terms are means over rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

Row = TypeVar("Row")
Row_co = TypeVar("Row_co", covariant=True)


class Loss(Protocol):
    """What a loss function returns (see `destila.training.losses.Loss`)."""

    @property
    def total(self) -> Tensor: ...
    @property
    def parts(self) -> Mapping[str, Tensor]: ...


class Batches(Protocol[Row_co]):
    """Rows as a pure function of the step."""

    @property
    def steps_per_epoch(self) -> int: ...
    def at(self, step: int) -> Sequence[Row_co]: ...


@dataclass(frozen=True)
class TrainingResult:
    """How training ended.

    Attributes:
        path: directory of the run; when it has finished, of the model, too.
        steps: optimizer steps done.
        best_step: step of the best evaluation; 0 if there was none.
        best_score: its F1 in percent.
        signal: the signal that interrupted training, if one did.
        finished: whether training came to its end; if not, everything is saved, and `resume` goes on.
        earlier: how the stages before this one ended, where there were several.
    """

    path: Path
    steps: int
    best_step: int
    best_score: float | None
    signal: int | None = None
    finished: bool = True
    earlier: "tuple[TrainingResult, ...]" = ()


@dataclass
class Position:
    """How far training is; with weights and optimizer, all that a checkpoint holds."""

    step: int = 0
    best_step: int = 0
    best_score: float | None = None
    seconds: float = 0.0  # spent on steps, over all calls, but for the first step of each, which compiles and warms up


class Objective(nn.Module):
    """Student and loss function as one module: data parallelism then sees all parameters and one forward pass."""

    def __init__(self, student: nn.Module, loss_fn: Callable[[nn.Module, Any], Loss]) -> None:
        super().__init__()
        self.student, self.loss_fn = student, loss_fn

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch and its parts."""
        loss = self.loss_fn(self.student, batch)
        return loss.total, dict(loss.parts)


@dataclass(frozen=True)
class Task(Generic[Row]):
    """What is trained, on what, and how it is judged and saved."""

    student: nn.Module
    # (student, batch) -> Loss, every term a mean over rows; the parameters of a module are trained too
    loss_fn: Callable[[nn.Module, Any], Loss]
    batches: Batches[Row]
    collate: Callable[[Sequence[Row], torch.device], Any]  # rows and device -> batch
    # writes the student, and the scores that it had, as a loadable model into an existing directory
    save: Callable[[nn.Module, Path, Mapping[str, Any]], None]
    # student -> scores; the one named by `criterion` chooses the best checkpoint. None: no evaluation.
    evaluate: Callable[[nn.Module], Mapping[str, Any]] | None = None
    criterion: str = "f1"  # the score that is to be large
    tokens_per_row: int = 0  # where all rows are equally long: speed is reported, and compiling pays. 0: they are not.
    flops_per_token: float = 0.0  # floating-point operations of a training step, by token; 0: unknown
