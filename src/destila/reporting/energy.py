"""What training may have used: time times an assumed power, because nobody measured it.

Invariant: an estimate carries its assumption, and there is none where time or power is unknown.
"""

from dataclasses import dataclass

from destila.reporting.provenance import Provenance

WATTS_PER_CORE = 12.0  # of a processor whose kind is not known, at full load
# Board power from the makers' data sheets, in watts; the first name that fits counts.
BOARD_WATTS = {"H200": 700, "H100": 700, "A100": 400, "L40S": 350, "L4": 72, "RTX 4090": 450, "T4": 70, "V100": 300}


@dataclass(frozen=True, slots=True)
class Energy:
    """An estimate, not a measurement: time times an assumed power."""

    watts: float  # assumed power while training
    kilowatt_hours: float  # the estimate
    assumption: str  # what it rests on, as a sentence


def estimate_energy(run: Provenance, *, watts: float = 0.0) -> Energy | None:
    """What the training of one run may have used, its ancestors not included; None where its time is unknown.

    Args:
        watts: power while training; 0: board power of the graphics card, else 12 W for each processor core.
    """
    if run.seconds is None:
        return None
    assumed, assumption = (watts, f"{watts:g} W, as given") if watts else _assumed_watts(run)
    if not assumed:
        return None
    assumption += "; full load all the time, and nothing for cooling, disks or the rest of the machine"
    return Energy(assumed, assumed * run.seconds / 3.6e6, assumption)


def _assumed_watts(run: Provenance) -> tuple[float, str]:
    for name, watts in BOARD_WATTS.items():
        if name in run.device:
            return float(watts), f"{watts} W, the board power of one {run.device} by its data sheet"
    if run.device not in ("", "cpu"):
        return 0.0, ""
    cores = int(run.environment.get("cores") or 0)
    return WATTS_PER_CORE * cores, f"{WATTS_PER_CORE:g} W for each of {cores} processor cores"
