"""Files of questions <-> `Example`s: SQuAD JSON (v1.1 and v2.0), JSONL with one question a line, Parquet as on the hub.

A file is read in three steps: bytes to Python values, values to `RawExample`s (every type checked, every mistake named
with its place), and those through `repair.judge`. Invariant: what `save` writes, `read` gives back, equal and in order.

How a file says that a question has no answer: `is_impossible: true`, or, in JSONL and Parquet, an empty list of answers
(the convention of the hub's squad_v2). A question without answers about which the file says nothing is unlabeled. This
module knows no named sources and downloads nothing; see `destila.data.sources`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from destila.core.errors import SHOWN_PROBLEMS, UserError
from destila.core.json_fields import Fields, parse_json, read_text
from destila.core.records import Answer, Example
from destila.core.runs import atomic_file
from destila.core.strict_json import dumps
from destila.data.offsets import CHARACTERS
from destila.data.repair import ANSWER_FAULTS, Counts, Gold, Problem, RawExample, judge

ENDINGS = (".json", ".jsonl", ".parquet")
REPAIR_REMEDY = (
    "Fix the file, or pass --repair (in training --data.repair) to mend what can be mended and drop the rest."
)

# What no tokenizer and no JSON reader takes: halves of UTF-16 pairs, and NUL.
UNUSABLE = re.compile("[\ud800-\udfff\0]")


# ---------------------------------------------------------------------------------------------------- reading
def read(path: Path, *, repair: bool) -> tuple[list[Example], Counts]:
    """Read a data file; the ending says how.

    Args:
        path: a .json, .jsonl or .parquet file.
        repair: mend answers that do not match their context and drop those that cannot be mended; false: change nothing
            and refuse the file if it cannot be taken as it is.

    Raises:
        UserError: all problems of the file at once.
    """
    return read_gold(path, gold="repaired" if repair else "checked")


def read_gold(path: Path, *, gold: Gold) -> tuple[list[Example], Counts]:
    """As `read`; `gold` says what becomes of answers (see `destila.data.repair`)."""
    fields, raws = Fields(), list[RawExample]()
    for raw in _raw_examples(path, fields):
        # One paragraph has many questions; its text is looked at once.
        fields.problems += _text_problems(raw, with_context=not raws or raw.context != raws[-1].context)
        raws.append(raw)
    judged = judge(raws, gold=gold)
    counts = judged.counts()
    if fields.problems:
        more = [fault.message for fault in judged.faults] if gold == "checked" else []
        raise UserError.from_problems(str(path), fields.problems + more, "Mend the file.")
    if judged.faults and gold != "repaired":
        raise UserError(str(path), _refusal(judged.faults, counts), REPAIR_REMEDY)
    if not judged.examples:
        state = f"has no usable question ({counts.changes})" if counts.before.examples else "has no questions"
        raise UserError(str(path), state, "Give a file with at least one.")
    return judged.examples, counts


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise a `UserError` for a new data file of no known ending, or one that exists, unless `overwrite`."""
    _check_ending(path)
    if path.exists() and not overwrite:
        raise UserError(str(path), "exists already", "Pass --overwrite to replace it, or choose another name.")


def _check_ending(path: Path) -> None:
    """Raise a `UserError` for a file name that no format belongs to."""
    if path.suffix.lower() not in ENDINGS:
        problem = f"has the unknown ending {path.suffix!r}" if path.suffix else "has no ending"
        raise UserError(str(path), problem, f"Data files end in {', '.join(ENDINGS)}.")


def _raw_examples(path: Path, fields: Fields) -> Iterator[RawExample]:
    if not path.exists():
        raise UserError(str(path), "does not exist", "Check the path.")
    if path.is_dir():
        raise UserError(str(path), "is a directory", f"Give a file that ends in {', '.join(ENDINGS)}.")
    _check_ending(path)
    if path.suffix.lower() == ".json":
        return _squad(path, fields)
    return _rows(_json_lines(path, fields) if path.suffix.lower() == ".jsonl" else _parquet_rows(path, fields), fields)


def _refusal(faults: Sequence[Problem], counts: Counts) -> str:
    of_answers = sum(fault.kind in ANSWER_FAULTS for fault in faults)
    of_questions = len(faults) - of_answers
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in Counter(fault.kind for fault in faults).items())
    parts = []
    if of_answers:
        parts.append(f"{of_answers:,} of {counts.before.answers:,} answers do not match their context")
    if of_questions:
        parts.append(f"{of_questions:,} of {counts.before.examples:,} questions cannot be used")
    summary = f"{'; '.join(parts)} ({kinds})"
    if counts.unit != CHARACTERS:
        summary += f"; answer_start seems to count {counts.unit}"
    if len(faults) == 1:
        return f"{summary}: {faults[0].message}"
    shown = "".join(f"\n  - {fault.message}" for fault in faults[:SHOWN_PROBLEMS])
    more = f"\n  - and {len(faults) - SHOWN_PROBLEMS:,} more" if len(faults) > SHOWN_PROBLEMS else ""
    return f"{summary}; first:{shown}{more}"


def _text_problems(raw: RawExample, *, with_context: bool) -> list[str]:
    texts = {"id": raw.id, "question": raw.question, "title": raw.title, "source": raw.source}
    texts |= {f"answers[{number}]": text for number, (text, _) in enumerate(raw.answers)}
    if with_context:
        texts["context"] = raw.context
    problems = []
    for name, text in texts.items():
        found = UNUSABLE.search(text)
        if found:
            what = "a NUL character" if found[0] == "\0" else f"an unpaired surrogate (U+{ord(found[0]):04X})"
            problems.append(f"{raw.place} (id {raw.id}): {name} holds {what} at character {found.start()}")
    if with_context and not raw.context.strip():
        problems.append(f"{raw.place} (id {raw.id}): the context is empty")
    return problems


# ---------------------------------------------------------------------------------------------------- the three formats
def _squad(path: Path, fields: Fields) -> Iterator[RawExample]:
    document, problem = parse_json(read_text(path))
    if problem:
        hint = "One object a line is JSONL: name it .jsonl." if "Extra data" in problem else "Was it cut short?"
        raise UserError(str(path), problem, hint)
    if type(document) is not dict:
        remedy = 'SQuAD JSON is {"data": [{"title": ..., "paragraphs": [...]}]}; one object a line is JSONL.'
        raise UserError(str(path), f"holds {type(document).__name__}, not an object", remedy)
    for article_place, article in fields.objects(document, "data", ""):
        title = fields.take_or(article, "title", "", article_place)
        source = fields.take_or(article, "source", "", article_place)
        for paragraph_place, paragraph in fields.objects(article, "paragraphs", article_place):
            context = fields.take(paragraph, "context", str, paragraph_place)
            for place, question in fields.objects(paragraph, "qas", paragraph_place):
                raw = RawExample(
                    place=place[:-1],
                    id=fields.identifier(question, place),
                    question=fields.take(question, "question", str, place) or "",
                    context=context or "",
                    answers=fields.answers(question, place),
                    impossible=fields.impossible(question, place),
                    title=title,
                    source=source,
                )
                if context is not None:
                    yield raw


def _rows(rows: Iterable[tuple[str, str, dict[str, Any]]], fields: Fields) -> Iterator[RawExample]:
    """Questions from flat rows: (place, id if it has none, row)."""
    for name, default_id, row in rows:
        place = f"{name}: "
        impossible = fields.impossible(row, place)
        answers = fields.answers(row, place)
        if impossible is None and row.get("answers") is not None and not answers:
            impossible = True
        question, context = fields.take(row, "question", str, place), fields.take(row, "context", str, place)
        identifier = fields.identifier(row, place, default_id)
        title, source = fields.take_or(row, "title", "", place), fields.take_or(row, "source", "", place)
        if question is not None and context is not None:
            yield RawExample(name, identifier, question, context, answers, impossible, title, source)


def _json_lines(path: Path, fields: Fields) -> Iterator[tuple[str, str, dict[str, Any]]]:
    # Only a line feed ends a line; str.splitlines would also split at U+2028 inside a text.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        row, problem = parse_json(line)
        if problem:
            fields.problems.append(f"line {number} {problem.replace('at line 1, column', 'at column')}")
        elif type(row) is not dict:
            fields.wrong(f"line {number}", row, dict)
        else:
            yield f"line {number}", str(number), row


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            "pyarrow", "is not installed, and Parquet files need it", "pip install 'destila[data]'"
        ) from None
    return pyarrow


def _parquet_rows(path: Path, fields: Fields) -> Iterator[tuple[str, str, dict[str, Any]]]:
    arrow = _pyarrow()
    known = ("id", "title", "context", "question", "answers", "is_impossible", "source")
    try:
        with arrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            rows = file.read(columns=[name for name in known if name in names]).to_pylist()
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(str(path), f"is not a whole Parquet file ({reason})", "Was it cut short?") from error
    missing = [name for name in ("question", "context") if name not in names]
    fields.problems += [f"has no column {name!r}; its columns are {', '.join(names)}" for name in missing]
    for number, row in enumerate(() if missing else rows):
        yield f"row {number}", str(number), row


# ---------------------------------------------------------------------------------------------------- writing
def save(examples: Sequence[Example], path: Path) -> None:
    """Write a data file, whole or not at all; the ending says how.

    SQuAD JSON is version 2.0 if any question is unanswerable, else 1.1. Neighboring questions of one article share an
    entry, and those of one context a paragraph; their order stays.

    Raises:
        UserError: unknown ending; pyarrow is missing; the file cannot be written.
    """
    _check_ending(path)
    ending = path.suffix.lower()
    if ending == ".parquet":
        _save_parquet(examples, path)
        return
    if ending == ".jsonl":
        text = "".join(dumps(_row(example)) + "\n" for example in examples)
    else:
        text = dumps(squad_document(examples), compact=True) + "\n"
    with atomic_file(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def squad_document(examples: Sequence[Example]) -> dict[str, Any]:
    """The examples as a value of SQuAD JSON; see `save`."""
    second = any(example.labeled and not example.answers for example in examples)
    articles: list[dict[str, Any]] = []
    for (title, source), members in groupby(examples, key=lambda example: (example.title, example.source)):
        paragraphs = [
            {"context": context, "qas": [_question(example, second=second) for example in group]}
            for context, group in groupby(members, key=lambda example: example.context)
        ]
        articles.append({"title": title, **({"source": source} if source else {}), "paragraphs": paragraphs})
    return {"version": "v2.0" if second else "1.1", "data": articles}


def _question(example: Example, *, second: bool) -> dict[str, Any]:
    answers = [{"text": answer.text, "answer_start": _start(answer)} for answer in example.answers]
    entry: dict[str, Any] = {"id": example.id, "question": example.question, "answers": answers}
    # An unlabeled question says nothing of being impossible: that is how it stays unlabeled.
    return entry | {"is_impossible": not answers} if second and example.labeled else entry


def _start(answer: Answer) -> int:
    return -1 if answer.start is None else answer.start  # a published text without a place


def _row(example: Example) -> dict[str, Any]:
    row: dict[str, Any] = {"id": example.id, "title": example.title, "context": example.context}
    row["question"] = example.question
    if example.labeled:
        texts, starts = [answer.text for answer in example.answers], [_start(answer) for answer in example.answers]
        row["answers"] = {"text": texts, "answer_start": starts}
    return row | {"source": example.source} if example.source else row


def _save_parquet(examples: Sequence[Example], path: Path) -> None:
    arrow = _pyarrow()
    answers = arrow.struct([("text", arrow.list_(arrow.string())), ("answer_start", arrow.list_(arrow.int32()))])
    texts = [(name, arrow.string()) for name in ("id", "title", "context", "question")]
    schema = arrow.schema([*texts, ("answers", answers), ("source", arrow.string())])
    table = arrow.Table.from_pylist([_row(example) for example in examples], schema=schema)
    with atomic_file(path) as temporary:
        arrow.parquet.write_table(table, temporary)
