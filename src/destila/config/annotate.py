"""Settings of `destila annotate`: what a person is shown, and where the questions go."""

from typing import ClassVar

from destila.config.fields import Count, CountOrZero, positional, settings
from destila.config.generate import GenerationSettings
from destila.config.serve import Port


@settings
class AnnotateSettings(GenerationSettings):
    """Mark questions and answers in documents, on a page for this machine only."""

    OFTEN: ClassVar[tuple[str, ...]] = (
        "folder",
        "output",
        "suggestions",
        "suggest",
        "blind",
        "goal",
        "max_passages",
        "port",
        "open",
        "agreement",
        "json",
    )

    folder: str = positional(default="")
    """Folder of documents (.txt, .md, .html, .pdf, .docx); none: the passages of the suggestions."""
    output: str = ""
    """File to write, SQuAD JSON (.json), whole after every step; the same command goes on with it."""
    suggestions: str | None = None
    """File of questions to decide about; none: they are made as destila data generate does, and kept beside the output
    (NAME.suggestions.json)."""
    suggest: bool = True
    """Make questions to decide about, where no file of them is given; false: you write all of them."""
    blind: bool = False
    """Hide the suggested answers: what a second person marks says how sure the first is."""
    goal: Count = 50
    """Questions to reach, for the progress shown."""
    max_passages: CountOrZero = 60
    """Show so many passages, evenly spread over the documents; 0: all."""
    reader: str | None = None
    """Reader that must find the same answers as are suggested; a local directory or hub id; none: the bundled model."""
    port: Port = 8001
    """Port of 127.0.0.1 to listen at; 0: any free one."""
    open: bool = False
    """Open the page in this machine's browser."""
    agreement: str | None = None
    """Serve no page: compare the output with this file of another person."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""
