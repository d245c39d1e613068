"""Settings of the server for agents."""

from dataclasses import field
from typing import Literal

from destila.config.answer import AnsweringSettings
from destila.config.documents import DocumentSettings, FolderSettings
from destila.config.fields import settings, strings
from destila.config.serve import LimitSettings, Port


@settings
class McpSettings(AnsweringSettings):
    """Answer the questions of agents: tools over the Model Context Protocol."""

    root: list[str] = strings()
    """Folder that agents may have read, with all below it; may be given several times. None: given texts only."""
    model: str | None = None
    """Local directory or hub id; none: the bundled model."""
    revision: str | None = None
    """Commit of the hub repository."""
    transport: Literal["stdio", "http"] = "stdio"
    """stdio: the agent's program starts this command; http: agents connect to host and port (Streamable HTTP)."""
    host: str = "127.0.0.1"
    """Address to listen at; the default is reached from this machine alone, 0.0.0.0 from everywhere."""
    port: Port = 8001
    """Port to listen at; 0: any free one."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    """What one request may ask for."""
    documents: DocumentSettings = field(default_factory=DocumentSettings)
    """What reading one file may cost."""
    folder: FolderSettings = field(default_factory=FolderSettings)
    """How a folder is searched."""
