"""The socket that a server listens at, opened before the server starts: a taken port is a message of ours."""

import ipaddress
import socket

from destila.core.errors import UserError


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        UserError: the address cannot be listened at.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        problem = f"cannot be listened at ({error.strerror})"
        raise UserError(f"{host}:{port}", problem, "Choose another --host or --port.") from None
    return listener


def url_of(listener: socket.socket) -> str:
    """The address, as a browser takes it: `http://127.0.0.1:8000/`."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def is_loopback(listener: socket.socket) -> bool:
    """Whether this machine alone can reach it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback
