"""Text files become the token store that their content says, once, whole or not at all."""

import gzip
import itertools
import lzma
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spanish
from destila.config import TextSettings
from destila.core.errors import UserError
from destila.data import corpus
from destila.data.corpus import first_occurrences, open_store, paragraph_hash, paragraphs, source_of, text_files
from destila.data.synthetic.token_table import Kind, Lexicon
from destila.data.tokenizers import load_tokenizer, train_tokenizer


def settings_of(directory: Path, **changes: object) -> TextSettings:
    plain = TextSettings(
        files=[str(directory / "text")], store=str(directory / "store"), vocabulary_size=500, workers=0
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def write_texts(directory: Path) -> dict[str, str]:
    """Three sources in three compressions."""
    texts = {"actas": spanish.text(1), "cartas": spanish.text(2), "leyes": spanish.text(3)}
    (directory / "text").mkdir()
    (directory / "text" / "actas-00.txt").write_text(texts["actas"], encoding="utf-8")
    (directory / "text" / "cartas.txt.gz").write_bytes(gzip.compress(texts["cartas"].encode(), mtime=0))
    (directory / "text" / "leyes-00.txt.xz").write_bytes(lzma.compress(texts["leyes"].encode()))
    (directory / "text" / "README.md").write_text("not a text")
    return texts


def test_the_store_holds_every_paragraph_once_under_its_source(tmp_path: Path) -> None:
    texts = write_texts(tmp_path)
    store = open_store(settings_of(tmp_path))
    lexicon = Lexicon(store.tokenizer)
    assert list(store.sources) == ["actas", "cartas", "leyes"]
    seen: set[str] = set()
    for name, text in texts.items():
        expected = []
        for document in text.strip("\n").split("\n\n"):
            new = [line for line in document.split("\n") if line not in seen]
            seen.update(new)
            expected.append("".join(line + "\n" for line in new) + "\n")
        start, end = store.sources[name]
        assert lexicon.text(store.tokens[start:end]) == "".join(expected)
    assert store.tokens.dtype == np.uint16
    assert len(store.tokens) == store.counts["tokens"] == store.sources["leyes"][1]
    assert sorted(path.name for path in store.path.iterdir()) == ["store.json", "tokenizer.json", "tokens.bin"]


def test_the_store_depends_on_content_and_settings_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_texts(tmp_path)
    first = open_store(settings_of(tmp_path))
    again = open_store(settings_of(tmp_path, store=str(tmp_path / "other")))
    assert again.path.name == first.path.name
    for name in ("tokens.bin", "tokenizer.json", "store.json"):
        assert (again.path / name).read_bytes() == (first.path / name).read_bytes()
    assert open_store(settings_of(tmp_path, vocabulary_size=510)).path != first.path
    open_store(settings_of(tmp_path, weights={"actas": 3.0}))
    assert len(list((tmp_path / "store").glob("tokenizer-*"))) == 3
    with monkeypatch.context() as patched:
        patched.setattr(corpus, "_build", lambda *arguments: pytest.fail("built again"))
        assert open_store(settings_of(tmp_path)).path == first.path
        assert open_store(settings_of(tmp_path), tokenizer=load_tokenizer(first.path)).path == first.path
        assert open_store(settings_of(tmp_path, tokenizer=str(first.path))).path == first.path
    (tmp_path / "text" / "cartas.txt.gz").write_bytes(gzip.compress(b"Otra carta.\n", mtime=0))
    assert open_store(settings_of(tmp_path)).path != first.path


@pytest.mark.slow
def test_worker_processes_build_the_same_store(tmp_path: Path) -> None:
    write_texts(tmp_path)
    one = open_store(settings_of(tmp_path))
    several = open_store(settings_of(tmp_path, workers=2, store=str(tmp_path / "other")))
    assert (one.path / "tokens.bin").read_bytes() == (several.path / "tokens.bin").read_bytes()


def test_a_store_that_was_not_finished_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_texts(tmp_path)

    def crash(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus, "_join", crash)
    with pytest.raises(KeyboardInterrupt):
        open_store(settings_of(tmp_path))
    left = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["tokenizer.json"]  # whole, and of use next time


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Artículo 12. Publíquese.", "ARTÍCULO 345: publíquese", True),
        ("La casa  azul", "La casa azul.", True),
        ("El año 1999", "El ano 1999", False),
        ("La casa azul", "La casa roja", False),
    ],
)
def test_paragraphs_are_the_same_when_their_letters_are(one: str, other: str, same: bool) -> None:
    assert (paragraph_hash(one) == paragraph_hash(other)) == same
    assert paragraph_hash("— 1.200 ???") == 0


@given(st.lists(st.lists(st.integers(0, 6)), min_size=1))
def test_first_occurrences_are_those_of_a_plain_loop(files: list[list[int]]) -> None:
    seen, expected = {0}, []
    for file in files:
        expected.append([number not in seen and not seen.add(number) for number in file])  # type: ignore[func-returns-value]
    found = first_occurrences([np.array(file, np.uint64) for file in files])
    assert [part.tolist() for part in found] == expected


def test_the_tokenizer_learns_from_the_weighted_sources(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    generator = random.Random(4)
    words = {"uno": "zarzaparrilla", "dos": "murciélago"}
    for name, word in words.items():
        lines = [f"{spanish.sentence(generator)} {word} {number}x{generator.random()}" for number in range(300)]
        (tmp_path / "text" / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    for name, word in words.items():
        other = next(key for key in words if key != name)
        store = open_store(settings_of(tmp_path, weights={other: 0.0}, vocabulary_size=900))
        assert len(store.tokenizer.encode(" " + word, add_special_tokens=False).ids) == 1
        assert len(store.tokenizer.encode(" " + words[other], add_special_tokens=False).ids) > 1


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("torn.txt.xz", lzma.compress(b"Hola\n" * 1000)[:40], "cannot be unpacked"),
        ("torn.txt.gz", gzip.compress(b"Hola\n" * 1000, mtime=0)[:20], "cannot be unpacked"),
        ("latin.txt", "año\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_unreadable_texts_are_named(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=expected) as caught:
        list(paragraphs(tmp_path / name))
    assert name in str(caught.value)


def test_missing_files_and_unknown_sources_are_named(tmp_path: Path) -> None:
    write_texts(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        text_files([str(tmp_path / name) for name in ("nowhere", "empty", "text/README.md")])
    assert all(name in str(caught.value) for name in ("nowhere", "empty", "README.md"))
    with pytest.raises(UserError, match=r"lyes.*actas, cartas, leyes"):
        open_store(settings_of(tmp_path, weights={"lyes": 2.0}))
    assert [source_of(path) for path in text_files([str(tmp_path / "text")])] == ["actas", "cartas", "leyes"]


# ---------------------------------------------------------------------------------------------------- the lexicon
TOKENIZER = train_tokenizer([spanish.text(7)], vocabulary_size=700)
LEXICON = Lexicon(TOKENIZER)


@given(st.text(alphabet="aeñÁz 019.,;:¿?«»()%-—\n", max_size=60))
def test_words_and_pieces_spell_the_text(text: str) -> None:
    ids = np.array(TOKENIZER.encode(text, add_special_tokens=False).ids, np.int64)
    assert LEXICON.text(ids) == text
    starts = LEXICON.word_starts(ids)
    assert starts[:1].all()
    for place in np.flatnonzero(~starts):  # inside of a word nothing but letters, or a number with its signs
        assert not LEXICON.pieces[ids[place]].startswith(b" ")
        if LEXICON.kind[ids[place]] == Kind.SIGNS and LEXICON.kind[ids[place - 1]] == Kind.DIGITS:
            assert LEXICON.kind[ids[place + 1]] == Kind.DIGITS


def test_numbers_are_one_word_and_sentences_begin_where_they_do() -> None:
    text = "En 1912 costó 1.200,50 pesos. ¿A las 10:30? Sí; y 3 más.\nLuego, nada."
    ids = np.array(TOKENIZER.encode(text, add_special_tokens=False).ids, np.int64)

    def cut(starts: np.ndarray) -> list[str]:
        places = [*np.flatnonzero(starts).tolist(), len(ids)]
        return [LEXICON.text(ids[a:b]).strip(" ") for a, b in itertools.pairwise(places)]

    words = cut(LEXICON.word_starts(ids))
    assert {"1912", "1.200,50", "10:30", "Luego"} <= set(words)
    sentences = cut(LEXICON.sentence_starts(ids))
    assert sentences == ["En 1912 costó 1.200,50 pesos.", "¿A las 10:30?", "Sí;", "y 3 más.\n", "Luego, nada."]


def test_a_tokenizer_of_another_kind_is_refused() -> None:
    from tiny import tiny_tokenizer

    with pytest.raises(UserError, match=r"text\.tokenizer"):
        Lexicon(tiny_tokenizer("bert"))
