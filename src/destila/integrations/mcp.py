"""Tools for agents over the Model Context Protocol: questions about texts, files and folders, answers as citations.

Mental model: the SDK speaks the protocol; `Reader`, `read_document` and `Folder` find the answers, as they do for
`destila answer`; this module decides what may be read, and gives answers the shape of an assistant's citation blocks.
Calls are answered one after another: the model takes all cores, and not every run time is safe for several threads.

Invariants: `cited_text == text[start_char_index:end_char_index]` of the text that Destila reads in the file; nothing
outside of the roots is opened, whatever a path or a link says (whoever may write below a root while a file of it is
being opened is trusted); a caller's mistake is a tool error that says where, what and what to do, and ends nothing.
"""

import functools
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from mcp import types
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel, ValidationError

from destila.config import DocumentSettings, McpSettings
from destila.core.errors import UserError
from destila.core.listening import is_loopback, listen, url_of
from destila.core.runs import destila_version
from destila.core.suggestions import nearest
from destila.inference.documents import Document, read_document
from destila.inference.documents.cache import state_of
from destila.inference.documents.files import is_inside
from destila.inference.documents.folder import Folder, FoundAnswer
from destila.inference.questions import examples_of, shown
from destila.inference.reader import Reader, WindowLogits
from destila.integrations.mcp_schema import AnswerResult, AnswersResult, CitedAnswer, SearchedFolder, argument_models

LOG = logging.getLogger(__name__)

WARM_UP = ("¿Qué es?", "Una prueba.")
LOCAL = ("127.0.0.1", "localhost", "[::1]")  # names of this machine: pages of other sites may not ask under theirs
ENDING_SECONDS = 3  # for open connections, once a signal has come
INSTRUCTIONS = (
    "Destila reads Spanish: it answers a question with an exact piece of a text, its place and a probability, in "
    "milliseconds on a CPU, or says that the text holds no answer. Ask it for facts (who, when, where, how much, what "
    "is) in Spanish, one at a time, and cite what it returns. It does not summarize, count or reason."
)


# ------------------------------------------------------------------------------------------ answering
class Answering:
    """What the tools do, with one reader.

    Raises:
        UserError: a root is no folder.
    """

    def __init__(self, reader: Reader, settings: McpSettings) -> None:
        self.reader, self.settings = reader, settings
        self.roots = [Path(os.path.realpath(root)) for root in settings.root]
        if wrong := [f"{root} is no folder" for root in settings.root if not os.path.isdir(root)]:
            raise UserError.from_problems("root", wrong, "Give folders that exist.")

    def answer(self, given: Any) -> AnswerResult:
        """The tool `answer`."""
        return self._ask([given.question], given.text, given.path, given.top_k)[0]

    def answer_many(self, given: Any) -> AnswersResult:
        """The tool `answer_many`."""
        if (given.questions is None) == (given.pairs is None) or (given.pairs and (given.text or given.path)):
            remedy = "Give questions with text or path, or pairs, each with a text or path of its own."
            raise UserError("answer_many", "takes either questions or pairs", remedy)
        if given.pairs is None:
            return AnswersResult(results=self._ask(given.questions, given.text, given.path, given.top_k))
        answered = [self._ask([each.question], each.text, each.path, given.top_k) for each in given.pairs]
        return AnswersResult(results=[result for (result,) in answered])

    def search_folder(self, given: Any) -> AnswerResult:
        """The tool `search_folder`."""
        if not self._place(given.folder).is_dir():
            raise UserError(shown(given.folder), "is no folder", "Give a folder, or ask about a file with answer.")
        return self._ask([given.question], None, given.folder, given.top_k)[0]

    def _ask(self, questions: Sequence[str], text: str | None, path: str | None, top_k: int) -> list[AnswerResult]:
        if bool(text) == bool(path):
            raise UserError("the text", "must be given once", "Give either text or path.")
        place, most, searched, notes = self._place(path) if path else None, max(2, top_k), None, dict[str, str]()
        if place and place.is_dir():
            how, limits = self.settings.folder, self.settings.documents
            with closing(Folder.open(place, how, limits, inside=self.roots)) as folder:
                found = [folder.answers(self.reader, each, passages=how.passages, top_k=most) for each in questions]
                searched, notes = SearchedFolder.of(folder), dict(folder.notes)
        else:
            document = _document(place, self.settings.documents) if place else Document(text or "")
            notes = {str(place): document.note} if document.note else {}
            found = list(self._read(questions, str(place or ""), document, most))
        return [_result(*each, top_k, searched, notes) for each in zip(questions, found, strict=True)]

    def _read(self, questions: Sequence[str], file: str, document: Document, most: int) -> Iterator[list[FoundAnswer]]:
        """The answers of one text, which is read whole, to each question."""
        windows, limit = 0, self.settings.limits.windows

        def counted(read: Sequence[Any]) -> WindowLogits:
            nonlocal windows
            windows += len(read)
            if windows > limit:
                remedy = "Ask fewer questions at once, about shorter texts, or search the folder of the file."
                raise UserError("the texts", f"make more than {limit:,} pieces for the model", remedy)
            return self.reader.logits(read)

        pairs = [(question, document.text) for question in questions]
        for _, answers in self.reader.read(examples_of(pairs), top_k=most, logits=counted):
            yield [FoundAnswer.at(answer, file, document) for answer in answers]

    def _place(self, path: str) -> Path:
        """The real path that a caller means, below the first root where there is such a file.

        Raises:
            UserError: it is not inside of the roots.
        """
        if not self.roots:
            remedy = "Give the text itself, or start the server with --root FOLDER."
            raise UserError(shown(path), "cannot be read: this server was given no folder", remedy)
        named = [] if "\0" in path else [root / path for root in self.roots]  # an absolute path stays what it is
        allowed = [place for place in named if is_inside(place, self.roots)]
        if not allowed:
            remedy = f"Give a path below {' or '.join(map(str, self.roots))}."
            raise UserError(shown(path), "is outside of the folders that may be read", remedy)
        return Path(os.path.realpath(next(filter(os.path.exists, allowed), allowed[0])))


def _document(place: Path, limits: DocumentSettings) -> Document:
    """The text of a file; that of one asked about before is still there, unless the file has changed since."""
    try:
        state = state_of(os.stat(place))
    except OSError:
        state = ""  # reading it tells what is wrong
    return _kept(place, limits, state) if state else read_document(place, limits)


@functools.lru_cache(maxsize=4)
def _kept(place: Path, limits: DocumentSettings, state: str) -> Document:
    return read_document(place, limits)


def _result(
    question: str, found: Sequence[FoundAnswer], top_k: int, searched: SearchedFolder | None, notes: dict[str, str]
) -> AnswerResult:
    spans = [each for each in found if each.answer.text is not None]
    refused = found[0].answer.text is None
    spans = spans[: 1 if refused else top_k]
    files = list(dict.fromkeys(each.file for each in spans))
    cited = [CitedAnswer.of(each, files) for each in spans]
    return AnswerResult(
        question=question,
        no_answer=refused,
        no_answer_score=found[0].answer.score if refused else None,
        answers=[] if refused else cited,
        best_guess=cited[0] if refused and cited else None,
        searched=searched,
        notes=[f"{file}: {note}." for file, note in notes.items() if file in files],
    )


# ------------------------------------------------------------------------------------------ the protocol
@dataclass(frozen=True, slots=True)
class _Tool:
    title: str
    description: str
    result: type[BaseModel]


TOOLS = {
    "answer": _Tool(
        "Answer a question",
        "Answer a Spanish question with the exact piece of a text, or of a file (.txt, .md, .html, .pdf, .docx) or "
        "folder below an allowed root, with its citation and probability; no_answer where it holds none.",
        AnswerResult,
    ),
    "answer_many": _Tool(
        "Answer several questions",
        "Answer several Spanish questions at once, about one text or path, or each about its own; results in order.",
        AnswersResult,
    ),
    "search_folder": _Tool(
        "Search a folder for answers",
        "Find the answers to a Spanish question in all files of a folder, ranked together, each with its file, page, "
        "characters and sentence.",
        AnswerResult,
    ),
}


def server_of(answering: Answering) -> Server:
    """The server of the three tools, for any transport of the SDK."""
    arguments, limiter = argument_models(answering.settings.limits), anyio.CapacityLimiter(1)
    hints = types.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    listed = [
        types.Tool(
            name=name,
            title=tool.title,
            description=tool.description,
            input_schema=arguments[name].model_json_schema(),
            output_schema=tool.result.model_json_schema(mode="serialization"),
            annotations=hints,
        )
        for name, tool in TOOLS.items()
    ]

    async def list_tools(context: Any, asked: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(context: Any, asked: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            if asked.name not in TOOLS:
                raise UserError(shown(asked.name), f"no such tool{nearest(asked.name, list(TOOLS))}", "See tools/list.")
            given = arguments[asked.name].model_validate(asked.arguments or {})
            result = await anyio.to_thread.run_sync(getattr(answering, asked.name), given, limiter=limiter)
        except (UserError, ValidationError) as error:
            return _refusal(error if isinstance(error, UserError) else _invalid(asked.name, error))
        except Exception:
            LOG.exception("a tool failed")
            return _refusal(UserError(asked.name, "failed in the server", "Tell its operator, who has the log."))
        text = types.TextContent(type="text", text=result.model_dump_json())
        return types.CallToolResult(content=[text], structured_content=result.model_dump(mode="json"))

    return Server(
        "destila",
        title="Destila",
        version=destila_version(),
        instructions=INSTRUCTIONS + _allowed(answering.roots),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _allowed(roots: Sequence[Path]) -> str:
    if not roots:
        return " No folder may be read: give texts."
    return f" Files and folders below these may be read: {', '.join(map(str, roots))}."


def _invalid(name: str, error: ValidationError) -> UserError:
    """What is wrong with which argument; what the caller wrote is not echoed."""
    problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_input=False)]
    return UserError.from_problems(name, problems, "Call it as its input schema says; see tools/list.")


def _refusal(error: UserError) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=str(error))], is_error=True)


def serve(settings: McpSettings, *, ready: Callable[[str], None]) -> None:
    """Load a reader and answer agents until standard input ends (stdio) or a signal comes.

    Args:
        ready: told the address (http); connections wait for the server.

    Raises:
        UserError: a root is no folder, the model cannot be read, or the address is taken.
    """
    reader = Reader.load(
        settings.model,
        backend=settings.backend,
        revision=settings.revision,
        threads=settings.threads,
        must_answer=settings.must_answer,
        no_answer_threshold=settings.no_answer_threshold,
        max_error=settings.max_error,
    )
    server = server_of(Answering(reader, settings))
    reader.answer(*WARM_UP)  # the first run of a model is the slowest, and shows whether it works at all
    if settings.transport == "http":
        _serve_http(server, settings, ready)
        return
    # The SDK's thread that waits for standard input would hold up every other way of leaving; nothing is to be saved.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    anyio.run(_serve_stdio, server)


async def _serve_stdio(server: Server) -> None:
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def _serve_http(server: Server, settings: McpSettings, ready: Callable[[str], None]) -> None:
    import uvicorn

    with listen(settings.host, settings.port) as listener:
        security = TransportSecuritySettings(enable_dns_rebinding_protection=is_loopback(listener))
        if is_loopback(listener):
            hosts = [f"{host}:*" for host in {*LOCAL, settings.host}]
            security.allowed_hosts, security.allowed_origins = hosts, [f"http://{host}" for host in hosts]
        app = server.streamable_http_app(max_request_body_size=settings.limits.body_bytes, transport_security=security)
        ready(f"{url_of(listener)}mcp")
        if not is_loopback(listener):
            LOG.warning("every machine that reaches this address can ask, and read what stands below the roots")
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=ENDING_SECONDS)
        uvicorn.Server(config).run(sockets=[listener])
