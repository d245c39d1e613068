"""Settings of reading files and folders."""

from typing import Annotated

from annotated_types import Ge

from destila.config.fields import Count, Positive, settings


@settings
class DocumentSettings:
    """What reading one file may cost; a file beyond is refused."""

    file_bytes: Count = 100_000_000
    """Bytes of a file."""
    characters: Count = 20_000_000
    """Characters of its text."""
    seconds: Positive = 60.0
    """Seconds to parse it."""
    memory_bytes: Annotated[int, Ge(100_000_000)] = 1_000_000_000
    """Bytes of memory to parse it."""


@settings
class UploadSettings(DocumentSettings):
    """What a file that is sent to the server may cost."""

    file_bytes: Count = 20_000_000
    """Bytes of a file; over it 413."""
    characters: Count = 2_000_000
    """Characters of its text; over it 422, as for the limits below."""
    seconds: Positive = 20.0
    """Seconds to parse it."""
    memory_bytes: Annotated[int, Ge(100_000_000)] = 600_000_000
    """Bytes of memory to parse it."""
    at_once: Count = 2
    """Files that are parsed at once, each in a process of its own."""
    open: Count = 16
    """Files that may be in the server, arriving or waiting; over it 503 with Retry-After."""
    arrival: Positive = 60.0
    """Seconds for a file to arrive; over it 408."""


@settings
class FolderSettings:
    """How a folder is searched for passages to read."""

    passages: Count = 20
    """Passages that the model reads for a question, best first."""
    passage_characters: Annotated[int, Ge(200)] = 1200
    """Most characters of a passage; about 1200 fill a window of 384 tokens."""
    cache: str | None = None
    """Directory of the cache of texts and indexes; none: $DESTILA_CACHE, else ~/.cache/destila."""
