"""Files over HTTP: the bytes of one in, its text out.

Mental model: the gate has read the file within its limits; here it waits for one of a few places and is parsed in a
process of its own (`destila.inference.documents.sandbox`). The name that a client gives tells what the bytes are by its
ending and is opened by nobody. Invariant: nothing of a file outlives its request.
"""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response

from destila.config import ServeSettings
from destila.inference.documents.document import DocumentError
from destila.inference.documents.open import parse_document
from destila.serving.middleware import DOCUMENT, Refusal
from destila.serving.schema import DocumentResponse, ErrorResponse

BYTES = "application/octet-stream"  # no page of another site can send it unasked
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")  # what a page or `curl -F` would send
HOW_TO_SEND = (
    f"Send the bytes of one file, and its name in the address: curl -H 'Content-Type: {BYTES}' --data-binary @FILE "
    f"'{DOCUMENT}?name=FILE'."
)
STATUS = {"kind": 415, "missing": 501}  # of a problem with a file; 422 for the others
OWN_REFUSALS = {
    415: "The body is no file of a kind that is read.",
    422: "The file cannot be read, or needs more than it may; the code says why.",
    501: "The server lacks the parsers.",
}


def _refuse_other_bodies(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != BYTES:
        problem = "the body is a form" if kind in FORMS else "the body is not sent as a file"
        raise Refusal(415, problem, HOW_TO_SEND, code="kind")


class _Desk:
    """A few places where files are parsed."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._places = ThreadPoolExecutor(settings.documents.at_once, thread_name_prefix="destila-documents")

    async def read(self, name: str, content: bytes) -> DocumentResponse:
        """The text of a file.

        Raises:
            Refusal: there is none.
            TimeoutError: it took longer than `queue.timeout`, waiting included.
        """
        began = time.perf_counter()
        run = asyncio.get_running_loop().run_in_executor
        try:
            async with asyncio.timeout(self._settings.queue.timeout):
                document = await run(self._places, parse_document, name, content, self._settings.documents)
        except DocumentError as error:
            problem = f"{name}: {error.problem}"
            raise Refusal(STATUS.get(error.code, 422), problem, error.remedy, code=error.code) from None
        milliseconds = round(1000 * (time.perf_counter() - began), 2)
        return DocumentResponse(
            text=document.text, pages=document.pages, milliseconds=milliseconds, note=document.note or None
        )

    def close(self) -> None:
        """Finish what was begun."""
        self._places.shutdown(cancel_futures=True)


def add_document(app: FastAPI, settings: ServeSettings, refusals: Mapping[int | str, Any]) -> _Desk:
    """Add the route; what it returns is to be closed with the server."""
    desk, most = _Desk(settings), settings.documents.file_bytes
    file = {"type": "string", "format": "binary", "maxLength": most}
    told: dict[int | str, Any] = {status: refusals[status] for status in (401, 408, 413, 503, 504)}
    told |= {status: {"model": ErrorResponse, "description": text} for status, text in OWN_REFUSALS.items()}

    @app.post(
        DOCUMENT,
        dependencies=[Depends(_refuse_other_bodies)],  # before a name is missed that a form has elsewhere
        summary="The text of a file",
        response_model=DocumentResponse,
        responses=told,
        openapi_extra={"requestBody": {"required": True, "content": {BYTES: {"schema": file}}}},
    )
    async def document(
        request: Request,
        name: Annotated[str, Query(min_length=1, max_length=255, description="Its ending says what the file is.")],
    ) -> Response:
        response = await desk.read(PurePath(name).name or name, await request.body())
        return Response(response.model_dump_json(exclude_none=True), media_type="application/json")

    return desk
