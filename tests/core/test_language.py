"""What the command line says in Spanish: which language is taken, how texts find their translation, that none lacks."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

import destila.config
from destila.cli.main import dispatch
from destila.cli.verbs import VERBS, settings_class
from destila.config.flags import help_texts
from destila.core import language
from destila.core.catalog import FILE, Catalog, pieces_of
from destila.core.errors import UserError
from destila.core.language import language_of, say, say_error, say_name, speak
from messages import HOLES, counted_words, erased, package_texts

SOURCE = Path(destila.config.__file__).parents[1]
SECTIONS: dict[str, dict[str, str]] = json.loads(FILE.read_text(encoding="utf-8"))
MESSAGES = {key: text for name, part in SECTIONS.items() if name != "glossary" for key, text in part.items()}
KNOWN = {erased(key) for key in MESSAGES}

# What is shown and the same in both languages.
SAME = {
    "what one types": r"destila .*|data check|pip install .*|npm pack .*|--[a-z0-9_.-]+( \S+)?",
    "names of settings and files": r"student\.\w+ \{\}|config\.json, model\.safetensors, tokenizer\.json",
    "metrics": r"(EM|F1) \[95 %\]|(Has|No)Ans F1|p(50|95|99) ms|\{\} \{\}: F1 / EM",
    "numbers": r"(\{\}|ms|MB|F1|bytes|[ ,:;()])+",
    "Spanish already": r"¿Qué es\?|Una prueba\.|por qué",
}
TEXTS = package_texts(SOURCE)


@pytest.fixture(autouse=True)
def in_english() -> Iterator[None]:
    yield
    speak("en")


# ---------------------------------------------------------------------------------------------------- which language
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": ""}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "POSIX"}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "est_EE"}, "en"),
        ({"LANG": "es"}, "es"),
        ({"LANG": "es_MX.UTF-8"}, "es"),
        ({"LANG": "es_ES@euro"}, "es"),
        ({"LANG": "ES-ar"}, "es"),
        ({"LC_MESSAGES": "es_ES.UTF-8", "LANG": "C"}, "es"),
        ({"LC_ALL": "C", "LC_MESSAGES": "es_ES.UTF-8", "LANG": "es_ES.UTF-8"}, "en"),
        ({"LC_ALL": "", "LANG": "es_ES.UTF-8"}, "es"),
        ({"DESTILA_LANG": "es", "LC_ALL": "C"}, "es"),
        ({"DESTILA_LANG": "ES"}, "es"),
        ({"DESTILA_LANG": "en", "LANG": "es_ES.UTF-8"}, "en"),
        ({"DESTILA_LANG": "EN", "LANG": "es_ES.UTF-8"}, "en"),
        ({"DESTILA_LANG": "fr", "LANG": "es_ES.UTF-8"}, "en"),
        ({"DESTILA_LANG": "", "LANG": "es_ES.UTF-8"}, "es"),
    ],
)
def test_the_language_of_a_user(environment: dict[str, str], expected: str) -> None:
    assert language_of(environment) == expected


def test_a_library_is_english_and_reads_no_catalog() -> None:
    code = "import sys, destila.core.language as l; l.say('x'); print('destila.core.catalog' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
    error = UserError("standard input", "is empty", "Give one of them.")
    assert say_error(error) == str(error) == "standard input: is empty. Give one of them."


# ---------------------------------------------------------------------------------------------------- templates
CATALOG = Catalog(
    {
        "is empty": "está vacío",
        "{name} is {value}": "{name} es {value}",
        "{reason} at {place}": "{reason:message} en {place}",
        "torn ({error})": "roto ({error:message})",
        "{name}: is required, to measure {what}": "{name}: hace falta, para medir {what}",
        "{done} of {all} files": "de {all} archivos, {done}",
        "found: {parts}": "hay: {parts:messages}",
        "{count} cats": "{count} gatos",
        "{count} dogs": "{count} perros",
        'say {{"a": 1}}': 'di {{"a": 1}}',
        "two lines": "dos líneas",
    }
)


@pytest.mark.parametrize(
    ("english", "spanish"),
    [
        ("is empty", "está vacío"),
        ("a: is empty", "a: está vacío"),
        ("  - a: is empty", "  - a: está vacío"),
        ("  no cats: all", "  no cats: all"),
        ("x is y: is empty", "x is y: está vacío"),
        ("a is b", "a es b"),
        ("what a library says is its own", "what a library says is its own"),
        ("torn (is empty at 3)", "roto (está vacío en 3)"),
        ("a: b: is empty", "a: b: está vacío"),
        ("--data: is required, to measure F1: all", "--data: hace falta, para medir F1: all"),
        ("3 of 4 files", "de 4 archivos, 3"),
        ("3 of {x} files", "de {x} archivos, 3"),
        ("found: 2 cats, 3 dogs, 1 bird", "hay: 2 gatos, 3 perros, 1 bird"),
        ("found: 2 cats; 3 dogs", "hay: 2 gatos; 3 perros"),
        ("found: ", "hay: "),
        ('say {"a": 1}', 'di {"a": 1}'),
        ("two\n    lines", "dos líneas"),
        ("x: \n  - a: is empty\n  - 3 cats\n    no template", "x: \n  - a: está vacío\n  - 3 gatos\n    no template"),
        ("no template", "no template"),
        ("", ""),
    ],
)
def test_a_text_is_said_by_the_template_that_says_most(english: str, spanish: str) -> None:
    assert CATALOG.say(english) == spanish


def test_what_stands_for_a_name_is_said_wherever_a_name_stands() -> None:
    speak("es")
    assert say("Reading with the bundled model") == "Leyendo con el modelo incluido"
    assert say("question is None") == "question es None"  # and not question number None
    assert say("Reading with reader") == "Leyendo con reader"  # a directory, though "reader" is a word of tables, too
    assert (say_name("the bundled model"), say_name("question"), say_name("a is b")) == (
        "el modelo incluido",
        "question",
        "a is b",
    )


def test_where_an_error_is_may_read_like_a_message() -> None:
    speak("es")
    for where in ("is empty", "is 3.json", "a: is required", "this is a file"):
        assert say_error(UserError(where, "is empty")) == f"{where}: no contiene nada."
    assert say_error(UserError("standard input", "is empty")) == "entrada estándar: no contiene nada."
    assert say_error(UserError("windows of 9 tokens", "is empty")) == "ventanas de 9 tokens: no contiene nada."


def test_values_of_any_content_come_through() -> None:
    speak("es")
    for value in ("", "x", "a: b", "is empty", "{x}", "{}", "%s", "no, file", "it's \\ 'q'", "año; ¿sí?"):
        assert say(f"{value!r} is no option") == f"{value!r} no es una opción"
        assert say_error(UserError(value, "is empty")) == f"{value}: no contiene nada."


# ---------------------------------------------------------------------------------------------------- completeness
def test_every_text_that_the_code_can_show_has_a_template() -> None:
    assert len(TEXTS) > 800
    lacking = {
        template: min(places)
        for template, places in TEXTS.items()
        if " " in template.strip()
        and erased(template) not in KNOWN
        and not any(re.fullmatch(form, erased(template)) for form in SAME.values())
    }
    assert lacking == {}, f"say these in {FILE}, too"


def test_the_words_of_progress_have_templates() -> None:
    words = counted_words(SOURCE)
    assert {"Answering", "lines", "training"} <= words
    assert words - KNOWN - {"B", "it"} == set()


def settings_texts(cls: type) -> Iterator[str]:
    yield from help_texts(cls).values()
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[item.name]):
            yield from settings_texts(typing.cast(type, hints[item.name]))


def help_of_verbs() -> set[str]:
    classes = [settings_class(verb) for verb in VERBS]
    texts = {*VERBS.values()} | {str(cls.__doc__) for cls in classes}
    return texts | {text for cls in classes for text in settings_texts(cls)}


def test_every_verb_and_setting_has_its_help() -> None:
    texts = help_of_verbs()
    assert len(texts) > 250
    speak("es")
    assert {text for text in texts if say(text) == text} == set()


def test_no_template_is_left_over() -> None:
    doubled = {" ".join(text.replace("{", "{{").replace("}", "}}").split()) for text in help_of_verbs()}
    used = {erased(template) for template in (*TEXTS, *doubled)}
    own = [part for name, part in SECTIONS.items() if name not in ("glossary", "composed", "libraries")]
    assert {key for part in own for key in part if erased(key) not in used} == set()


def places(template: str) -> list[str]:
    return sorted(name for _, name, _ in pieces_of(template) if name is not None)


def test_both_languages_have_the_same_places() -> None:
    for english, spanish in MESSAGES.items():
        assert places(english) == places(spanish), english
        assert {kind for _, _, kind in pieces_of(spanish)} <= {"", "message", "messages"}, spanish
        assert [text[:1] for text in (english, spanish) if text[:1] in " ,;"] in ([], [english[0]] * 2), english
    assert HOLES.search("{a}") is not None


# ---------------------------------------------------------------------------------------------------- the command
ENGLISH_WORDS = set(
    re.findall(r"\w+", "the is are of and with give run was not file does has only one to that for it its")
)
PLACEHOLDERS = ("owner/name", "owner/name@revision")  # of what one writes


def command(tongue: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "DESTILA_LANG"))}
    return subprocess.run(
        [sys.executable, "-m", "destila", *arguments],
        env=clean | {"DESTILA_LANG": tongue, "HF_HUB_OFFLINE": "1"} | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        stdin=subprocess.DEVNULL,
    )


BAD = {
    "not.json": '{"data": [}',
    "empty.json": "",
    "list.json": "[1, 2]",
    "wrong.json": json.dumps(
        {
            "data": [
                {
                    "title": "t",
                    "paragraphs": [
                        {
                            "context": "Lima se fundó en 1535.",
                            "qas": [
                                {"id": "q1", "question": "¿?", "answers": [{"text": "1540", "answer_start": 3}]},
                                {"id": "q2", "question": "", "answers": [{"text": "Lima", "answer_start": 5}]},
                            ],
                        }
                    ],
                }
            ]
        }
    ),
    "bad.toml": "a = ",
    "text.txt": "Lima se fundó en 1535.",
    "blank.txt": " \n",
    "no.pdf": "hola",
}
MISTAKES = {
    "no verb": ["anser"],
    "no flag": ["answer", "¿Quién?", "--contxt", "text.txt"],
    "no question": ["answer"],
    "bad values": ["answer", "¿Quién?", "--context", "text.txt", "--top_k", "x", "--backend", "tpu", "--threads=-1"],
    "no value": ["answer", "¿Quién?", "--context"],
    "no text": ["answer", "¿Quién?", "--context", "away.txt"],
    "a blank text": ["answer", "¿Quién?", "--context", "blank.txt"],
    "a broken document": ["answer", "¿Quién?", "--context", "no.pdf"],
    "no model": ["answer", "¿Quién?", "--context", "text.txt", "--model", "./nowhere"],
    "settings that are not TOML": ["answer", "¿Quién?", "--config", "bad.toml"],
    "no settings": ["evaluate", "--config", "papr"],
    "not JSON": ["data", "check", "not.json"],
    "several files": ["data", "check", "not.json", "empty.json", "list.json", "away.json"],
    "answers that do not match": ["data", "convert", "wrong.json", "out.jsonl", "--repair", "false"],
    "an ending": ["data", "convert", "wrong.json", "out.csv"],
    "flags that exclude each other": ["evaluate", "--model", "a", "--from-predictions", "b", "--data", "wrong.json"],
    "no output": ["trim", "model", "--data", "text.txt"],
    "too much": ["serve", "--limits.windows", "9999"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mistakes")
    for name, text in BAD.items():
        (path / name).write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_spanish_with_the_same_values(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(UserError) as error:
        dispatch(MISTAKES[name])
    english, spanish = str(error.value), command("es", *MISTAKES[name])
    assert (spanish.returncode, spanish.stdout) == (2, "")
    assert english not in spanish.stderr
    left = set(re.findall(r"(?<![-\w./'])[a-z]+(?![-\w./'])", spanish.stderr.lower())) & ENGLISH_WORDS
    assert left == set(), spanish.stderr
    values = re.findall(r"--[\w.-]+\w|[\w./-]*[\d/][\w./-]*\w|'[^']*'", english)
    assert [value for value in values if value not in (*PLACEHOLDERS, "@") and value not in spanish.stderr] == []
    assert english.count("\n") + 1 == spanish.stderr.count("\n")


def settings_of_help(text: str) -> list[str]:
    return re.findall(r"^  (?:--?)?[\w.-]+", text, flags=re.MULTILINE)


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_the_same_settings_in_both_languages(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for tongue in ("en", "es"):
        speak(tongue)
        with pytest.raises(SystemExit):
            dispatch([*verb.split(), "--help-all"])
        shown.append(capsys.readouterr().out)
    assert settings_of_help(shown[0]) == settings_of_help(shown[1]) != []
    assert "usage: " in shown[0]
    assert shown[1].startswith("uso: ")
    assert "\nopciones:\n" in shown[1]
    assert shown[0].count("(default:") == " ".join(shown[1].split()).count("(por defecto:")


def test_what_the_locale_says_decides_what_help_says() -> None:
    shown = {name: command("", "--help", LANG=name).stdout for name in ("C", "es_MX.UTF-8", "de_DE.UTF-8")}
    assert shown["C"] == shown["de_DE.UTF-8"]
    assert shown["C"].startswith("usage: destila VERB")
    assert shown["es_MX.UTF-8"].startswith("uso: destila VERBO")


def test_answers_are_said_in_spanish_and_json_is_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    asked = ["answer", "¿Cuándo se fundó Lima?", "--context", "text.txt"]
    assert "1535" in (found := command("es", *asked).stdout)
    assert re.search(r"\(puntuación \S+, caracteres \d+-\d+\)$", found.strip())
    assert command("es", *asked, "--json").stdout == command("en", *asked, "--json").stdout
    assert language.say("is empty") == "is empty"
