"""The page of `destila annotate` and what it asks for: the questions of one file, for browsers of this machine.

Mental model: the page gets everything once, and sends one step at a time with the revision that it knows; the answer is
all questions as they are now. What a step means, and that it is on the disk before it is answered, is
`destila.data.annotation`'s business. Invariants: it listens on loopback alone, answers to no name but this machine's (a
page of another site cannot reach it through a name of its own), and takes no step from a page of another origin.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

from destila.config import LimitSettings, ServeSettings
from destila.core.errors import UnwritableError, UserError
from destila.core.listening import listen, url_of
from destila.data.annotation import REJECTED, Annotation, Marked, StaleError
from destila.serving.app import add_pages, add_refusals
from destila.serving.middleware import Gate, Refusal
from destila.serving.prometheus import Measures
from destila.serving.server import make_server

HOST = "127.0.0.1"
SETTINGS = ServeSettings(limits=LimitSettings(body_bytes=50_000))
PATH = "/v1/annotation"
SHARED = ("page.css", "language.js", "answers.js")
PAGE = {"/": "annotate.html", **{f"/{name}": name for name in (*SHARED, "annotate.css", "annotate.js", "marking.js")}}


class StepBody(BaseModel):
    """What a person decided.

    Attributes:
        revision: the latest that the page knows.
        id: of the question; None: a new one.
        passage, question, start, end: of an accepted one; the span counts code points, none: no answer.
        text: the span as the page sees it.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    revision: int
    action: Literal["accept", "reject", "undo"]
    id: str | None = None
    passage: str = ""
    question: str = ""
    start: int | None = None
    end: int | None = None
    text: str | None = None


def serve_annotation(annotation: Annotation, *, goal: int, port: int, ready: Callable[[str], None]) -> None:
    """Serve the page on loopback until SIGINT or SIGTERM.

    Args:
        goal: how many questions are wanted.
        ready: told the address once it takes connections.

    Raises:
        UserError: the port is taken.
    """
    with listen(HOST, port) as listener:
        ready(url_of(listener))
        make_server(annotation_app(annotation, goal=goal), SETTINGS).run(sockets=[listener])


def annotation_app(annotation: Annotation, *, goal: int) -> ASGIApp:
    """The ASGI application. Its routes never wait, so that one step follows the other."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    add_pages(app, PAGE)
    add_refusals(app, "")

    @app.get(PATH)
    async def state() -> dict[str, Any]:
        annotation.refresh()
        passages = [{"key": key, **asdict(passage)} for key, passage in annotation.passages.items()]
        return {"file": str(annotation.path.resolve()), "goal": goal, "passages": passages, **_questions(annotation)}

    @app.post(PATH)
    async def step(request: Request, body: StepBody) -> dict[str, Any]:
        _refuse_others(request)
        try:
            return {"changed": _take(annotation, body), **_questions(annotation)}
        except StaleError:
            problem = "the questions have changed since this page looked"
            raise Refusal(409, problem, "Load them again.", code="stale") from None
        except UnwritableError as error:
            raise Refusal(507, str(error), error.remedy, code="unwritable") from None

    return Gate(app, SETTINGS, Measures(), key=None)


def _take(annotation: Annotation, body: StepBody) -> str | None:
    """Take a step. Returns the id of the question that it changed."""
    if body.action == "undo":
        return annotation.undo(revision=body.revision)
    if body.action == "reject":
        return annotation.decide(body.id, REJECTED, revision=body.revision)
    marked = Marked(body.passage, body.question, body.start, body.end)
    if marked.passage in annotation.passages and body.text != _text(annotation, marked):
        raise UserError("answer", "is not what stands there", "Load the page again, and mark it once more.")
    return annotation.decide(body.id, marked, revision=body.revision)


def _text(annotation: Annotation, marked: Marked) -> str | None:
    passage = annotation.passages[marked.passage].text
    return None if marked.start is None else passage[marked.start : marked.end]


def _questions(annotation: Annotation) -> dict[str, Any]:
    """The questions as the page shows them, those suggested first; `answered`: whether the answer is known."""
    listed = []
    for name in dict.fromkeys([*annotation.suggestions, *annotation.decided]):
        decision, suggested = annotation.decided.get(name), annotation.suggestions.get(name)
        marked = decision if isinstance(decision, Marked) else suggested
        if marked is None:  # rejected, and suggested no more
            continue
        answered = isinstance(decision, Marked) or name not in annotation.unanswered
        span = {} if answered else {"start": None, "end": None}
        state = "accepted" if isinstance(decision, Marked) else "rejected" if decision == REJECTED else "open"
        listed.append({"id": name, **asdict(marked), **span, "answered": answered, "state": state})
    return {"revision": annotation.revision, "steps": annotation.steps, "questions": listed}


def _refuse_others(request: Request) -> None:
    """Refuse what a page of another origin sends; browsers name it, and other programs are no page."""
    origin, own = request.headers.get("origin"), f"http://{request.headers.get('host')}"
    if origin is not None and origin != own:
        raise Refusal(403, "a page of another site asks", "Use the page of this server.")
