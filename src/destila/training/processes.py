"""The processes that train together, their device and their arithmetic: all that is asked of accelerate's state.

Mental model: accelerate keeps one state in a Python process, and the first call decides on device and precision for all
that follow. A run is to depend on its own settings alone, so the state is made anew for it, as transformers' Trainer
does.
"""

from contextlib import AbstractContextManager

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState

from destila.config import TrainingSettings
from destila.core.errors import UserError


def is_main_process() -> bool:
    """Whether this process is the one that writes and speaks."""
    return bool(PartialState().is_main_process)


def main_process_first(settings: TrainingSettings) -> AbstractContextManager[None]:
    """In this block the main process goes first, and the others find what it made."""
    first: AbstractContextManager[None] = _state(settings).main_process_first()
    return first


def device_of(settings: TrainingSettings) -> torch.device:
    """Where training runs."""
    return torch.device(_state(settings).device)


def accelerator_of(settings: TrainingSettings) -> Accelerator:
    """What spreads a run over processes, on the device and in the precision of its settings.

    Raises:
        UserError: the precision does not work here.
    """
    _state(settings)
    AcceleratorState._reset_state()  # accelerate has no public way
    precision = settings.precision
    try:
        return Accelerator(mixed_precision="no" if precision == "fp32" else precision)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            "training.precision", f"{precision} does not work here ({error})", "Use bf16 or fp32."
        ) from error


def _state(settings: TrainingSettings) -> PartialState:
    """The state of this process, on the device of the settings."""
    on_cpu = settings.device == "cpu"
    state = PartialState(cpu=on_cpu)
    if state._cpu != on_cpu:  # decided by a run before
        AcceleratorState._reset_state(reset_partial_state=True)
        state = PartialState(cpu=on_cpu)
    return state
