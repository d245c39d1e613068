"""Documents: text, Markdown, HTML, PDF and Word files as exact texts, and folders of them as something to ask.

`document` what a text is, `open` from a file to it, `sandbox` and `parsers` how hostile files stay harmless;
`files` the files of a folder, `cache` their texts in a cache, `destila.data.sentences` and `index` what to read first.
The parsers are the extra `documents`, imported only where they run.
"""

from destila.inference.documents.document import KINDS, Document, DocumentError
from destila.inference.documents.open import parse_document, read_document

__all__ = ["KINDS", "Document", "DocumentError", "parse_document", "read_document"]
