"""An answer that says how far it is: lines of JSON, for who accepts them and would wait long.

A client that sends `Accept: application/x-ndjson` gets `{"progress": 0.25}` now and then, and last one line that is
either the response or {"error": {"problem", "remedy"}, "status": 504}. What is done or refused at once comes as to
anybody else, with its status. Who has seen enough closes the connection: the work stops.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from destila.core.strict_json import dumps
from destila.serving.middleware import Refusal, write_down
from destila.serving.service import Progress

LINES = "application/x-ndjson"
SILENT = 0.3  # seconds; nobody needs to be told about less
BETWEEN = 0.2  # seconds from line to line


async def respond(
    request: Request, work: Coroutine[Any, Any, str], progress: Progress, refusal_of: Callable[[Exception], Refusal]
) -> Response:
    """The response of some work that gives JSON; in lines where the client takes them and it takes long.

    Args:
        progress: which the work keeps up to date.
        refusal_of: how an error is told that comes after the first line.
    """
    task = asyncio.ensure_future(work)
    try:
        is_plain = LINES not in request.headers.get("accept", "")
        await asyncio.wait({task}, timeout=None if is_plain else SILENT)
        if not task.done():
            return StreamingResponse(_lines(request, task, progress, refusal_of), media_type=LINES)
        return Response(task.result(), media_type="application/json")
    except asyncio.CancelledError:
        task.cancel()
        raise


async def _lines(
    request: Request, task: "asyncio.Task[str]", progress: Progress, refusal_of: Callable[[Exception], Refusal]
) -> AsyncIterator[str]:
    try:
        while not task.done():
            yield dumps({"progress": round(progress.share, 3)}) + "\n"
            await asyncio.wait({task}, timeout=BETWEEN)
        yield task.result() + "\n"
    except Exception as error:
        refusal = refusal_of(error)
        request.state.log["refused"] = refusal.status  # the response itself began as 200
        if refusal.status == 500:
            write_down(request.state.request_id, error)
        yield dumps(refusal.content() | {"status": refusal.status}) + "\n"
    finally:
        task.cancel()
