"""Settings of the server."""

from dataclasses import field
from typing import Annotated

from annotated_types import Ge, Le

from destila.config.answer import AnsweringSettings
from destila.config.documents import UploadSettings
from destila.config.fields import Count, Positive, settings, strings

Port = Annotated[int, Ge(0), Le(65535)]


@settings
class LimitSettings:
    """What one request may ask for."""

    body_bytes: Count = 2_000_000
    """Bytes of a request's body; over it 413."""
    question_characters: Count = 1_000
    """Characters of a question; over it 422, as for the limits below."""
    context_characters: Count = 200_000
    """Characters of a context."""
    pairs: Count = 64
    """Questions times contexts of a request."""
    windows: Count = 2_048
    """Model inputs that a request may be cut into."""
    top_k: Count = 20
    """Answers to a question."""


@settings
class QueueSettings:
    """How requests wait and run together."""

    batch_tokens: Count = 4_096
    """Tokens that the model runs at once, taken from waiting requests in turn; 1: no batching."""
    requests: Count = 256
    """Requests that may be open at once; over it 503 with Retry-After."""
    windows: Count = 8_192
    """Model inputs that may wait; over it 503 with Retry-After."""
    connections: Count = 1_024
    """Requests that may be open before their bodies have arrived, too; over it 503."""
    timeout: Positive = 30.0
    """Seconds to answer a request; over it 504."""
    body_timeout: Positive = 10.0
    """Seconds for a request's body to arrive; over it 408. So long may its head and the reading of its answer take."""


@settings
class ServeSettings(AnsweringSettings):
    """Answer questions over HTTP, with a page for people at /."""

    model: str | None = None
    """Local directory or hub id; none: the bundled model."""
    revision: str | None = None
    """Commit of the hub repository."""
    host: str = "127.0.0.1"
    """Address to listen at; the default is reached from this machine alone, 0.0.0.0 from everywhere."""
    port: Port = 8000
    """Port to listen at; 0: any free one."""
    open: bool = False
    """Open the page in this machine's browser."""
    api_key_file: str | None = None
    """File with the key that requests must bring (Authorization: Bearer KEY); none: no key is needed."""
    cors_origins: list[str] = strings()
    """Sites whose pages may ask this server from a visitor's browser (https://example.org), or *; none: no other."""
    log_text: bool = False
    """Write questions into the log, too; without this no text of a user is ever logged."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """What one request may ask for."""
    queue: QueueSettings = field(default_factory=QueueSettings)
    """How requests wait and run together."""
    documents: UploadSettings = field(default_factory=UploadSettings)
    """What a file that is sent to /v1/document may cost."""
