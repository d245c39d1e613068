"""What stands between the network and the application: identity, limits, secrecy, records.

Mental model: every request goes through one `Gate`. It names the request, asks for the key, reads the whole body
within limits of size and time, runs the application, stops it if the client leaves, and writes one line of log.
Invariants: nothing from a request but its method reaches log or metrics (paths are those of a fixed list, ids are
checked), unless `log_text` asks for the questions; every response carries the security headers; no exception leaves.
"""

import asyncio
import contextlib
import hmac
import logging
import re
import time
import traceback
import uuid
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from destila.config import ServeSettings
from destila.core.errors import UserError
from destila.core.strict_json import dumps, finite
from destila.serving.prometheus import Measures

LOGGER = logging.getLogger("destila.serving")
DOCUMENT = "/v1/document"  # takes whole files, so it has limits of its own
# Where the files of the two pages are served.
SCRIPTS_AND_STYLES = (
    *("language.js", "texts.js", "files.js", "documents.js", "answers.js", "sharing.js", "page.js", "ask.js"),
    *("page.css", "docs.js", "docs.css"),
)
PAGE = {"/": "index.html", "/docs": "docs.html", **{f"/{name}": name for name in SCRIPTS_AND_STYLES}}
PATHS = (*PAGE, "/v1/answer", DOCUMENT, "/health", "/ready", "/info", "/metrics", "/openapi.json")
GUARDED = ("/v1/", "/metrics", "/info")  # what needs the key, if there is one
CLIENT_LEFT = 499  # never sent; what nginx logs for the same
# W3C Trace Context: version, trace, parent and flags; ids of zeros are invalid.
TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
REQUEST_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
# A body that is too long is read on for a while, so that a client that is still writing gets to see the refusal.
DRAINED = 8
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types destila-html"
)
SECURITY_HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Refusal(Exception):
    """A request that is not served, and why."""

    def __init__(
        self, status: int, problem: str, remedy: str, headers: Mapping[str, str] | None = None, *, code: str = ""
    ) -> None:
        super().__init__(problem)
        self.status, self.problem, self.remedy, self.headers, self.code = status, problem, remedy, headers, code

    def response(self) -> JSONResponse:
        """The refusal as the client sees it."""
        return _AsciiResponse(self.content(), self.status, headers=self.headers)

    def content(self) -> dict[str, Any]:
        """What the client is told, beside the status."""
        return {"error": {"problem": self.problem, "remedy": self.remedy} | ({"code": self.code} if self.code else {})}


class _AsciiResponse(JSONResponse):
    """JSON in ASCII: what is quoted from a request may hold characters that UTF-8 cannot."""

    def render(self, content: Any) -> bytes:
        return dumps(content, ascii=True).encode("ascii")


@dataclass
class _Visit:
    """One request on its way through the gate."""

    id: str
    method: str
    path: str
    trace: bytes = b""  # of the client's traceparent; empty where it sent none
    began: float = field(default_factory=time.perf_counter)
    status: int = 0
    body_bytes: int = 0


class Gate:
    """The outermost ASGI application.

    Args:
        app: what is guarded. It may put what shall be logged into `scope["state"]["log"]`.
        key: what clients must bring; None: nothing.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, measures: Measures, *, key: str | None) -> None:
        self.app, self.settings, self.measures = app, settings, measures
        self.key = key.encode() if key is not None else None
        self.open = self.files = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the start and the end of the server
            await self.app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in PATHS else "other"
        visit = _Visit(_request_id(scope), scope["method"], path, _trace(scope))
        state = scope.setdefault("state", {})
        log = state["log"] = dict[str, Any]()
        state["request_id"] = visit.id

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                own = [(b"x-request-id", visit.id.encode()), *SECURITY_HEADERS]
                if visit.trace:
                    own.append((b"traceparent", visit.trace))
                # Who reads the length otherwise than we do would take the rest for another request (RFC 9112, 6.1).
                if _header(scope, b"transfer-encoding") and _header(scope, b"content-length"):
                    own.append((b"connection", b"close"))
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        self.open += 1
        self.files += path == DOCUMENT
        self.measures.open.set(self.open)
        try:
            await self._serve(visit, scope, receive, dressed)
        finally:
            self.open -= 1
            self.files -= path == DOCUMENT
            self.measures.open.set(self.open)
            self._record(visit, log)

    async def _serve(self, visit: _Visit, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._admit(visit, scope)
            body = await self._body(visit, scope, receive)
            # To the application HEAD is GET: the protocol sends the head alone.
            scope = {**scope, "method": "GET"} if visit.method == "HEAD" else scope
            await _run_while_heard(self.app, scope, body, receive, send)
        except Refusal as refusal:
            await refusal.response()(scope, receive, send)
        except _ClientLeftError:
            visit.status = CLIENT_LEFT
        except Exception as error:
            write_down(visit.id, error)
            if not visit.status:
                await Refusal(500, "the server failed", "Tell its operator the request id.").response()(
                    scope, receive, send
                )

    def _admit(self, visit: _Visit, scope: Scope) -> None:
        if self.open > self.settings.queue.connections and visit.path not in ("/health", "/ready"):
            raise Refusal(503, "too many requests are open", "Try again soon.", {"Retry-After": "1"})
        if visit.path == DOCUMENT and self.files > self.settings.documents.open:
            raise Refusal(503, "too many files wait already", "Try again soon.", {"Retry-After": "2"})
        if self.key is not None and scope["path"].startswith(GUARDED):
            scheme, _, given = _header(scope, b"authorization").partition(b" ")
            # Both are compared whole, so that the time taken does not tell how much of a guess was right.
            if not hmac.compare_digest(given.strip(), self.key) or scheme.lower() != b"bearer":
                headers = {"WWW-Authenticate": "Bearer"}
                raise Refusal(401, "a key is needed", "Send the header Authorization: Bearer KEY.", headers)

    async def _body(self, visit: _Visit, scope: Scope, receive: Receive) -> bytes:
        whole_file, settings = visit.path == DOCUMENT, self.settings
        limit = settings.documents.file_bytes if whole_file else settings.limits.body_bytes
        try:
            async with asyncio.timeout(settings.documents.arrival if whole_file else settings.queue.body_timeout):
                return await self._read(visit, receive, limit)
        except TimeoutError:
            raise Refusal(408, "the body did not arrive in time", "Send it faster.", {"Connection": "close"}) from None

    async def _read(self, visit: _Visit, receive: Receive, limit: int) -> bytes:
        parts, more = list[bytes](), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientLeftError
            visit.body_bytes += len(message.get("body", b""))
            if visit.body_bytes <= limit:
                parts.append(message.get("body", b""))
            elif visit.body_bytes > DRAINED * limit:
                break
            more = message.get("more_body", False)
        if visit.body_bytes > limit:
            problem = f"the body has more than {limit} bytes"
            raise Refusal(413, problem, "Send less at once.", {"Connection": "close"})
        return b"".join(parts)

    def _record(self, visit: _Visit, log: Mapping[str, Any]) -> None:
        seconds = time.perf_counter() - visit.began
        self.measures.requests.labels(visit.path, str(visit.status)).inc()
        self.measures.seconds.labels(visit.path).observe(seconds)
        fields = {"request_id": visit.id, "method": visit.method, "path": visit.path, "status": visit.status}
        if visit.trace:
            fields["trace_id"] = visit.trace.split(b"-")[1].decode()
        fields |= {"milliseconds": round(1000 * seconds, 2), "body_bytes": visit.body_bytes, **log}
        LOGGER.info("request", extra={"fields": fields})


# ------------------------------------------------------------------------------------------ parts of a request
class _ClientLeftError(Exception):
    """The client closed the connection before it had its answer."""


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _request_id(scope: Scope) -> str:
    given = _header(scope, b"x-request-id")
    return given.decode() if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _trace(scope: Scope) -> bytes:
    """The client's traceparent, if it is one."""
    given = _header(scope, b"traceparent")
    return given if TRACE.fullmatch(given) else b""


async def _run_while_heard(app: ASGIApp, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
    """Run the application on a body that was read already; stop it if the client leaves."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    left = asyncio.Event()

    async def replay() -> MutableMapping[str, Any]:
        if messages:
            return messages.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    work, watcher = asyncio.ensure_future(app(scope, replay, send)), asyncio.ensure_future(watch())
    try:
        await asyncio.wait({work, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise _ClientLeftError
        await work
    finally:
        for task in (work, watcher):
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task


# ------------------------------------------------------------------------------------------ the log
def write_down(request_id: str, error: Exception) -> None:
    """Log a failure of ours."""
    LOGGER.error("failure", extra={"fields": {"request_id": request_id, "error": _harmless_trace(error)}})


def _harmless_trace(error: BaseException) -> str:
    """Where an error happened, without its message, which may quote a user's text."""
    frames = traceback.extract_tb(error.__traceback__)
    return " > ".join([type(error).__name__, *(f"{frame.name}:{frame.lineno}" for frame in frames)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event, and what `extra={"fields": ...}` brings."""

    def format(self, record: logging.LogRecord) -> str:
        time_of_day = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time_of_day, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1]:
            line["error"] = _harmless_trace(record.exc_info[1])
        return dumps(finite(line), ascii=True)


def read_key(path: str) -> str:
    """The key in a file, without the white space around it.

    Raises:
        UserError: the file cannot be read, or its key is too short to be one.
    """
    try:
        with open(path, encoding="ascii") as file:
            key = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"cannot be read as a key ({type(error).__name__})", "Give an ASCII text file.") from None
    if len(key) < 16 or any(letter.isspace() for letter in key):
        raise UserError(path, "holds no key of at least 16 characters", "Make one: openssl rand -hex 32 > FILE.")
    return key
