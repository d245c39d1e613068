"""The HTTP application: routes, and how each kind of failure is told. Everything else is asked of its neighbors.

Invariant: a request is served whole or refused with a status that says whose turn it is: 4xx the client's (mend it),
503 and 504 time's (try again), 500 nobody's but ours. No route touches a file that a request names.
"""

import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from importlib.resources import files
from pathlib import PurePath
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from destila.config import ServeSettings
from destila.core.errors import UserError
from destila.core.runs import destila_version
from destila.inference.questions import Pair
from destila.inference.ranking import Piece, Reading, is_bounded, ranked_together
from destila.inference.reader import Reader, Refusing
from destila.serving.batching import QueueFullError
from destila.serving.middleware import DOCUMENT, PAGE, Gate, Refusal
from destila.serving.model_process import ModelDownError
from destila.serving.prometheus import CONTENT_TYPE, Measures
from destila.serving.schema import (
    MANY,
    ONE,
    AnswerBody,
    AnswerRequest,
    AnswerResponse,
    ErrorResponse,
    InfoBody,
    RankedBody,
    ResultBody,
    SentenceBody,
    StateBody,
    shown_name,
)
from destila.serving.schema import request_model as limited_request
from destila.serving.service import Answered, AnswerService, Progress
from destila.serving.streaming import LINES, respond
from destila.serving.uploads import HOW_TO_SEND, add_document

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": description}
    for status, description in {
        400: "The body is not JSON in UTF-8.",
        401: "The key is missing or wrong.",
        408: "The body did not arrive in time.",
        413: "The body is too long.",
        422: "A field is missing, of the wrong type or over a limit.",
        503: "Too much waits already, or the model is being started again; see Retry-After.",
        504: "It took too long.",
    }.items()
}
MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
HOW_FAR = (
    f"With `Accept: {LINES}`, what takes longer than a moment comes as lines: progress (0 to 1) now and then, and last "
    'the response, or {"error", "status"}. Closing the connection stops the reading.'
)
HEADERS_OF_OTHERS = ("X-Request-ID", "Retry-After", "traceparent")  # what pages of other sites may read, too


def create_app(reader: Reader, settings: ServeSettings, *, key: str | None = None) -> ASGIApp:
    """The ASGI application of one reader.

    Args:
        key: what clients must bring as `Authorization: Bearer KEY`; None: nothing.
    """
    measures = Measures()
    service = AnswerService(reader, settings, measures)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()
        documents.close()

    # FastAPI's own pages of documentation load scripts from outside; /docs is ours, made from the same /openapi.json.
    app = FastAPI(title="Destila", version=destila_version(), lifespan=lifespan, docs_url=None, redoc_url=None)
    _add_answer(app, service, settings)
    documents = add_document(app, settings, REFUSALS)
    _add_state(app, service, measures)
    add_pages(app, PAGE)
    if key is not None:  # the description tells clients, so that the page need not try
        schema = app.openapi()
        schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"key": []}]
    add_refusals(app, reader.name)
    gate = Gate(app, settings, measures, key=key)
    if not settings.cors_origins:
        return gate
    # Outside of the gate, so that a refusal can be read, too, and the question whether one may ask needs no key.
    return CORSMiddleware(
        gate,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-Request-ID", "traceparent"],
        expose_headers=HEADERS_OF_OTHERS,
    )


# ------------------------------------------------------------------------------------------ routes
def _add_answer(app: FastAPI, service: AnswerService, settings: ServeSettings) -> None:
    model_name = shown_name(service.reader)
    body_model = limited_request(settings.limits)

    async def answer(request: Request, body: AnswerRequest) -> Response:
        began, progress = time.perf_counter(), Progress()
        pairs = _pairs(request, body, settings)

        async def work() -> str:
            answered = await service.answer(
                pairs,
                top_k=body.top_k,
                highlight=body.highlight,
                progress=progress,
                must_answer=body.must_answer,
                no_answer_threshold=body.no_answer_threshold,
            )
            response = AnswerResponse(
                results=_results(answered, len(body.contexts)),
                ranked=_ranked(service.reader, body, answered),
                model=model_name,
                milliseconds=round(1000 * (time.perf_counter() - began), 2),
            )
            return response.model_dump_json()

        return await respond(request, work(), progress, partial(refusal_of, reader_name=service.reader.name))

    answer.__annotations__["body"] = body_model  # the limits are settings, so the model is made here
    route = app.post(
        "/v1/answer", response_model=AnswerResponse, responses=REFUSALS, summary="Answer questions", description=HOW_FAR
    )
    route(answer)


def _pairs(request: Request, body: AnswerRequest, settings: ServeSettings) -> list[Pair]:
    """Every question with every context, if they are not too many; what shall be logged is noted."""
    questions, contexts = body.questions, body.contexts
    request.state.log |= {"questions": len(questions), "contexts": len(contexts)}
    if settings.log_text:
        request.state.log["question"] = questions
    if (count := len(questions) * len(contexts)) > settings.limits.pairs:
        problem = f"{len(questions)} questions over {len(contexts)} contexts are {count} pairs"
        raise Refusal(422, problem, f"Send at most {settings.limits.pairs} at once.")
    return [(question, context) for question in questions for context in contexts]


def _results(answered: Sequence[Answered], contexts: int) -> list[ResultBody]:
    return [
        ResultBody(
            question=place // contexts,
            context=place % contexts,
            answers=[AnswerBody.of(answer) for answer in one.answers],
            guess=AnswerBody.of(guess) if (guess := one.prediction.guess) else None,
            no_answer_score=score if math.isfinite(score := one.prediction.no_answer_score) else None,
            sentences=None if one.sentences is None else [SentenceBody.of(sentence) for sentence in one.sentences],
        )
        for place, one in enumerate(answered)
    ]


def _ranked(reader: Reader, body: AnswerRequest, answered: Sequence[Answered]) -> list[list[RankedBody]] | None:
    """For each question the answers of all contexts on one scale; None for one, or where errors are bounded."""
    refusing: Refusing = {"must_answer": body.must_answer, "no_answer_threshold": body.no_answer_threshold}
    count = len(body.contexts)
    if count == 1 or is_bounded(reader, **refusing):
        return None
    readings = [
        Reading(Piece(place % count, 0, body.contexts[place % count]), one.prediction, one.answers)
        for place, one in enumerate(answered)
    ]
    return [
        [
            RankedBody(context=context, **asdict(answer))
            for context, answer in ranked_together(part, reader.threshold(**refusing))[: body.top_k]
        ]
        for part in (readings[first : first + count] for first in range(0, len(readings), count))
    ]


def _add_state(app: FastAPI, service: AnswerService, measures: Measures) -> None:
    about = InfoBody.of(service.reader, service.settings)

    @app.get("/info", summary="What answers here, and within which limits", responses={401: REFUSALS[401]})
    async def info() -> InfoBody:
        return about

    @app.get("/health", summary="Whether the process lives")
    async def health() -> StateBody:
        return StateBody(status="ok")

    @app.get("/ready", summary="Whether questions are taken", responses={503: REFUSALS[503]})
    async def ready() -> StateBody:
        if not service.ready:
            raise Refusal(503, "the server takes no questions", "Try again later.", {"Retry-After": "5"})
        return StateBody(status="ready")

    @app.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(measures.text(), media_type=CONTENT_TYPE)


def add_pages(app: FastAPI, pages: Mapping[str, str]) -> None:
    """Serve files of the directory `page`, each under its path."""

    def add(path: str, content: bytes, media_type: str) -> None:
        async def page() -> Response:
            return Response(content, media_type=media_type)

        app.get(path, include_in_schema=False)(page)

    for path, name in pages.items():
        content = files("destila.serving").joinpath("page", name).read_bytes()
        add(path, content, MEDIA_TYPES[PurePath(name).suffix])


# ------------------------------------------------------------------------------------------ refusals
def add_refusals(app: FastAPI, reader_name: str) -> None:
    """Tell every error as `refusal_of` says, and what is wrong with a body."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        if any(details["type"] == "json_invalid" for details in error.errors()):
            return Refusal(400, "the body is not JSON", "Send one JSON object in UTF-8.").response()
        remedy = "Send Content-Type: application/json; see /openapi.json for every field and its limits."
        if request.url.path == DOCUMENT:
            remedy = HOW_TO_SEND
        return Refusal(422, "; ".join(_problems(error.errors())), remedy).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        remedy = "Send one JSON object in UTF-8." if error.status_code == 400 else "See /openapi.json."
        return Refusal(error.status_code, str(error.detail), remedy, error.headers).response()

    async def refused(request: Request, error: Exception) -> Response:
        refusal = refusal_of(error, reader_name)
        if refusal.status == 500:
            raise RuntimeError("the model is broken") from error
        return refusal.response()

    for kind in (Refusal, UserError, QueueFullError, ModelDownError, TimeoutError):
        app.add_exception_handler(kind, refused)

    @app.exception_handler(Exception)  # the gate writes it down
    async def failed(request: Request, error: Exception) -> Response:
        return refusal_of(error, reader_name).response()


def refusal_of(error: Exception, reader_name: str) -> Refusal:
    """How an error is told: whose turn it is, what is wrong, what to do."""
    match error:
        case Refusal():
            return error
        case UserError() if error.where != reader_name:  # a broken model is no fault of a client
            return Refusal(422, f"{error.where}: {error.problem}", error.remedy)
        case QueueFullError():
            headers = {"Retry-After": str(error.retry_after)}
            return Refusal(503, "too much waits already", "Try again later.", headers)
        case ModelDownError():
            return Refusal(503, "the model is being started again", "Try again later.", {"Retry-After": "5"})
        case TimeoutError():
            return Refusal(504, "it took too long", "Ask fewer questions at once, or about shorter texts.")
    return Refusal(500, "the server failed", "Tell its operator the request id.")


def _problems(errors: Sequence[Any]) -> list[str]:
    """What is wrong with which field; places and rules only, for what the user wrote is not echoed."""
    return [
        f"{'.'.join(str(part) for part in details['loc'] if part not in (ONE, MANY))}: {details['msg']}"
        for details in errors[:10]
    ]
