"""`destila serve`: load a reader and answer over HTTP until a signal comes; what was accepted is answered first."""

import contextlib
import ipaddress
import logging
import math
import re
import socket
import sys
import webbrowser
from typing import Any

from destila.config import ServeSettings
from destila.core.cpus import thread_count
from destila.core.errors import UserError
from destila.inference.reader import Reader, name_of, place_of

ORIGIN = re.compile(r"https?://[^/\s?#@]+")
WARM_UP = ("¿Qué es?", "Una prueba.")


def run(settings: ServeSettings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        UserError: the server is not installed, the settings contradict each other, the model or the key cannot be
            read, or the address is taken.
    """
    try:
        from destila.serving.app import create_app
        from destila.serving.connections import drop_who_does_not_read
        from destila.serving.middleware import read_key
        from destila.serving.model_process import ModelProcess
    except ImportError as error:
        remedy = "Install the server: pip install 'destila[serve]'."
        raise UserError("destila serve", f"needs {error.name}, which is missing", remedy) from error
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
        )
        reader.answer(*WARM_UP)  # the first run of a model is the slowest, and shows whether it works at all
        _log_to(sys.stderr)
        with _listen(settings) as listener:
            drop_who_does_not_read(listener, settings.queue.body_timeout)
            url = _announce(listener, guarded=key is not None)
            if settings.open:
                webbrowser.open(url)  # the listener already takes connections; they wait for the server
            make_server(create_app(reader, settings, key=key), settings).run(sockets=[listener])


def make_server(app: Any, settings: ServeSettings) -> Any:
    """A uvicorn server that adds nothing to what `destila.serving` decides."""
    import uvicorn

    from destila.serving.connections import protocol

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


def _log_to(stream: Any) -> None:
    from destila.serving.middleware import JsonFormatter

    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    serving = logging.getLogger("destila.serving")
    serving.addHandler(handler)
    serving.propagate = False  # else what the command line shows of other messages would show these once more


def _listen(settings: ServeSettings) -> socket.socket:
    """A listening socket; opened here so that a taken port is a message and no trace of the server's insides."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        problem = f"cannot be listened at ({error.strerror})"
        raise UserError(f"{settings.host}:{settings.port}", problem, "Choose another --host or --port.") from None
    return listener


def _announce(listener: socket.socket, *, guarded: bool) -> str:
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    print(url, flush=True)
    if not guarded and not ipaddress.ip_address(host).is_loopback:
        warning = "every machine that reaches this address can ask questions; --api-key-file asks for a key"
        logging.getLogger("destila.serving").warning(warning)
    return url
