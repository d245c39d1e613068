"""A drop-in for the question-answering pipeline that transformers had: its arguments and its result keys on a `Reader`.

>>> from destila import pipeline
>>> ask = pipeline("question-answering", model="runs/student")    # doctest: +SKIP
>>> ask(question="¿Quién fundó la ciudad?", context=text)         # doctest: +SKIP
{'score': 0.93, 'start': 34, 'end': 51, 'answer': 'Francisco Pizarro'}

Same: what may be passed and in which forms, every argument of a call and its default, the keys, a dict for one answer
and a list for more. Better, and therefore different: a score is the probability of the whole span among all spans of
all windows, so it compares across windows; answers neither overlap nor repeat one another, and what is improbable
beside the best is left out; what cannot be done is an error that says why.
This module decides nothing about answers; `destila.inference.reader` does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from destila.config import WindowSettings
from destila.core.errors import UserError
from destila.core.records import Answer, Example, Prediction
from destila.inference.questions import Pair, shown
from destila.inference.reader import Reader

TASK = "question-answering"
Result = dict[str, Any]
NOTHING: Result = {"start": 0, "end": 0, "answer": ""}  # how the pipeline always spelled "no answer"


def pipeline(
    task: str = TASK,
    model: "str | Path | Reader | None" = None,
    *,
    revision: str | None = None,
    backend: str = "auto",
    **options: Any,
) -> "QuestionAnsweringPipeline":
    """Load a reader as a pipeline.

    Args:
        task: "question-answering"; there is no other.
        model: a local directory, a hub id or a `Reader`; None: the bundled model.
        revision: commit of the hub repository.
        backend: "auto", "torch", "onnx" or "openvino".
        options: what calls shall use unless they say otherwise; see `CallOptions`.

    Raises:
        UserError: another task, no such model, or no such option.
    """
    if task != TASK:
        raise UserError("pipeline", f"knows no task {task!r}", f"The only one is {TASK!r}.")
    reader = model if isinstance(model, Reader) else Reader.load(model, revision=revision, backend=backend)
    return QuestionAnsweringPipeline(reader, **options)


@dataclass(frozen=True)
class CallOptions:
    """What a call may choose."""

    top_k: int = 1  # most answers to a question
    doc_stride: int | None = None  # tokens that neighboring windows share; None: 128, or half a window if that is less
    max_answer_len: int = 15  # tokens of the longest answer
    max_seq_len: int | None = None  # tokens of a window; None: 384, or as many as the model can read
    max_question_len: int = 64  # tokens after which a question is cut off
    handle_impossible_answer: bool = False  # whether "no answer" (an empty text) may be among the answers
    align_to_words: bool = True  # answers are whole words; nothing else is offered

    @classmethod
    def of(cls, values: Mapping[str, Any], base: "CallOptions | None" = None) -> "CallOptions":
        """`base` with other values; None stands for what the base says, as it always did.

        Raises:
            UserError: an unknown option or an illegal value.
        """
        unknown = [f"{name!r} is no option" for name in values if name not in cls.__dataclass_fields__]
        if unknown:
            raise UserError.from_problems("pipeline", unknown, f"Options: {', '.join(cls.__dataclass_fields__)}.")
        given = {name: value for name, value in values.items() if value is not None}
        options = cls(**{**vars(base or cls()), **given})
        options._check()
        return options

    def _check(self) -> None:
        least = {"top_k": 1, "doc_stride": 0, "max_answer_len": 1, "max_seq_len": 16, "max_question_len": 1}
        values = {name: getattr(self, name) for name in least}
        problems = [
            f"{name} = {value!r} is no whole number of at least {least[name]}"
            for name, value in values.items()
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least[name])
        ]
        if not self.align_to_words:
            problems.append("align_to_words = False is not offered: answers are whole words")
        if problems:
            raise UserError.from_problems("pipeline", problems, "Mend these options.")


class QuestionAnsweringPipeline:
    """Answers questions in the forms that the pipeline of transformers took and gave.

    Args:
        reader: who answers; its no-answer threshold plays no part, `handle_impossible_answer` decides.
        options: see `CallOptions`.
    """

    def __init__(self, reader: Reader, **options: Any) -> None:
        self.reader, self.options = reader, CallOptions.of(options)

    def __call__(
        self, *inputs: Any, question: Any = None, context: Any = None, **options: Any
    ) -> Result | list[Result] | list[Result | list[Result]]:
        """Answer questions.

        Args:
            inputs: one {"question": ..., "context": ...}, or several, or a list of them.
            question: a question or a list of them; `context`: the text of all, or a list with one for each.
            options: see `CallOptions`.

        Returns:
            {"score", "start", "end", "answer"} for one question with one answer, a list of these for several
            answers; a list of such results for several questions.

        Raises:
            UserError: the inputs make no questions and contexts, or an option is unknown or illegal.
        """
        chosen = CallOptions.of(options, self.options)
        pairs = _pairs(inputs, question, context)
        reader = self._reader(chosen)
        examples = [
            Example(f"question {number}", _cut(reader, asked, chosen.max_question_len), text)
            for number, (asked, text) in enumerate(pairs, 1)
        ]
        read = reader.read(examples, top_k=chosen.top_k)
        results = [_result(prediction, answers, chosen) for prediction, answers in read]
        return results[0] if len(results) == 1 else results

    def _reader(self, options: CallOptions) -> Reader:
        """The same model with the windows that a call asks for."""
        reader = self.reader
        length = options.max_seq_len or min(384, reader.longest)
        if length > reader.longest:
            problem = f"max_seq_len = {length}, and {reader.name} can read {reader.longest} tokens at once"
            raise UserError("pipeline", problem, "Lower it.")
        stride = min(128, length // 2) if options.doc_stride is None else options.doc_stride
        return Reader(
            reader.model,
            reader.tokenizer,
            window=WindowSettings(length=length, stride=stride, max_answer_tokens=options.max_answer_len),
            pad_id=reader.builder.pad_id,
            name=reader.name,
            longest=reader.longest,
        )


# ------------------------------------------------------------------------------------------ what comes in
def _pairs(inputs: tuple[Any, ...], question: Any, context: Any) -> list[Pair]:
    if inputs and (question is not None or context is not None):
        raise UserError("pipeline", "got inputs by position and by name", "Give them one way.")
    if not inputs:
        return _named_pairs(question, context)
    items = inputs[0] if len(inputs) == 1 and not isinstance(inputs[0], Mapping | str) else inputs
    if not isinstance(items, Iterable):
        items = [items]
    return [_pair(item) for item in items]


def _named_pairs(question: Any, context: Any) -> list[Pair]:
    for name, given in (("question", question), ("context", context)):
        if given is not None and not isinstance(given, str | Sequence):
            raise UserError("pipeline", f"{name} is {shown(given)}", "Give a text, or a list of texts.")
    questions = [question] if isinstance(question, str) else list(question or [])
    contexts = [context] * len(questions) if isinstance(context, str) else list(context or [])
    if not questions or len(questions) != len(contexts):
        problem = f"{len(questions)} questions do not go with {len(contexts)} contexts"
        raise UserError("pipeline", problem, "Give as many contexts as questions, or one for all.")
    return [_pair({"question": asked, "context": text}) for asked, text in zip(questions, contexts, strict=True)]


def _pair(item: Any) -> Pair:
    if not isinstance(item, Mapping):  # transformers' SquadExample
        item = {"question": getattr(item, "question_text", None), "context": getattr(item, "context_text", None)}
    for name in ("question", "context"):
        if not isinstance(item.get(name), str) or not item[name].strip():
            raise UserError("pipeline", f"{name} is {item.get(name)!r}", "Give a text that is not empty.")
    return item["question"], item["context"]


def _cut(reader: Reader, question: str, most: int) -> str:
    """The question without what comes after its first `most` tokens."""
    offsets = reader.tokenizer.encode(question, add_special_tokens=False).offsets
    return question if len(offsets) <= most else question[: offsets[most - 1][1]]


# ------------------------------------------------------------------------------------------ what goes out
def _result(prediction: Prediction, answers: list[Answer], options: CallOptions) -> Result | list[Result]:
    found: list[Result] = [
        {"score": answer.score, "start": answer.start, "end": answer.end, "answer": answer.text}
        for answer in answers
        if answer.text is not None
    ]
    if options.handle_impossible_answer or not found:
        found.append({"score": prediction.no_answer.score, **NOTHING})
        found.sort(key=lambda result: -float(result["score"]))
    found = found[: options.top_k]
    return found[0] if len(found) == 1 else found
