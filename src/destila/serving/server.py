"""From settings to a running server: the model in its process, a reader, a listening socket."""

import contextlib
import logging
import math
import re
from collections.abc import Callable
from typing import Any

import uvicorn

from destila.config import ServeSettings
from destila.core.cpus import thread_count
from destila.core.errors import UserError
from destila.core.listening import is_loopback, listen, url_of
from destila.inference.places import name_of, place_of
from destila.inference.reader import Reader
from destila.serving.app import create_app
from destila.serving.connections import drop_who_does_not_read, protocol
from destila.serving.middleware import JsonFormatter, read_key
from destila.serving.model_process import ModelProcess

LOG = logging.getLogger("destila.serving")
ORIGIN = re.compile(r"https?://[^/\s?#@]+")
WARM_UP = ("¿Qué es?", "Una prueba.")


def serve(settings: ServeSettings, *, ready: Callable[[str], None]) -> None:
    """Load a reader and answer over HTTP until SIGINT or SIGTERM; what was accepted is answered first.

    Args:
        ready: told the address once it takes connections; they wait for the server.

    Raises:
        UserError: the settings contradict each other, the model or the key cannot be read, or the address is taken.
    """
    _check(settings)
    key = read_key(settings.api_key_file) if settings.api_key_file else None
    place, options = place_of(settings.model), {"backend": settings.backend, "revision": settings.revision}
    threads = thread_count(settings.threads)  # here, for what it says: the model's process says nothing
    with contextlib.closing(ModelProcess({"name": place, "threads": threads, **options})) as model:
        reader = Reader.of(
            model.loaded,
            name=model.loaded.location.label if settings.model else name_of(None),
            must_answer=settings.must_answer,
            no_answer_threshold=settings.no_answer_threshold,
            max_error=settings.max_error,
        )
        reader.answer(*WARM_UP)  # the first run of a model is the slowest, and shows whether it works at all
        with listen(settings.host, settings.port) as listener:
            drop_who_does_not_read(listener, settings.queue.body_timeout)
            ready(url_of(listener))
            if key is None and not is_loopback(listener):
                LOG.warning("every machine that reaches this address can ask questions; --api-key-file asks for a key")
            make_server(create_app(reader, settings, key=key), settings).run(sockets=[listener])


def log_to(stream: Any) -> None:
    """Write the log of the server, a JSON object a line."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    LOG.addHandler(handler)
    LOG.propagate = False  # else what the command line shows of other messages would show these once more


def make_server(app: Any, settings: ServeSettings) -> Any:
    """A uvicorn server that adds nothing to what `destila.serving` decides."""
    config = uvicorn.Config(
        app,
        http=protocol(settings.queue.body_timeout),
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=16_384,
        # By then every open request is answered or refused; only clients that do not read are left.
        timeout_graceful_shutdown=math.ceil(
            max(settings.queue.body_timeout, settings.documents.arrival) + settings.queue.timeout
        )
        + 5,
    )
    return uvicorn.Server(config)


def _check(settings: ServeSettings) -> None:
    if settings.limits.windows > settings.queue.windows:
        problem = f"a request may have {settings.limits.windows} windows, but only {settings.queue.windows} may wait"
        raise UserError("limits.windows", problem, "Lower it, or raise queue.windows.")
    wrong = [origin for origin in settings.cors_origins if origin != "*" and not ORIGIN.fullmatch(origin)]
    if wrong:
        problems = [f"{origin!r} is no origin, as browsers name the site of a page" for origin in wrong]
        raise UserError.from_problems("cors_origins", problems, "Give scheme and host: https://example.org, or *.")
