"""A folder is searched, read and ranked as a whole; its cache follows the files and survives kills, rivals and rot."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("bm25s", reason="the extra documents is not installed")
pytest.importorskip("pypdfium2", reason="the extra documents is not installed")

from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.inference.documents import read_document
from destila.inference.documents.document import DocumentError
from destila.inference.documents.files import FoundFile, OtherFile, files_of
from destila.inference.documents.folder import Folder
from destila.inference.reader import Reader
from tiny import TEXTS

HOSTILE = "\x1b[31m<script>\u202e"


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
    assert [Path(item.path).name for item in files_of(tmp_path) if isinstance(item, OtherFile)] == ["e.odt", "f"]
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
        assert list(item) == ["text", "start", "end", "score", "probability", "file", "page", "sentence"]
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


def test_files_of_other_kinds_are_counted_and_the_first_are_named(tmp_path, cache, model, capsys):
    folder = tmp_path / "docs"
    (folder / "z").mkdir(parents=True)
    (folder / "a.txt").write_text(TEXTS[0])
    (folder / "blanco.txt").write_text(" \n")
    ask = ["¿Quién fundó Lima?", "--context", str(folder), "--model", model, "--folder.cache", cache.cache]
    dispatch(["answer", *ask, "--json"])
    said = capsys.readouterr()
    assert json.loads(said.out)["others"] == 0
    assert "of kinds that are not read" not in said.err
    for number in range(7):
        (folder / "z" / f"foto{number}.jpg").write_bytes(b"x")
    (folder / ".oculto.jpg").write_bytes(b"x")
    for name in ("b\x1b[31m.xlsx", "c"):
        (folder / name).write_bytes(b"x")
    dispatch(["answer", *ask, "--json"])
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["files"], found["others"]) == (1, 9)
    assert [(Path(one["file"]).name, one["problem"]) for one in found["refused"]] == [("blanco.txt", "holds no text")]
    (line,) = [line for line in said.err.splitlines() if "of kinds" in line]
    names = "b\ufffd[31m.xlsx, c, foto0.jpg, foto1.jpg, foto2.jpg, ..."
    assert line == f"skipped: 9 files of kinds that are not read: {names}"
    for path in ("a.txt", "blanco.txt"):
        (folder / path).unlink()
    with pytest.raises(UserError, match=r"(?s)holds no file with text.*9 files of kinds that are not read: b"):
        Folder.open(folder, cache)


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
