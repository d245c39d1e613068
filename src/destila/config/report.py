"""Settings of the command that writes a report."""

from typing import Annotated, Literal

from annotated_types import Ge

from destila.config.fields import Count, CountOrZero, NonNegative, Seed, positional, settings, strings


@settings
class ReportSettings:
    """Write one page about readers: scores, curves, calibration, errors, cost, and how to repeat them."""

    runs: list[str] = positional(default_factory=list)
    """Directories of runs or readers; the report is about the first. None: the bundled model."""
    reference: str = ""
    """Reader that the others are compared with; empty: the first one's teacher if it is here, else the first."""
    data: list[str] = strings()
    """Files or named sources to judge on; empty: those that the first run chose its best checkpoint on."""
    output: str = "runs/report"
    """Directory for report.html, report.md and the predictions."""
    overwrite: bool = False
    """Replace a report that is in `output` already."""
    reuse: bool = False
    """Replace the report in `output`, but take its predictions where they are there instead of asking the readers."""
    title: str = ""
    """Title of the page; empty: made of the reader's name."""
    bench: str | None = None
    """File with what `destila bench --json` prints about these readers; without it the report is silent about speed."""
    normalizer: Literal["squad", "mlqa-es"] = "squad"
    """Rules of everything but the table of scores, which has both."""
    backend: Literal["auto", "torch", "onnx", "openvino"] = "auto"
    """What runs the readers."""
    threads: CountOrZero = 0
    """Threads of the run time; 0: one for each core that this process may use."""
    repair: bool = False
    """Score with mended gold answers, and without those that cannot be mended; false: as they were published."""
    max_examples: CountOrZero = 0
    """Judge on the first so many examples only; 0: on all."""
    max_errors: Count = 500
    """Most errors that the page shows."""
    layer_windows: CountOrZero = 16
    """Windows that the layers of teacher and student are compared on; 0: do not compare them."""
    watts: NonNegative = 0.0
    """Power drawn while training, for the estimate of energy; 0: assumed from the device."""
    seed: Seed = 1
    """Seed of the bootstrap."""
    resamples: Annotated[int, Ge(100)] = 2000
    """Resamples of the bootstrap."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""
