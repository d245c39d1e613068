"""`destila export`: a reader -> a directory that answers without torch, proven equal or nearly equal."""

from collections.abc import Iterator

from destila.cli.result import only_results, show
from destila.config import ExportSettings
from destila.core.formatting import size
from destila.core.language import say
from destila.export.export import Exported, export
from destila.reporting.card import write_card


def run(settings: ExportSettings) -> None:
    """Export, write the card, and print what was written and what it cost."""
    with only_results():
        made = export(settings=settings)
    if made.format != "web":
        write_card(made.path)
    sizes = {"precision": made.precision, "output": str(made.path), "format": made.format, "bytes": made.bytes}
    show({**made.checks, **sizes}, "\n".join(map(say, _lines(made))), json=settings.json)


def _lines(made: Exported) -> Iterator[str]:
    """What was written, in words."""
    yield f"{made.path}: {made.format}, {made.precision}, {size(made.bytes)}"
    if "parity" in made.checks:
        yield f"largest difference from torch: {made.checks['parity']:.1e}"
    if scores := made.checks.get("scores"):
        before, after = scores["before"], scores["after"]
        yield (
            f"{scores['n']:,} questions: F1 {before['f1']:.2f} -> {after['f1']:.2f}, "
            f"EM {before['em']:.2f} -> {after['em']:.2f}"
        )
    if made.format == "web":
        yield f"Try it: python3 -m http.server --directory {made.path}"
