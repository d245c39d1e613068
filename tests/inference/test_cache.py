"""A folder's cache follows the files and survives kills, rivals and rot."""

import multiprocessing
import os
import sqlite3
import time
from pathlib import Path

import pytest

pytest.importorskip("bm25s", reason="the extra documents is not installed")
pytest.importorskip("pypdfium2", reason="the extra documents is not installed")
from destila.config import DocumentSettings, FolderSettings
from destila.core.errors import UnwritableError, UserError
from destila.inference.documents import cache as library_module
from destila.inference.documents.cache import Library
from destila.inference.documents.folder import Folder
from destila.inference.documents.index import PassageIndex

LIMITS = DocumentSettings()


def test_only_what_changed_is_parsed_again(docs, tmp_path, parsed, settled):
    def refresh():
        parsed.clear()
        library = Library(docs, tmp_path / "cache")
        digests, refused = library.refresh(LIMITS)
        texts = {path: library.document(path).text for path in digests}
        library.close()
        return {Path(path).name: text for path, text in texts.items()}, [Path(e.where).name for e in refused]

    texts, refused = refresh()
    assert sorted(parsed) == ["amazonas.docx", "lima.pdf", "notas.md", "quijote.html", "roto.pdf"]
    assert list(texts) == ["lima.pdf", "amazonas.docx", "quijote.html", "notas.md"]
    assert refused == ["roto.pdf"]
    assert (refresh(), parsed) == ((texts, refused), [])
    (docs / "notas.md").write_text("Otras notas.")
    (docs / "nuevo.txt").write_text("Nuevo.")
    (docs / "lima.pdf").unlink()
    os.utime(docs / "más" / "amazonas.docx", (1, 1))  # touched, with the same content
    texts, _ = refresh()
    assert sorted(parsed) == ["notas.md", "nuevo.txt"]
    assert (texts["notas.md"], texts["nuevo.txt"]) == ("Otras notas.", "Nuevo.")
    assert "lima.pdf" not in texts
    assert (refresh(), parsed) == ((texts, refused), [])


def test_a_change_that_the_clock_cannot_show_is_seen(docs, tmp_path, parsed):
    library = Library(docs, tmp_path / "cache")
    path = docs / "notas.md"
    library.refresh(LIMITS)
    before = path.stat()
    path.write_text(path.read_text()[::-1])  # of the same size, within the tick, with its times set back
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    library.refresh(LIMITS)
    assert library.document(str(path)).text == path.read_text()
    assert parsed.count("notas.md") == 2
    assert parsed.count("lima.pdf") == 1


def test_what_was_refused_is_tried_again_under_other_limits(docs, tmp_path, parsed, settled):
    (docs / "largo.txt").write_text("x" * 500)
    library, narrow = Library(docs, tmp_path / "cache"), DocumentSettings(characters=400)
    for limits, times, refused in ((narrow, 1, 2), (narrow, 1, 2), (LIMITS, 2, 1), (LIMITS, 2, 1)):
        assert len(library.refresh(limits)[1]) == refused
        assert parsed.count("largo.txt") == times


def test_the_cache_is_outside_the_folder_and_for_its_owner_alone(docs, cache, reader):
    before = sorted(docs.rglob("*"))
    Folder.open(docs, cache).answers(reader, "¿Quién?")
    assert sorted(docs.rglob("*")) == before
    (home,) = Path(cache.cache, "folders").iterdir()
    assert home.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("rot", ["texts", "texts cut", "index", "index cut", "index empty", "index missing a file"])
def test_a_rotten_cache_is_made_anew(docs, cache, reader, rot, caplog):
    expected = Folder.open(docs, cache).answers(reader, "¿Quién fundó Lima?")
    (home,) = Path(cache.cache, "folders").iterdir()
    (index,) = home.glob("index-*")
    if rot.startswith("texts"):
        content = (home / "texts.sqlite").read_bytes()
        (home / "texts.sqlite").write_bytes(content[:5000] if "cut" in rot else b"rot" * 4000)
    elif rot == "index missing a file":
        (index / "data.csc.index.npy").unlink()
    else:
        for file in index.iterdir():
            file.write_bytes(file.read_bytes()[:-7] if "cut" in rot else b"" if "empty" in rot else b"rot")
    folder = Folder.open(docs, cache)
    assert folder.answers(reader, "¿Quién fundó Lima?") == expected
    assert ("making it anew" in caplog.text) == rot.startswith("texts")


def test_a_folder_that_is_open_stays_so_under_another_spelling(docs, cache, reader, monkeypatch, parsed):
    monkeypatch.chdir(docs.parent)
    folder = Folder.open(docs.name, cache)
    expected = folder.answers(reader, "¿Quién fundó Lima?"), list(folder.texts())
    parsed.clear()
    other = Folder.open(docs, cache)
    assert set(parsed) <= {"roto.pdf"}, "what is refused, and changed just now, is tried again"
    assert (folder.answers(reader, "¿Quién fundó Lima?"), list(folder.texts())) == expected
    assert [text for _, text in other.texts()] == [text for _, text in expected[1]]
    assert all(Path(path).is_absolute() for path, _ in other.texts())


@pytest.mark.parametrize("change", ["shorter", "gone"])
def test_a_folder_that_another_has_seen_change_says_so(docs, cache, reader, settled, change):
    folder = Folder.open(docs, cache)
    if change == "gone":
        (docs / "notas.md").unlink()
    else:
        (docs / "notas.md").write_text("Lima.")
    Folder.open(docs, cache)
    for asked in (lambda: folder.answers(reader, "¿Quién fundó Lima?"), lambda: list(folder.texts())):
        with pytest.raises(UserError, match=r"notas\.md: has changed since its folder was opened"):
            asked()


def test_a_kill_at_any_moment_leaves_whole_rows(docs, tmp_path, settled):
    for number in range(40):
        (docs / f"{number}.txt").write_text(f"Texto {number}. " * 2000)
    context = multiprocessing.get_context("fork")
    for wait in (0.05, 0.2, 0.4, 0.8):
        child = context.Process(target=lambda: Library(docs, tmp_path / "cache").refresh(LIMITS))
        child.start()
        time.sleep(wait)
        child.kill()
        child.join()
    library = Library(docs, tmp_path / "cache")
    digests, refused = library.refresh(LIMITS)
    assert (len(digests), len(refused)) == (44, 1)
    for number in range(40):
        assert library.document(str(docs / f"{number}.txt")).text == f"Texto {number}. " * 2000


def test_processes_at_once_do_not_harm_each_other(docs, cache, reader):
    def open_it(results):
        folder = Folder.open(docs, cache)
        results.put((list(folder.files), [str(error) for error in folder.refused]))

    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=open_it, args=[results]) for _ in range(3)]
    for child in children:
        child.start()
    seen = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join(20)
        assert child.exitcode == 0
    folder = Folder.open(docs, cache)
    assert seen == [(list(folder.files), [str(error) for error in folder.refused])] * 3
    assert len(folder.answers(reader, "¿Quién fundó Lima?", top_k=5)) == 5


def test_a_cache_that_cannot_be_written_costs_a_line(docs, cache, reader, tmp_path, caplog):
    question = "¿Quién fundó Lima?"
    kept = Folder.open(docs, cache).answers(reader, question)
    (tmp_path / "file").write_text("x")
    folder = Folder.open(docs, FolderSettings(cache=str(tmp_path / "file")))
    assert folder.answers(reader, question) == kept
    folder.close()
    assert sum(record.name.startswith("destila") for record in caplog.records) == 1
    assert "a temporary directory takes its place" in caplog.text


def test_a_disk_that_is_full_costs_a_line(docs, cache, reader, caplog, monkeypatch):
    question, save = "¿Quién fundó Lima?", PassageIndex.save
    kept = Folder.open(docs, FolderSettings(cache=cache.cache + "-other")).answers(reader, question)

    def full(self, directory):
        if directory.is_relative_to(cache.cache):
            raise UnwritableError(str(directory), "the disk is full")
        save(self, directory)

    monkeypatch.setattr(PassageIndex, "save", full)
    assert Folder.open(docs, cache).answers(reader, question) == kept
    assert "the disk is full; a temporary directory takes its place" in caplog.text


def test_a_writer_that_never_ends_is_told(docs, tmp_path, monkeypatch):
    monkeypatch.setattr(library_module, "WAIT_SECONDS", 0.2)
    Library(docs, tmp_path / "cache").close()
    library = Library(docs, tmp_path / "cache")
    library.refresh(LIMITS)
    rival = sqlite3.connect(tmp_path / "cache" / "texts.sqlite")
    rival.execute("begin exclusive")
    with pytest.raises(UserError, match=r"cannot be used \(database is locked\)"):
        library.refresh(LIMITS)
    rival.close()
