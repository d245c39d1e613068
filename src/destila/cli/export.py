"""`destila export`: a reader -> a directory that answers without torch, proven equal or nearly equal."""

import sys

from destila.config import ExportSettings
from destila.core.language import say
from destila.core.strict_json import dumps
from destila.export.export import export
from destila.reporting.card import write_card


def run(settings: ExportSettings) -> None:
    """Export, write the card, and print what was written as one JSON object."""
    made = export(settings=settings)
    if made.format == "web":
        print(say(f"Try it: python3 -m http.server --directory {made.path}"), file=sys.stderr)
    else:
        write_card(made.path)
    sizes = {"precision": made.precision, "output": str(made.path), "format": made.format, "bytes": made.bytes}
    print(dumps({**made.checks, **sizes}))
