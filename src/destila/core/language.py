"""The language of what the command line shows: English, as in the code, or Spanish, from the catalog beside this file.

Mental model: the code speaks English. Where a text reaches a person, `say` looks it up: as it is, then among the
templates of spanish.json, whose places keep their values; a value that is a message itself, "{name:message}" in the
Spanish, is said in turn, and so is each part of a list of them, "{name:messages}". What no template fits stays English.
Only the command line calls `speak`, so a library's exceptions and logs, and all JSON, are English in every language.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from destila.core.errors import UserError, sentence

if TYPE_CHECKING:
    from destila.core.catalog import Catalog

LOCALES = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set counts


def language_of(environment: Mapping[str, str]) -> str:
    """The language that a user wants, as its code: "es", or "en" for all else.

    DESTILA_LANG says it; without it the locale does.
    """
    wanted = next((environment[name] for name in ("DESTILA_LANG", *LOCALES) if environment.get(name)), "")
    code = wanted.lower().replace("-", "_").partition("_")[0].partition(".")[0].partition("@")[0]
    return "es" if code == "es" else "en"


def speak(language: str) -> None:
    """Let this process say what it says in that language from now on."""
    global _catalogs
    _catalogs = None
    if language == "es":
        from destila.core.catalog import read  # English does without

        _catalogs = read()


def say(text: str) -> str:
    """A message in the language of this process."""
    return text if _catalogs is None else _catalogs[0].say(text)


def say_name(text: str) -> str:
    """A name in the language of this process, if it is words of ours and no path, say."""
    return text if _catalogs is None else _catalogs[1].say(text)


def say_error(error: UserError) -> str:
    """What an error says, in the language of this process."""
    return sentence(say_name(error.where), say(error.problem), say(error.remedy))


_catalogs: "tuple[Catalog, Catalog] | None" = None  # of all messages, and of names
