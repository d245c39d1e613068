"""A catalog of messages: templates in English, and what they are in another language.

`destila.core.language` says what it is for; this module is imported only where the language is not English.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")
FILE = Path(__file__).with_name("spanish.json")
GLOSSARY, NAMES = "glossary", "names"  # sections of the file: for translators; of what has a name in words
WEAK = 6  # letters: a template of fewer ("{name} is {value}") says something of one word, else it fits any sentence


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
        values.append(text[place:end])
        says_little = not first and len("".join(self.literals)) < WEAK and not any(kind for _, _, kind in self.pieces)
        if says_little and " " in values[0]:
            return None
        return dict(zip(self.names, values, strict=True))


class Catalog:
    """Messages of the code and what they are in another language.

    Args:
        messages: by template; a place stands in braces, and real braces are doubled.
        names: what a value that is no message may be and still have another name, such as the bundled model.
    """

    def __init__(self, messages: Mapping[str, str], names: Mapping[str, str] | None = None) -> None:
        self._names = Catalog(names) if names else None
        made = [Template.of(english, spanish) for english, spanish in messages.items() if "{" in english]
        self._exact = {english: spanish for english, spanish in messages.items() if "{" not in english}
        self._exact |= {each.literals[0]: each.pieces[0][0] for each in made if not each.names}
        self._templates = [each for each in made if each.names]
        self._found: dict[str, tuple[int, str]] = {}

    def say(self, text: str) -> str:
        """A text in the language of the catalog, line by line if it is no message as a whole."""
        plain = " ".join(text.split()) if "\n" in text else text
        if (found := self._exact.get(text, self._exact.get(plain))) is not None:
            return found
        return "\n".join(map(self._line, text.split("\n")))

    def _line(self, line: str) -> str:
        known, said = self._best(line)
        text = line.lstrip(" ").removeprefix("- ")
        inner, said_inside = self._best(text)
        return said if known >= inner else line[: len(line) - len(text)] + said_inside

    def _best(self, text: str) -> tuple[int, str]:
        """How many letters of a line the catalog knows at most, and the line so said."""
        if text in self._exact:
            return len(text), self._exact[text]
        if text not in self._found:
            tried = [(0, text)]
            for template in self._templates:
                if (values := template.values(text)) is not None:
                    tried.append(self._filled(template, values))
            for colon in re.finditer(": ", text):  # "--name = value: problem"
                known, said = self._best(text[colon.end() :])
                tried.append((known and known + 2, text[: colon.end()] + said))
            self._found[text] = max(tried, key=lambda each: each[0])
        return self._found[text]

    def _filled(self, template: Template, values: Mapping[str, str]) -> tuple[int, str]:
        known, said = sum(map(len, template.literals)), ""
        for text, name, kind in template.pieces:
            said += text
            if name is None:
                continue
            value = values[name]
            comma = "; " if "; " in value else ", "
            parts = [self._best(part) for part in (value.split(comma) if kind == "messages" else [value])]
            known += sum(length for length, _ in parts) if kind else 0
            said += comma.join(part for _, part in parts) if kind else self._plain(value)
        return known, said

    def _plain(self, value: str) -> str:
        """A value that is no message: a name of ours, quoted or not, or a number, its thousands apart."""
        if THOUSANDS.fullmatch(value):
            return value.replace(",", "\xa0")
        name = value.strip("'")
        return value.replace(name, self._names.say(name)) if self._names and name else value


def read() -> tuple[Catalog, Catalog]:
    """The catalog of the package, and that of names alone, which are said where any name of a user may stand."""
    sections = json.loads(FILE.read_text(encoding="utf-8"))
    own = {key: text for name, part in sections.items() if name not in (GLOSSARY, NAMES) for key, text in part.items()}
    return Catalog(own, sections[NAMES]), Catalog(sections[NAMES])


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
