"""Documents become exact texts, and hostile ones do no harm: they end in a message, in bounded time and memory."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("docx", reason="the extra documents is not installed")
pytest.importorskip("pypdfium2", reason="the extra documents is not installed")

from destila.config import DocumentSettings
from destila.inference.documents import Document, DocumentError, parse_document, read_document
from destila.inference.documents import sandbox as sandbox_module
from destila.inference.documents.open import plain_text
from papers import (
    encrypted_pdf,
    flate_bomb,
    laughs,
    pdf,
    pdf_objects,
    pdf_page_of,
    pdf_stream,
    replaced,
    word,
    word_paragraphs,
    word_xml,
)

SMALL = DocumentSettings(seconds=10, memory_bytes=300_000_000, characters=1_000_000)
LINES = [
    "Informe anual",
    "La biblioteca abrió en 1987 y la coope-",
    "ración continuó. Ana nació en",
    "Castilla-",
    "La Mancha.",
]


# ---------------------------------------------------------------------------------------------------- what is read
def test_a_pdf_has_pages_and_whole_words():
    document = parse_document("a.pdf", pdf(LINES, ["Año de (la) niña — 5 €"], [], ["Fin."]))
    first = "Informe anual\nLa biblioteca abrió en 1987 y la cooperación continuó. Ana nació en\nCastilla-La Mancha."
    assert document.text == f"{first}\n\nAño de (la) niña — 5 €\n\n\n\nFin."
    assert [document.text[start:][:3] for start in document.pages] == ["Inf", "Año", "\n\nF", "Fin"]
    assert document.page(0) == document.page(len(first) - 1) == 1
    assert document.page(document.text.index("niña")) == 2
    assert document.page(document.text.index("Fin.")) == 4


def test_words_over_the_edge_of_a_page_are_read():
    line = "Una línea demasiado larga para una página, " * 4 + "hasta el fin."
    assert parse_document("a.pdf", pdf([line])).text == line


def test_pages_are_where_the_offsets_say():
    pages = [[f"Página {number} dice cosa{number}."] for number in range(1, 31)]
    document = parse_document("a.pdf", pdf(*pages))
    assert [document.page(document.text.index(f"cosa{number}.")) for number in range(1, 31)] == list(range(1, 31))
    assert Document("sin páginas").page(3) is None


def test_a_word_document_is_read_in_order_with_tables_and_breaks():
    def fill(document):
        document.add_heading("Título", 1)
        paragraph = document.add_paragraph("Uno ")
        paragraph.add_run("do").bold = True
        paragraph.add_run("s\ttres\ncuatro")
        table = document.add_table(2, 2)
        for place, text in enumerate(["Precio", "12 €", "Peso", "3 kg"]):
            table.cell(*divmod(place, 2)).text = text
        document.add_paragraph("Punto", style="List Bullet")

    text = parse_document("a.docx", word(fill)).text
    assert text == "Título\n\nUno dos\ttres\ncuatro\n\nPrecio\t12 €\nPeso\t3 kg\n\nPunto"


def test_word_keeps_what_was_inserted_and_drops_what_was_deleted_or_moved():
    body = (
        "<w:p><w:r><w:t>Queda</w:t></w:r><w:ins><w:r><w:t xml:space='preserve'> puesto</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>quitado</w:delText></w:r></w:del><w:moveFrom><w:r><w:t>movido</w:t></w:r></w:moveFrom>"
        "<w:r><w:instrText>PAGE</w:instrText><w:noBreakHyphen/></w:r></w:p>"
        "<w:sdt><w:sdtContent><w:p><w:r><w:t>Control</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    )
    assert parse_document("a.docx", word_xml(body)).text == "Queda puesto-\n\nControl"


def test_html_is_what_a_person_reads():
    markup = (
        "<!doctype html><html><head><title>no</title><meta charset=utf-8></head><body><h1>Uno</h1>"
        "<p>Dos&nbsp;<b>tr</b>es<p>cuatro<div><p>cinco</p>seis</div><ul><li>a<li>b</ul><table><tr><td>x<td>y<tr><td>z</table>"
        "<script>window.x='</p>no'</script><style>no{}</style><!-- no --><noscript>no</noscript>"
        "fin &lt;b&gt; &ntilde;<br>ya"
    )
    expected = "Uno\n\nDos tres\n\ncuatro\n\ncinco\n\nseis\n\na\nb\n\nx\ty\nz\n\nfin <b> ñ\nya"
    assert parse_document("a.html", markup.encode()).text == expected


def test_text_and_markdown_are_exact(tmp_path):
    text = "# Título\r\n\tuno  **dos**\n\n\u202e e\u0301 \U0001f9e0 <script>x</script>"
    for name in ("a.txt", "b.MD", "c.markdown"):
        (tmp_path / name).write_bytes(text.encode())
        assert read_document(tmp_path / name) == Document(text)


def test_text_is_composed_and_free_of_control_characters():
    assert parse_document("a.html", "<p>an\u0303o\x07 dos\u200d</p>".encode()).text == "año dos"


# ---------------------------------------------------------------------------------------------------- what is refused
OLD_WORD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
REFUSED = {
    "kind unknown": ("a.odt", b"x", "kind", "of no kind that can be read"),
    "no ending": ("pdf", b"x", "kind", "of no kind"),
    "pdf as text": ("a.txt", pdf(["x"]), "kind", "is a PDF, not plain text"),
    "pdf as html": ("a.html", pdf(["x"]), "kind", "is a PDF, not HTML"),
    "word as pdf": ("a.pdf", word(), "kind", "ZIP archive, perhaps a Word document, not PDF"),
    "text as pdf": ("a.pdf", b"hola", "kind", "is not PDF"),
    "text as word": ("a.docx", b"hola", "kind", "is not a Word document"),
    "empty pdf": ("a.pdf", b"", "no_text", "holds no text"),
    "rich text": ("carta.rtf", b"{\\rtf1 Jos\\'e9}", "kind", "of no kind that can be read"),
    "rich text as text": ("a.txt", b"{\\rtf1 Jos\\'e9}", "kind", "of no kind that can be read"),
    "old word": ("a.docx", OLD_WORD, "encrypted", "old Word document, or protected"),
    "old word as text": ("a.txt", OLD_WORD, "encrypted", "old Word document, or protected"),
    "picture as text": ("a.txt", b"\xff\xd8\xff\xe0\0\x10JFIF", "kind", r"not text \(byte 4 is 0x00\)"),
    "sheet as text": ("a.txt", b"PK\x03\x04", "kind", "is a ZIP archive"),
    "nul text": ("a.md", b"uno\0dos", "kind", "character 3 is NUL"),
    "neither of two": (
        "a.txt",
        b"a\xf1o \x81",
        "encoding",
        r"UTF-8 \(byte 1 is 0xf1\) nor Windows-1252 \(byte 4 is 0x81",
    ),
    "half a letter": ("a.txt", b"\xff\xfea", "encoding", "UTF-16-LE and is not"),
    "html that is not as it says": ("a.html", b"<meta charset=utf-8>a\xf1o", "encoding", "byte 21 is 0xf1"),
    "empty html": ("a.HTM", b"", "no_text", "holds no text"),
    "html of scripts": ("a.html", b"<script>1</script><p hidden>a", "no_text", "holds no text"),
    "word of nothing": ("a.docx", word_paragraphs("", " "), "no_text", "holds no text"),
    "html in koi8": ("a.html", b"<meta charset=koi8-r>\xf1", "encoding", "in the encoding koi8-r"),
    "html in a codec that is none": ("a.html", b"<meta charset=zlib>\xf1", "encoding", "in the encoding zlib"),
    "password": ("a.pdf", encrypted_pdf(), "encrypted", "protected by a password"),
    "pictures only": ("a.pdf", pdf([]), "no_text", "holds no text"),
    "broken pdf": ("a.pdf", b"%PDF-1.7\n%%EOF", "broken", "damaged PDF"),
    "broken zip": ("a.docx", b"PK\x03\x04" + bytes(50), "broken", "no readable Word document"),
    "half a word document": ("a.docx", word()[:9000], "broken", "no readable Word document"),
    "zip without word": ("a.docx", replaced(word(), {"_rels/.rels": b"<x/>"}), "broken", "it has no body"),
    "broken xml": ("a.docx", replaced(word(), {"word/document.xml": b"<w:x"}), "broken", "no readable Word document"),
}


@pytest.mark.parametrize(("name", "content", "code", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_told_with_its_name(name, content, code, problem):
    with pytest.raises(DocumentError, match=problem) as caught:
        parse_document(name, content, SMALL)
    assert (caught.value.where, caught.value.code) == (name, code)
    assert caught.value.remedy
    assert ("OCR" in caught.value.remedy) == (code == "no_text" and content.startswith((b"%PDF", b"PK")))


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf<!DOCTYPE html><p>a",
        b"\n<html>",
        b'<?xml version="1.0"?>',
        b"From: a\nTo: b\n c\nMIME-Version: 1.0\n",
    ],
)
def test_a_source_is_no_text_unless_its_name_says_so(content):
    for name in ("a.xhtml", "standard input"):
        with pytest.raises(DocumentError, match="markup or a mail") as caught:
            plain_text(name, content)
        assert caught.value.code == "kind"
    assert plain_text("a.txt", content).text
    assert plain_text("a.tex", b"Dice: <html> y MIME-Version: 1.0").text


def test_paths_that_are_no_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "endless.pdf")
    (tmp_path / "folder.pdf").mkdir()
    for name in ("endless.pdf", "folder.pdf", "nowhere.pdf"):
        with pytest.raises(DocumentError, match=r"regular file|cannot be read") as caught:
            read_document(tmp_path / name)
        assert caught.value.code == "unreadable"
    endless = tmp_path / "endless.txt"
    endless.symlink_to("/dev/zero")
    with pytest.raises(DocumentError, match="regular file"):
        read_document(endless)


def test_big_files_and_big_texts_are_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("x" * 1001)
    with pytest.raises(DocumentError, match="more than 1,000 bytes"):
        read_document(path, DocumentSettings(file_bytes=1000))
    for name, content in (("a.txt", b"x" * 1001), ("a.docx", word_paragraphs("x" * 1001))):
        with pytest.raises(DocumentError, match=r"holds 1,001 characters.*1,000 are allowed") as caught:
            parse_document(name, content, DocumentSettings(characters=1000))
        assert caught.value.code == "too_large"


# ---------------------------------------------------------------------------------------------------- hostile files
def _zip_bomb():
    return replaced(word(), {"word/media/image1.png": bytes(100_000_000)})


def _xml_bomb():
    return word_xml("<w:p><w:r><w:t>" + "x" * 15_000_000 + "</w:t></w:r></w:p>")


HOSTILE = {
    "zip bomb": lambda: ("a.docx", _zip_bomb()),
    "huge xml": lambda: ("a.docx", _xml_bomb()),
    "wide xml": lambda: ("a.docx", word_xml("<w:p/>" * 3_000_000)),
    "deep xml": lambda: ("a.docx", word_xml("<w:p>" * 50_000 + "</w:p>" * 50_000)),
    "billion laughs": lambda: ("a.docx", word_xml("<w:p><w:r><w:t>&k;</w:t></w:r></w:p>", before=laughs("w:document"))),
    "outer entity": lambda: (
        "a.docx",
        word_xml("<w:p>&x;</w:p>", before='<!DOCTYPE w:document [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
    ),
    "deep html": lambda: ("a.html", b"<div>" * 300_000 + b"hondo"),
    "wide html": lambda: ("a.html", b"<p>a" * 3_000_000),
    "deep pdf": lambda: ("a.pdf", pdf_objects([b"[" * 300_000, b"<<" * 300_000])),
    "pages that hold themselves": lambda: (
        "a.pdf",
        pdf_objects([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 9999999 /Kids [2 0 R 2 0 R] >>"]),
    ),
    "flate bomb": lambda: ("a.pdf", flate_bomb(150)),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_end_in_a_message(make):
    name, content = make()
    began = time.monotonic()
    with pytest.raises(DocumentError) as caught:
        parse_document(name, content, SMALL)
    assert time.monotonic() - began < SMALL.seconds + 5
    assert caught.value.code in ("broken", "too_large", "too_slow", "no_text")
    assert caught.value.remedy


def test_a_form_that_shows_itself_ends():
    form = pdf_stream(
        b"/X Do", b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 6 0 R >> >>"
    )
    shown = b"BT /F1 12 Tf 50 780 Td (antes) Tj ET /X Do"
    content = pdf_page_of(shown, resources=b"/XObject << /X 6 0 R >>", more=[form])
    assert parse_document("a.pdf", content, SMALL).text == "antes"


def test_laughs_in_html_are_text():
    text = parse_document("a.html", (laughs("html") + "<p>&k; fin").encode(), SMALL).text
    assert text.endswith("&k; fin")
    assert len(text) < 2000


def test_endless_work_is_stopped(monkeypatch):
    monkeypatch.setattr(sandbox_module, "CHILD", "while True: pass")
    began = time.monotonic()
    with pytest.raises(DocumentError, match=r"more than 0\.5 s") as caught:
        parse_document("a.pdf", pdf(["x"]), DocumentSettings(seconds=0.5))
    assert caught.value.code == "too_slow"
    assert time.monotonic() - began < 5


def test_endless_output_is_cut(monkeypatch):
    monkeypatch.setattr(sandbox_module, "CHILD", "import sys\nwhile True: sys.stdout.write('x' * 10**6)")
    with pytest.raises(DocumentError, match="is damaged"):
        parse_document("a.pdf", pdf(["x"]), DocumentSettings(characters=10_000, seconds=20))


@pytest.mark.parametrize("death", ["import os; os.abort()", "import ctypes; ctypes.string_at(0)", "print('{')", "0"])
def test_a_child_that_dies_is_a_message(monkeypatch, death):
    monkeypatch.setattr(sandbox_module, "CHILD", death)
    with pytest.raises(DocumentError, match="is damaged, or needs more than"):
        parse_document("a.pdf", pdf(["x"] * 50_000), SMALL)


ATTEMPTS = {
    "read a file": "open('/etc/passwd')",
    "write a file": "open('/tmp/destila-was-here', 'w')",
    "connect": "__import__('socket').socket()",
    "start a program": "__import__('subprocess').run(['true'])",
    "take memory": "bytearray(900_000_000)",
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_the_parser_has_given_up_every_right(attempt):
    code = (
        "import socket, subprocess, sys\n"
        "from destila.inference.documents.parsers import confine\n"
        "confine(memory=400_000_000, seconds=5)\n"
        f"try: {attempt}\nexcept (OSError, MemoryError) as error: sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20)
    assert done.returncode == 7, done.stderr
    assert not Path("/tmp/destila-was-here").exists()


def test_the_parser_sees_no_secret_of_its_parent(monkeypatch):
    monkeypatch.setenv("DESTILA_SECRET", "s3cr3t")
    monkeypatch.setattr(
        sandbox_module,
        "CHILD",
        "import json, os; print(json.dumps({'text': repr(dict(os.environ)), 'pages': [], 'note': ''}))",
    )
    assert "s3cr3t" not in parse_document("a.pdf", pdf(["x"]), SMALL).text


def test_without_the_extra_the_message_says_how_to_get_it(monkeypatch):
    hidden = "import sys; sys.modules['pypdfium2'] = sys.modules['lxml'] = None; "
    monkeypatch.setattr(sandbox_module, "CHILD", hidden + sandbox_module.CHILD)
    for name, content in (("a.pdf", pdf(["x"])), ("a.docx", word())):
        with pytest.raises(DocumentError, match=r"not installed.*pip install 'destila\[documents\]'") as caught:
            parse_document(name, content)
        assert caught.value.code == "missing"
