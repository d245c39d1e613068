"""A tiny model, a folder of documents and its cache; a test file may have its own."""

from pathlib import Path

import pytest

from destila.config import FolderSettings
from destila.inference.documents import cache as library_module
from destila.inference.documents import parse_document
from destila.inference.reader import Reader
from papers import pdf, word_paragraphs
from tiny import TEXTS, tiny_reader


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    window = {"length": 64, "stride": 16, "max_answer_tokens": 10}
    return str(tiny_reader(tmp_path_factory.mktemp("model"), seed=3, metadata={"window": window}))


@pytest.fixture(scope="module")
def reader(model):
    return Reader.load(model)


@pytest.fixture
def docs(tmp_path):
    """A folder of four files that can be read and one that cannot."""
    folder = tmp_path / "docs"
    (folder / "más").mkdir(parents=True)
    (folder / "lima.pdf").write_bytes(pdf(["Una portada."], TEXTS[0:1]))
    (folder / "más" / "amazonas.docx").write_bytes(word_paragraphs(TEXTS[1], "El río es largo."))
    (folder / "más" / "quijote.html").write_text(f"<p>{TEXTS[2]}<script>no</script>", encoding="utf-8")
    (folder / "notas.md").write_text(f"# Notas\n\n{TEXTS[3]}\n\n{TEXTS[5]}", encoding="utf-8")
    (folder / "roto.pdf").write_bytes(b"%PDF-1.7 roto")
    return folder


@pytest.fixture
def cache(tmp_path):
    return FolderSettings(cache=str(tmp_path / "cache"))


@pytest.fixture
def parsed(monkeypatch):
    """The names of the files that are parsed from here on."""
    names = []

    def spy(name, content, limits):
        names.append(Path(name).name)
        return parse_document(name, content, limits)

    monkeypatch.setattr(library_module, "parse_document", spy)
    return names


@pytest.fixture
def settled(monkeypatch):
    """A file that has just changed counts as settled: the tests cannot wait for the clock."""
    monkeypatch.setattr(library_module, "RECENT_SECONDS", -1.0)


@pytest.fixture
def places(tmp_path):
    """Where questions come from and answers go."""
    return tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
