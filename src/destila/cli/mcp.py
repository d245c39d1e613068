"""`destila mcp`: load a reader and answer agents over the Model Context Protocol."""

from destila.config import McpSettings
from destila.integrations.mcp import serve


def run(settings: McpSettings) -> None:
    """Serve until standard input ends or a signal comes; over HTTP, print the address.

    Raises:
        UserError: as `destila.integrations.mcp.serve` does.
    """
    serve(settings, ready=lambda url: print(url, flush=True))
