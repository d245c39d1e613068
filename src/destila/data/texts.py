"""Texts for what reads no answers: contexts and questions of question files, paragraphs of text files, one stream.

Text files are read anew each time and never held; question files are held, as everywhere. This module cuts nothing.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from destila.core.errors import UserError
from destila.data.corpus import OPENERS, paragraphs, text_files
from destila.data.sources import resolve
from destila.data.squad import read


class Texts:
    """The texts of files, in the order of the names, as often as they are asked for; none is blank.

    Args:
        names: question files, named sources, text files, or directories of text files.
        where: the setting that holds the names, for errors.

    Raises:
        UserError: no name is given, or a file is missing or damaged; text files are opened when they are iterated over.
    """

    def __init__(self, names: Sequence[str], *, where: str) -> None:
        if not names:
            raise UserError(where, "names no texts", "Give files with texts, or named data sets.")
        self._parts: list[Path | list[str]] = []
        for name in names:
            if Path(name).is_dir() or name.endswith(tuple(OPENERS)):
                self._parts += text_files([name])
            else:
                self._parts.append(_texts_of(name))

    def __iter__(self) -> Iterator[str]:
        for part in self._parts:
            yield from (text for text in (paragraphs(part) if isinstance(part, Path) else part) if text.strip())


def _texts_of(name: str) -> list[str]:
    """Questions and contexts of a question file, each distinct one once."""
    examples, _ = read(resolve(name), repair=True)  # what is wrong with answers does not matter here
    return list(dict.fromkeys(text for example in examples for text in (example.context, example.question)))
