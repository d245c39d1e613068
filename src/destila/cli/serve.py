"""`destila serve`: load a reader and answer over HTTP until a signal comes; what was accepted is answered first."""

import sys
import webbrowser

from destila.config import ServeSettings
from destila.core.errors import UserError


def run(settings: ServeSettings) -> None:
    """Serve until SIGINT or SIGTERM, and print the address.

    Raises:
        UserError: the server is not installed, or as `destila.serving.server.serve` does.
    """
    try:
        from destila.serving.server import log_to, serve
    except ImportError as error:
        remedy = "Install the server: pip install 'destila[serve]'."
        raise UserError("destila serve", f"needs {error.name}, which is missing", remedy) from error

    def ready(url: str) -> None:
        log_to(sys.stderr)
        print(url, flush=True)
        if settings.open:
            webbrowser.open(url)

    serve(settings, ready=ready)
