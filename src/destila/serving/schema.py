"""What goes over the wire. The limits of a server become part of its request model, and so of its OpenAPI document."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag, create_model

from destila.config import LimitSettings, ServeSettings
from destila.core.calibration import Promise
from destila.core.cpus import thread_count
from destila.core.records import Answer
from destila.core.runs import destila_version
from destila.inference.highlight import Sentence
from destila.inference.reader import Reader

ONE: Literal["one"] = "one"  # the two forms of a field; only the one that is meant is checked and complained about
MANY: Literal["many"] = "many"
# A text must hold something besides white space, whoever says what that is: ECMAScript, by which clients read the
# OpenAPI document, knows U+FEFF, and Python U+001C to U+001F and U+0085.
SAYS_SOMETHING = r"[^\s\x1c-\x1f\x85\uFEFF]"


class AnswerRequest(BaseModel):
    """Questions and texts: every question is answered from every context by itself."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: Any
    context: Any
    top_k: int = 1
    must_answer: bool = False
    no_answer_threshold: float | None = None
    highlight: bool = False

    @property
    def questions(self) -> list[str]:
        """The questions, also if there is one."""
        return [self.question] if isinstance(self.question, str) else list(self.question)

    @property
    def contexts(self) -> list[str]:
        """The contexts, also if there is one."""
        return [self.context] if isinstance(self.context, str) else list(self.context)


def request_model(limits: LimitSettings) -> type[AnswerRequest]:
    """`AnswerRequest` with the limits of one server."""
    asked = Annotated[
        str, StringConstraints(min_length=1, max_length=limits.question_characters, pattern=SAYS_SOMETHING)
    ]
    text = Annotated[str, StringConstraints(min_length=1, max_length=limits.context_characters, pattern=SAYS_SOMETHING)]
    fields: dict[str, Any] = {
        "question": (_one_or_many(asked, limits.pairs), Field(description="One question, or a list of them.")),
        "context": (_one_or_many(text, limits.pairs), Field(description="One text, or a list of them.")),
        "top_k": (
            Annotated[int, Field(ge=1, le=limits.top_k), BeforeValidator(_whole)],
            Field(1, description="Most answers to a question from a context; alternatives that deserve it only."),
        ),
        "must_answer": (bool, Field(False, description='Always give the best span; never "no answer".')),
        "no_answer_threshold": (
            Annotated[float, Field(allow_inf_nan=False)] | None,
            Field(None, description='Say "no answer" where `no_answer_score` is above this; null: the model\'s own.'),
        ),
        "highlight": (bool, Field(False, description="Say which sentences of each context the answer needs.")),
    }
    return create_model("AnswerRequest", __base__=AnswerRequest, __doc__=AnswerRequest.__doc__, **fields)


def _whole(value: Any) -> Any:
    """3.0 as 3: JSON knows no difference, and JSON Schema calls both integers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _one_or_many(kind: Any, most: int) -> Any:
    several = Annotated[list[kind], Field(min_length=1, max_length=most)]
    form = Discriminator(lambda value: MANY if isinstance(value, list) else ONE)
    return Annotated[Annotated[kind, Tag(ONE)] | Annotated[several, Tag(MANY)], form]


class AnswerBody(BaseModel):
    """A span of the context, or the statement that it holds no answer (then text, start and end are null)."""

    text: str | None
    start: int | None = Field(description="First character, counted in Unicode code points.")
    end: int | None = Field(description="One past the last character.")
    score: float = Field(description='Probability among all spans of this context and "no answer".')
    probability: float | None = Field(
        None, description="That the best answer is exactly right; null of others, and of a model without calibration."
    )

    @classmethod
    def of(cls, answer: Answer) -> "AnswerBody":
        """The same answer."""
        return cls(**asdict(answer))


class SentenceBody(BaseModel):
    """A sentence of the context that the answer needs."""

    start: int
    end: int
    score: float = Field(description="Its share of the scores of all sentences, which add up to 1.")

    @classmethod
    def of(cls, sentence: Sentence) -> "SentenceBody":
        """The same sentence, whose text the client has."""
        return cls(start=sentence.start, end=sentence.end, score=sentence.score)


class ResultBody(BaseModel):
    """What one context says to one question."""

    question: int = Field(description="Which question, counted from 0.")
    context: int = Field(description="Which context, counted from 0.")
    answers: Sequence[AnswerBody] = Field(description="Best first; they neither overlap nor say the same.")
    guess: AnswerBody | None = Field(description='The best span behind a "no answer"; null where an answer is given.')
    no_answer_score: float | None = Field(
        description='How much "no answer" stands above the best span, in logits; null where there is no span.'
    )
    sentences: Sequence[SentenceBody] | None = Field(
        None, description="Those that the answer needs, in the order of the context; null where `highlight` is false."
    )


class RankedBody(AnswerBody):
    """An answer on one scale with those of the other contexts."""

    context: int | None = Field(description='Which context, counted from 0; null of "no answer", which all say.')


class AnswerResponse(BaseModel):
    """All results, question by question, within it context by context."""

    results: Sequence[ResultBody]
    ranked: Sequence[Sequence[RankedBody]] | None = Field(
        description="For each question, the answers of all contexts together, best first; null for a single context."
    )
    model: str
    milliseconds: float = Field(description="From the whole request to its answer, waiting included.")


class DocumentResponse(BaseModel):
    """The text of a file."""

    text: str
    pages: Sequence[int] = Field(description="First character of each page; empty where a format has no pages.")
    milliseconds: float
    note: str | None = Field(None, description="What to know of how the file was read; missing if there is nothing.")


class Problem(BaseModel):
    """What is wrong, and what to do."""

    problem: str
    remedy: str
    code: str | None = Field(None, description="What is wrong with a file, for programs.")


class ErrorResponse(BaseModel):
    """The body of every refusal."""

    error: Problem


class StateBody(BaseModel):
    """The state of the server."""

    status: str


class InfoBody(BaseModel):
    """What answers here, and within which limits."""

    model: str
    version: str = Field(description="Of destila.")
    backend: str = Field(description="What runs the model: onnx, openvino or torch.")
    threads: int = Field(description="Threads of the model.")
    window: Mapping[str, int] = Field(description="Tokens of a model input, their overlap, and of the longest answer.")
    no_answer_threshold: float | None = Field(
        description='"No answer" is said where `no_answer_score` is above this; null: never.'
    )
    promises: Sequence[Promise] | None = Field(
        description="How often answers were wrong that had at least some probability; null: it was not measured."
    )
    limits: Mapping[str, int] = Field(description="Of one request.")
    queue: Mapping[str, float] = Field(description="How requests wait and run together.")

    @classmethod
    def of(cls, reader: Reader, settings: ServeSettings) -> "InfoBody":
        """What is true of a server from its start to its end."""
        return cls(
            model=shown_name(reader),
            version=destila_version(),
            backend=getattr(reader.model, "backend", ""),
            threads=thread_count(settings.threads),
            window=asdict(reader.window),
            no_answer_threshold=reader.no_answer_threshold,
            promises=reader.calibration.promises if reader.calibration else None,
            limits=asdict(settings.limits),
            queue=asdict(settings.queue),
        )


def shown_name(reader: Reader) -> str:
    """What clients are told of a model's name: where it lies is no business of theirs."""
    return Path(reader.name).name
