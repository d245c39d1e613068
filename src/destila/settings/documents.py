"""Settings of reading files and folders."""

from typing import Annotated

from annotated_types import Ge

from destila.settings.types import Count, Positive, settings


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
class FolderSettings:
    """How a folder is searched for passages to read."""

    passages: Count = 20
    """Passages that the model reads for a question, best first."""
    passage_characters: Annotated[int, Ge(200)] = 1200
    """Most characters of a passage; about 1200 fill a window of 384 tokens."""
    cache: str | None = None
    """Directory of the cache of texts and indexes; none: $DESTILA_CACHE, else ~/.cache/destila."""
