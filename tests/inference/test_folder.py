"""A folder is searched, read and ranked as a whole; its cache follows the files and survives kills, rivals and rot."""

import json
import math
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("bm25s", reason="the extra documents is not installed")
pytest.importorskip("pypdfium2", reason="the extra documents is not installed")

from destila.cli.main import dispatch
from destila.config import DocumentSettings, FolderSettings
from destila.core.errors import UnwritableError, UserError
from destila.inference.documents import cache as library_module
from destila.inference.documents import parse_document, read_document
from destila.inference.documents.cache import Library
from destila.inference.documents.document import DocumentError
from destila.inference.documents.files import FoundFile, files_of
from destila.inference.documents.folder import Folder
from destila.inference.documents.index import PassageIndex
from destila.inference.reader import Reader
from papers import pdf, word_paragraphs
from tiny import TEXTS, tiny_reader

LIMITS = DocumentSettings()
HOSTILE = "\x1b[31m<script>\u202e"


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


# ---------------------------------------------------------------------------------------------------- walking
def names(folder):
    found = list(files_of(folder))
    good = [os.path.relpath(item.path, folder) for item in found if isinstance(item, FoundFile)]
    return good, [(Path(item.where).name, item.problem) for item in found if isinstance(item, DocumentError)]


def test_a_walk_finds_each_file_once_in_order_and_ends(tmp_path):
    for name in ("b.txt", "A.PDF", "z/c.md", "z/.oculto.txt", ".git/d.txt", "e.odt", "f"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "z" / "bucle").symlink_to(tmp_path)
    (tmp_path / "z" / "enlace.txt").symlink_to(tmp_path / "b.txt")
    (tmp_path / "solo.txt").symlink_to(tmp_path / ".git" / "d.txt")
    (tmp_path / "nada.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "tubo.txt")
    os.link(tmp_path / "z" / "c.md", tmp_path / "z" / "d.md")
    good, bad = names(tmp_path)
    assert good == ["A.PDF", "b.txt", "solo.txt", "z/c.md"]
    assert bad == [("nada.txt", "cannot be read: no such file or directory"), ("tubo.txt", "is no regular file")]


def test_names_that_are_no_text_are_walked(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"a\xff\n.txt")
    with open(path, "w") as file:
        file.write("hola")
    ((only,), _) = names(tmp_path)
    assert os.fsencode(only) == b"a\xff\n.txt"


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be listed: no such"):
        list(files_of(tmp_path / "nowhere"))


# ---------------------------------------------------------------------------------------------------- the cache
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


@pytest.mark.parametrize("rot", ["texts", "texts cut", "index", "index cut", "index missing a file"])
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
            file.write_bytes(file.read_bytes()[:-7] if "cut" in rot else b"rot")
    folder = Folder.open(docs, cache)
    assert folder.answers(reader, "¿Quién fundó Lima?") == expected
    assert ("making it anew" in caplog.text) == rot.startswith("texts")


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


# ---------------------------------------------------------------------------------------------------- retrieval
def index_of(*texts, most=200):
    return PassageIndex.of([(f"{number}.txt", text) for number, text in enumerate(texts)], most)


def test_stems_accents_case_and_the_words_that_make_a_question():
    index = index_of("Las canciones antiguas.", "El que lo dijo fue él.", "FUNDÓ la ciudad.", "Un camio\u0301n.")
    assert [index.best(q, 1)[0].path for q in ("¿Qué canción?", "¿Quién la fundo?", "CAMIONES")] == [
        "0.txt",
        "2.txt",
        "3.txt",
    ]
    assert [passage.score for passage in index.best("¿Quién? ¿Cuándo? ¿Qué?", 2)] == [0, 0]


def test_scores_are_those_of_bm25():
    texts = ["gato perro gato", "perro", "pez gato pájaro loro", "loro loro"]
    bags = [f"{number} {text}".split() for number, text in enumerate(texts)]  # the file's name counts
    index = index_of(*texts)
    mean = np.mean([len(bag) for bag in bags])

    def score(bag, word):  # Lucene's variant, written out
        df = sum(word in other for other in bags)
        return (
            math.log(1 + (len(bags) - df + 0.5) / (df + 0.5))
            * bag.count(word)
            / (bag.count(word) + 1.5 * (1 - 0.75 + 0.75 * len(bag) / mean))
        )

    expected = {f"{n}.txt": score(bag, "gato") + score(bag, "loro") for n, bag in enumerate(bags)}
    found = {passage.path: passage.score for passage in index.best("gato loro", 4)}
    assert found == pytest.approx(expected, rel=1e-5)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_a_files_name_counts_and_equal_scores_keep_the_order(tmp_path):
    index = PassageIndex.of([("a/uno.txt", "Texto."), ("convenio_2023.pdf", "Texto."), ("b.txt", "Texto.")], 200)
    assert [passage.path for passage in index.best("¿Qué dice el convenio?", 3)] == [
        "convenio_2023.pdf",
        "a/uno.txt",
        "b.txt",
    ]
    index.save(tmp_path / "index")
    index.save(tmp_path / "index")  # another process was faster
    loaded = PassageIndex.load(tmp_path / "index", ["a/uno.txt", "convenio_2023.pdf", "b.txt"])
    assert loaded.best("convenio", 3) == index.best("convenio", 3)


# ---------------------------------------------------------------------------------------------------- answers
def test_answers_are_exact_pieces_of_their_files(docs, cache, reader):
    folder = Folder.open(docs, cache)
    found = folder.answers(reader, "¿Quién fundó Lima?", top_k=12)
    assert len(found) == 12
    assert len({item.file for item in found}) > 2
    for item in found:
        document = read_document(item.file)
        answer = item.answer
        assert answer.text == document.text[answer.start : answer.end]
        assert answer.text in item.sentence
        assert item.page == document.page(answer.start)
        assert (item.page is not None) == item.file.endswith(".pdf")
    scores = [item.answer.score for item in found]
    assert scores == sorted(scores, reverse=True)
    assert 0 < sum(scores) <= 1.0001
    assert [Path(error.where).name for error in folder.refused] == ["roto.pdf"]


def test_a_folder_of_one_short_text_is_answered_as_the_text(tmp_path, cache, reader):
    folder = tmp_path / "uno"
    folder.mkdir()
    (folder / "a.txt").write_text(TEXTS[0])
    found = [item.answer for item in Folder.open(folder, cache).answers(reader, "¿Quién fundó Lima?", top_k=5)]
    expected = reader.answers("¿Quién fundó Lima?", TEXTS[0], top_k=5)
    assert [(a.text, a.start, a.end) for a in found] == [(a.text, a.start, a.end) for a in expected]
    assert [a.score for a in found] == pytest.approx([a.score for a in expected], rel=1e-4)


# ---------------------------------------------------------------------------------------------------- the command
def answer(capsys, *arguments):
    dispatch(["answer", *arguments])
    return capsys.readouterr()


def test_json_tells_file_page_and_sentence(docs, cache, model, capsys):
    arguments = ["¿Quién fundó Lima?", "--context", str(docs), "--model", model, "--top-k", "3", "--json"]
    shown = answer(capsys, *arguments, "--folder.cache", cache.cache)
    result = json.loads(shown.out)
    assert shown.out.count("\n") == 1
    assert (result["files"], len(result["answers"])) == (4, 3)
    assert result["refused"] == [{"file": str(docs / "roto.pdf"), "problem": result["refused"][0]["problem"]}]
    assert "skipped: " in shown.err
    for item in result["answers"]:
        assert list(item) == ["text", "start", "end", "score", "file", "page", "sentence"]
        assert item["text"] == read_document(item["file"]).text[item["start"] : item["end"]]


def test_one_document_is_read_whole(docs, model, reader, capsys):
    for name in ("lima.pdf", "más/amazonas.docx", "más/quijote.html"):
        path = str(docs / name)
        shown = answer(capsys, "¿Quién?", "--context", path, "--model", model, "--json")
        (item,) = json.loads(shown.out)["answers"]
        assert item["text"] == reader.answer("¿Quién?", read_document(path).text).text
        assert item["file"] == path
    with pytest.raises(UserError, match=r"roto\.pdf: is a damaged PDF"):
        dispatch(["answer", "¿Quién?", "--context", str(docs / "roto.pdf"), "--model", model])


def test_people_see_where_and_no_file_steers_their_terminal(tmp_path, cache, model, capsys):
    folder = tmp_path / "hostil"
    folder.mkdir()
    (folder / f"{HOSTILE}.txt").write_text(f"{HOSTILE} Lima {HOSTILE}")
    (folder / f"{HOSTILE}.pdf").write_text("no")
    shown = answer(
        capsys, "¿Qué?", "--context", str(folder), "--model", model, "--top-k", "3", "--folder.cache", cache.cache
    )
    for text in (shown.out, shown.err):
        assert "<script>" in text
        assert not any(letter in text for letter in "\x1b\u202e")
    first, second, *_ = shown.out.splitlines()
    assert "characters " in first
    assert second.startswith("    ")


def test_settings_reach_the_search(docs, cache, model, capsys, monkeypatch):
    read = []
    real = Reader.read
    monkeypatch.setattr(
        Reader, "read", lambda self, examples, **more: read.extend(examples) or real(self, examples, **more)
    )
    arguments = ["¿Quién fundó Lima?", "--context", str(docs), "--model", model, "--folder.cache", cache.cache]
    answer(capsys, *arguments, "--folder.passages", "2")
    assert len(read) == 2
    read.clear()
    answer(capsys, *arguments, "--folder.passages", "99")
    assert len(read) == 4
    (home,) = Path(cache.cache, "folders").iterdir()
    assert len(list(home.glob("index-*"))) == 1


@pytest.mark.parametrize("content", [None, b"%PDF-1.7 roto"])
def test_a_folder_without_a_text_is_refused(tmp_path, cache, model, content):
    if content:
        (tmp_path / "a.pdf").write_bytes(content)
    with pytest.raises(UserError, match="damaged PDF" if content else "holds no file with text"):
        Folder.open(tmp_path, cache)


def test_questions_that_are_none_are_refused_before_anything_is_read(docs, cache, model, parsed):
    with pytest.raises(UserError, match="question: is empty"):
        dispatch(["answer", " ", "--context", str(docs), "--model", model, "--folder.cache", cache.cache])
    assert parsed == []
    shutil.rmtree(docs)
    with pytest.raises(UserError, match="no such file"):
        dispatch(["answer", "¿Qué?", "--context", str(docs), "--model", model])


def test_a_folder_is_opened_without_torch_and_searched_without_its_parsers(docs, cache):
    code = (
        "import sys; from destila.inference.documents.folder import Folder; from destila.config import FolderSettings\n"
        f"print(len(Folder.open({str(docs)!r}, FolderSettings(cache={cache.cache!r})).files))\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'torch', 'transformers', 'onnxruntime', 'pypdfium2', 'docx', 'lxml'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["4", "[]"]


def test_without_the_extra_the_message_says_how_to_get_it(docs, cache, monkeypatch):
    monkeypatch.setattr("destila.inference.documents.folder.NEEDED", ("docx", "no_such_library"))
    with pytest.raises(UserError, match=r"no_such_library.*pip install 'destila\[documents\]'"):
        Folder.open(docs, cache)


def test_files_that_are_not_in_utf_8_are_named(tmp_path, cache, model, capsys):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "viejo.txt").write_bytes("Año: María vive en Málaga.".encode("cp1252"))
    (tmp_path / "docs" / "nuevo.txt").write_bytes("Año: María vive en Málaga.".encode("utf-16"))
    for _ in range(2):  # parsed, and from the cache
        dispatch(
            [
                "answer",
                "¿Dónde vive?",
                "--context",
                str(tmp_path / "docs"),
                "--model",
                model,
                "--folder.cache",
                cache.cache,
            ]
        )
        assert capsys.readouterr().err.splitlines()[-1:] == [
            f"{tmp_path / 'docs' / 'viejo.txt'}: is not UTF-8 and was read as Windows-1252."
        ]
