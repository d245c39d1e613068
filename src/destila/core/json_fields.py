"""Typed values out of text and JSON that a user wrote, with every mistake named and its place.

`read_text` and `parse_json` turn bytes into values; `Fields` takes values of known types out of them and collects what
is wrong instead of stopping at the first mistake, so that a file's problems are reported at once. This module knows
what a question's id, answers and `is_impossible` look like, but not which file holds them, nor whether they are true.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from destila.core.errors import UserError

TYPE_NAMES = {str: "a text", int: "a whole number", list: "a list", dict: "an object", bool: "true or false"}

Value = TypeVar("Value")


def read_text(path: Path) -> str:
    """A file as text: UTF-8, with or without a byte order mark.

    Raises:
        UserError: it cannot be read, is not UTF-8 (with the offset of the first wrong byte) or holds nothing.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(str(path), f"cannot be read: {error.strerror}", "Check its permissions.") from error
    mark = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    try:
        text = data[mark:].decode("utf-8")
    except UnicodeDecodeError as error:
        guess = "; it looks like UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        problem = f"is not UTF-8: byte 0x{error.object[error.start]:02X} at offset {mark + error.start}{guess}"
        raise UserError(str(path), problem, "Save it as UTF-8.") from None
    if not text.strip():
        raise UserError(str(path), "is empty", "Was it cut short? Make or download it again.")
    return text


def parse_json(text: str) -> tuple[Any, str]:
    """A JSON value and what is wrong with it; one of the two is empty."""
    try:
        return json.loads(text), ""
    except json.JSONDecodeError as error:
        message = error.msg.removesuffix(" at")  # "Unterminated string starting at"
        return None, f"is not JSON: {message} at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets thousands deep
        return None, f"is not JSON that can be read: {error}"


class Fields:
    """Takes typed values out of parsed JSON and collects what is wrong, each with its place."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def take(self, record: dict[str, Any], key: str, kind: type[Value], place: str) -> Value | None:
        """A required value; None, and a problem, where it is missing or of another type."""
        value = _whole(record.get(key)) if kind is int else record.get(key)
        if type(value) is kind:  # not isinstance: True is no answer_start
            return value
        self.wrong(f"{place}{key}", value, kind, missing=key not in record)
        return None

    def take_or(self, record: dict[str, Any], key: str, default: Value, place: str) -> Value:
        """A value that may be missing or null."""
        if record.get(key) is None:
            return default
        value = self.take(record, key, type(default), place)
        return default if value is None else value

    def wrong(self, where: str, value: Any, kind: type, *, missing: bool = False) -> None:
        """Note that a value is missing or has the wrong type."""
        shown = repr(value) if len(repr(value)) <= 40 else f"{repr(value)[:39]}…"
        self.problems.append(f"{where} is missing" if missing else f"{where} is {shown}, not {TYPE_NAMES[kind]}")

    def objects(self, record: dict[str, Any], key: str, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of a required list, each with its place."""
        for number, item in enumerate(self.take(record, key, list, place) or ()):
            if type(item) is dict:
                yield f"{place}{key}[{number}].", item
            else:
                self.wrong(f"{place}{key}[{number}]", item, dict)

    def identifier(self, record: dict[str, Any], place: str, default: str = "") -> str:
        """The id of a question: a text, or a whole number as some tools write it."""
        if type(record.get("id")) is int:
            return str(record["id"])
        found = self.take_or(record, "id", default, place) if default else self.take(record, "id", str, place)
        if found == "":
            self.problems.append(f"{place}id is empty")
        return found or ""

    def impossible(self, record: dict[str, Any], place: str) -> bool | None:
        """What the file says of the question having no answer; None where it says nothing."""
        return None if record.get("is_impossible") is None else self.take(record, "is_impossible", bool, place)

    def answers(self, record: dict[str, Any], place: str) -> tuple[tuple[str, int], ...]:
        """The answers, written as a list of objects or as an object of two lists."""
        if record.get("answers") is None:
            return ()
        pairs = self._columns if type(record["answers"]) is dict else self._objects
        return tuple((text, start) for text, start in pairs(record, place) if text is not None and start is not None)

    def _objects(self, record: dict[str, Any], place: str) -> Iterator[tuple[str | None, int | None]]:
        for where, answer in self.objects(record, "answers", place):
            yield self.take(answer, "text", str, where), self.take(answer, "answer_start", int, where)

    def _columns(self, record: dict[str, Any], place: str) -> Iterator[tuple[str | None, int | None]]:
        columns = record["answers"]
        texts = self.take(columns, "text", list, f"{place}answers.") or []
        starts = self.take(columns, "answer_start", list, f"{place}answers.") or []
        if len(texts) != len(starts):
            self.problems.append(f"{place}answers has {len(texts)} texts, but {len(starts)} values of answer_start")
        for number, (text, start) in enumerate(zip(texts, starts, strict=False)):
            if type(text) is not str:
                self.wrong(f"{place}answers.text[{number}]", text, str)
            elif type(whole := _whole(start)) is not int:
                self.wrong(f"{place}answers.answer_start[{number}]", start, int)
            else:
                yield text, whole


def _whole(value: object) -> object:
    """12.0 as 12: what programs write of a column of whole numbers in which one was missing."""
    return int(value) if type(value) is float and value.is_integer() else value
