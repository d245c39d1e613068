"""Connections that waste no place: what uvicorn leaves unlimited in time is limited here.

Mental model: a connection waits for the head of a request, then for its body, then for its answer to be read. The body
is the gate's business; here a connection whose head is late is closed, and the system is told to drop one whose client
does not read. Invariant: no client holds a connection for ever without being served.
"""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


def protocol(seconds: float) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 with a limit on the time that the head of a request may take.

    Args:
        seconds: from the opening of the connection, or the first byte of a later request, to the end of its head.
    """

    class TimedProtocol(H11Protocol):
        late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._await_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:
                self._await_head()
            else:
                self._stop()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _await_head(self) -> None:
            if self.late is None:  # the time runs on while bytes drip in
                self.late = self.loop.call_later(seconds, self.transport.close)

        def _stop(self) -> None:
            if self.late is not None:
                self.late.cancel()
                self.late = None

    return TimedProtocol


def drop_who_does_not_read(listener: socket.socket, seconds: float) -> None:
    """Let the system break connections of this listener whose client takes no bytes for so long (Linux)."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))
