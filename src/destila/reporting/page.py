"""The report as one HTML file that asks the network for nothing.

Mental model: the template walks the blocks of a `Document`; jinja2 escapes every text, pictures are whole SVG elements
that `destila.reporting.svg` built as XML, and style and script stand inside. Invariant: no address outside of the
page is in it, and a Content-Security-Policy that knows style and script by their digests forbids everything else, so
that nothing that came with the data could run even if it got through. This module computes no number.
"""

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from destila.evaluation.errors import KINDS, VERSUS
from destila.reporting.document import Block, Document

FILES = Path(__file__).parent / "page"


def render(document: Document) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(FILES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["kind"] = _block_kind
    environment.filters["drawn"] = Markup  # an SVG element, escaped where it was built
    style, script = ((FILES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return environment.get_template("report.html").render(
        document=document,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
        kinds=KINDS,
        versus=VERSUS,
    )


def _block_kind(block: Block) -> str:
    """The name of a block's class: which macro draws it."""
    return type(block).__name__


def _policy(style: str, script: str) -> str:
    allowed = {"style-src": style, "script-src": script}
    parts = [f"{name} 'sha256-{_digest(text)}'" for name, text in allowed.items()]
    return "; ".join(["default-src 'none'", *parts, "base-uri 'none'", "form-action 'none'"])


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
