"""Questions in a table, answers in the same table: DataFrames of pandas or polars, through narwhals.

Invariants: rows keep their order, and in pandas their index; a row without a question or a text gets no answer, and the
others are not touched by it. This module decides nothing about answers; `destila.inference.reader` does.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar, Unpack

from destila.core.errors import UserError
from destila.core.records import Answer, Example
from destila.inference.reader import Reader, Refusing

Frame = TypeVar("Frame")
COLUMNS = ("answer", "start", "end", "score")


def answer_frame(
    frame: Frame,
    *,
    question: str = "question",
    context: str = "context",
    reader: Reader | None = None,
    **refusing: Unpack[Refusing],
) -> Frame:
    """Answer the question of each row, in new columns `answer`, `start`, `end` and `score`.

    >>> import pandas
    >>> rows = pandas.DataFrame({"question": ["¿Quién fundó Lima?"], "context": ["Lima la fundó Francisco Pizarro."]})
    >>> destila.answer_frame(rows)["answer"].to_list()
    ['Francisco Pizarro']

    Args:
        frame: a DataFrame of pandas or polars; it is left as it is.
        question: the column with the questions.
        context: the column with the texts.
        reader: who answers; None: the bundled model.
        refusing: when "no answer" is given; see `Refusing`. Its answer, start and end are null, its score is not.

    Returns:
        A DataFrame of the same kind. A row whose question or text is null or blank has null in all four columns.

    Raises:
        UserError: narwhals is missing, it is no DataFrame, it lacks a column or has one of the new names, or texts
            cannot be read (see `Reader.read`); rows are named by their numbers, from 0.
    """
    table = _table(frame)
    _check_columns(table.columns, question, context)
    missing = [[*table[name].is_null()] for name in (question, context)]
    texts = list(zip(table[question].to_list(), table[context].to_list(), strict=True))
    blank = [any(isinstance(text, str) and not text.strip() for text in row) for row in texts]
    whole = [number for number, row in enumerate(zip(*missing, blank, strict=True)) if not any(row)]
    examples = [Example(f"row {number}", *row, labeled=False) for number, row in enumerate(texts)]
    reader = reader or Reader.load()
    read = reader.read([examples[number] for number in whole], **refusing)
    answers: list[Answer | None] = [None] * len(examples)
    for number, (prediction, _) in zip(whole, read, strict=True):
        answers[number] = prediction.answer
    fields = ("text", "start", "end", "score")
    values = [[getattr(answer, field, None) for answer in answers] for field in fields]
    answered: Frame = table.with_columns(*map(partial(_column, table), COLUMNS, values)).to_native()
    return answered


def _table(frame: Any) -> Any:
    """The frame as narwhals sees it."""
    try:
        import narwhals
    except ImportError as error:
        raise UserError("answer_frame", "needs narwhals", "pip install 'destila[frames]'") from error
    try:
        return narwhals.from_native(frame, eager_only=True)
    except TypeError as error:
        problem = f"is {type(frame).__module__}.{type(frame).__name__}"
        raise UserError("frame", problem, "Give a DataFrame of pandas or polars; collect a lazy one.") from error
    except narwhals.exceptions.DuplicateError as error:
        raise UserError("frame", "has two columns of one name", "Rename one of them.") from error


def _check_columns(columns: Sequence[Any], question: str, context: str) -> None:
    """Refuse a table that lacks a column, or has one that would be overwritten."""
    problems = [f"has no column {name!r}" for name in (question, context) if name not in columns]
    if problems:
        remedy = f"Name them with question= and context=; columns: {', '.join(map(str, columns))}."
        raise UserError.from_problems("frame", problems, remedy)
    if taken := [name for name in COLUMNS if name in columns]:
        remedy = f"Rename it: {', '.join(COLUMNS)} are where the answers go."
        raise UserError.from_problems("frame", [f"has a column {name!r} already" for name in taken], remedy)


def _column(table: Any, name: str, values: Sequence[Any]) -> Any:
    """A new column of the table; whole numbers stay whole beside nulls in pandas, too."""
    import narwhals

    if name in ("start", "end") and table.implementation.is_pandas_like():
        native = table.implementation.to_native_namespace().Series(values, dtype="Int64")
        return narwhals.from_native(native, series_only=True).alias(name)
    kinds = {"answer": narwhals.String(), "score": narwhals.Float64()}
    return narwhals.new_series(name, values, kinds.get(name, narwhals.Int64()), backend=table.implementation)
