"""Documents: text, Markdown, HTML, PDF and Word files as exact texts, and folders of them as something to ask.

`document` what a text is, `reading` from a file to it, `sandbox` and `parsing` how hostile files stay harmless;
`walking` the files of a folder, `library` their texts in a cache, `passages` and `ranking` what to read first. The
parsers are the extra `documents`, imported only where they run.
"""

from destila.documents.document import KINDS, Document, DocumentError
from destila.documents.reading import parse_document, read_document

__all__ = ["KINDS", "Document", "DocumentError", "parse_document", "read_document"]
