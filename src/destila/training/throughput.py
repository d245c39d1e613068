"""How fast training is, how much of the device it uses, and whether compiling pays.

Mental model: a meter sums seconds, tokens and the seconds spent waiting for rows over the last steps. Utilisation is
the floating-point operations that the model needs, counted by hand, over what the device could do in that time at best
(Chowdhery et al. 2022, model FLOPs utilization); known for the devices in PEAK_FLOPS only.

Invariant: nothing here changes what is computed.
"""

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch

from destila.training.task import Task

STEPS = 50  # that the figures are taken over
# Dense bf16 or fp16 operations a second, from the makers' data sheets; the first name that fits counts.
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "RTX 4090": 165e12}


def compiling_pays(choice: str, device: torch.device, tokens_per_row: int) -> tuple[bool, str]:
    """Whether to compile, and why, to be printed; no reason where nobody would ask."""
    if choice != "auto":
        return choice == "on", f"compiling: training.compile is {choice}"
    if not tokens_per_row:
        return False, ""  # every length would be compiled anew
    if device.type != "cuda":
        return False, "not compiling: on a CPU the kernels are bound by the same matrix products"
    return True, "compiling: rows have one length, so kernels are fused once; the first step takes a minute"


class Meter:
    """Measures the steps of a task.

    Args:
        precision: of the forward pass; the peak is known for 16 bits.
    """

    def __init__(self, task: Task[Any], device: torch.device, *, precision: str) -> None:
        self.tokens_per_row, self.flops_per_token = task.tokens_per_row, task.flops_per_token
        self.peak = _peak(device) if precision != "fp32" else None
        self._steps: deque[tuple[float, float, int]] = deque(maxlen=STEPS)  # seconds, waiting, rows
        self._waited, self._last = 0.0, time.perf_counter()
        self._warm = False

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent in here is time that the device waits for rows."""
        self._last = start = time.perf_counter()
        yield
        self._waited = time.perf_counter() - start

    def step(self, *, rows: int) -> float:
        """A step is over, its losses read. Returns its seconds; 0 for the first, which compiles and warms up."""
        seconds = time.perf_counter() - self._last
        if not self._warm:
            self._warm = True
            return 0.0
        self._steps.append((seconds, self._waited, rows))
        return seconds

    def numbers(self) -> dict[str, float]:
        """For metrics.jsonl; empty where rows differ in length or nothing is measured yet."""
        if not self.tokens_per_row or not self._steps:
            return {}
        seconds, waited, rows = (sum(column) for column in zip(*self._steps, strict=True))
        speed = rows * self.tokens_per_row / seconds
        numbers = {"tokens_per_second": round(speed), "waiting": round(waited / seconds, 4)}
        if self.peak:
            numbers["utilization"] = round(speed * self.flops_per_token / self.peak, 4)
        return numbers

    def shown(self) -> dict[str, str]:
        """The same for people."""
        numbers = self.numbers()
        if not numbers:
            return {}
        shown = {"tokens/s": f"{numbers['tokens_per_second']:,.0f}", "waiting for rows": f"{numbers['waiting']:.1%}"}
        if self.peak:
            shown["of the device"] = f"{numbers['utilization']:.1%}"
        return shown


def device_name(device: torch.device) -> str:
    """The name of a graphics card, else the kind of the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _peak(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    name = device_name(device)
    return next((peak for known, peak in PEAK_FLOPS.items() if known in name), None)
