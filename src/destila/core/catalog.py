"""A catalog of messages: templates in English, and what they are in another language.

`destila.core.language` says what it is for; this module is imported only where the language is not English.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

FILE = Path(__file__).with_name("spanish.json")
GLOSSARY, NAMES = "glossary", "names"  # sections of the file: for translators; of what has a name in words


@dataclass(frozen=True, slots=True)
class Template:
    """A message with places for values.

    Attributes:
        literals: what stands before, between and behind the places of the English one.
        names: of the places, in order.
        pieces: of the Spanish one: (text, name of the place behind it or None, "message", "messages" or nothing).
    """

    literals: tuple[str, ...]
    names: tuple[str, ...]
    pieces: tuple[tuple[str, str | None, str], ...]

    @classmethod
    def of(cls, english: str, spanish: str) -> "Template":
        """A template from its two texts, with places as in `str.format`."""
        parts = list(pieces_of(english))
        names = tuple(name for _, name, _ in parts if name is not None)
        literals = tuple(text for text, _, _ in parts) + (("",) if parts[-1][1] is not None else ())
        return cls(literals, names, tuple(pieces_of(spanish)))

    def values(self, text: str) -> dict[str, str] | None:
        """The values that a text has in the places of the English one, each as short as can be; None: it fits not."""
        first, *middle, last = self.literals
        place, end = len(first), len(text) - len(last)
        if place > end or not text.startswith(first) or not text.endswith(last):
            return None
        values = []
        for literal in middle:
            found = text.find(literal, place, end)
            if found < 0:
                return None
            values.append(text[place:found])
            place = found + len(literal)
        return dict(zip(self.names, [*values, text[place:end]], strict=True))


class Catalog:
    """Messages of the code and what they are in another language.

    Args:
        messages: by template; a place stands in braces, and real braces are doubled.
        names: what a value that is no message may be and still have another name, such as the bundled model.
    """

    def __init__(self, messages: Mapping[str, str], names: Mapping[str, str] | None = None) -> None:
        self._names = dict(names or {})
        self._exact = {english: spanish for english, spanish in messages.items() if "{" not in english}
        made = [Template.of(english, spanish) for english, spanish in messages.items() if "{" in english]
        self._exact |= {each.literals[0]: each.pieces[0][0] for each in made if not each.names}
        # The template that says most fits best: "{a}: is required, to measure {b}" goes before "{a}: {b}".
        made = sorted((each for each in made if each.names), key=lambda each: -len("".join(each.literals)))
        self._templates = [each for each in made if not each.literals[0].startswith(" ")]
        self._indented = [each for each in made if each.literals[0].startswith(" ")]

    def say(self, text: str) -> str:
        """A text in the language of the catalog, line by line if it is no message as a whole."""
        plain = " ".join(text.split()) if "\n" in text else text
        if (found := self._exact.get(text, self._exact.get(plain))) is not None:
            return found
        return "\n".join(self._line(line) for line in text.split("\n"))

    def _line(self, line: str) -> str:
        text = line.lstrip(" ").removeprefix("- ")
        indent = line[: len(line) - len(text)]
        said = self._whole(line, self._indented) if indent else None
        return said or indent + (self._whole(text, self._templates) or text)

    def _whole(self, text: str, templates: Sequence[Template]) -> str | None:
        if text in self._exact:
            return self._exact[text]
        for template in templates:
            if (values := template.values(text)) is not None:
                return "".join(self._filled(template, values))
        return None

    def _filled(self, template: Template, values: Mapping[str, str]) -> Iterator[str]:
        for text, name, kind in template.pieces:
            yield text
            if name is not None:
                yield self._value(values[name], kind)

    def _value(self, value: str, kind: str) -> str:
        if kind == "messages":
            comma = "; " if "; " in value else ", "
            return comma.join(map(self.say, value.split(comma)))
        return self.say(value) if kind else self._names.get(value, value)


def read() -> tuple[Catalog, Catalog]:
    """The catalog of the package, and that of names alone, which are said where any name of a user may stand."""
    sections = json.loads(FILE.read_text(encoding="utf-8"))
    messages = {key: text for name, part in sections.items() if name != GLOSSARY for key, text in part.items()}
    return Catalog(messages, sections[NAMES]), Catalog(sections[NAMES])


def pieces_of(template: str) -> Iterator[tuple[str, str | None, str]]:
    """The parts of a template: a text, the name of the place behind it or None, and what stands there."""
    text = ""
    for literal, name, kind, _ in Formatter().parse(template):
        text += literal
        if name is not None:
            yield text, name, kind or ""
            text = ""
    if text or not template:
        yield text, None, ""
