"""Files that the page reads in the browser: opened or dropped, and read as the command line does."""

import pytest

from browsing import CHROMIUM, HOSTILE, drop, words
from destila.config import LimitSettings, ServeSettings
from destila.inference.documents import DocumentError, parse_document
from serving import page_reader, serving
from tiny import TEXTS

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return page_reader(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def address(reader):
    with serving(reader, ServeSettings(limits=LimitSettings(context_characters=5_000))) as port:
        yield f"http://127.0.0.1:{port}/"


def test_files_are_read_in_the_browser(visit, tmp_path):
    page = visit(errors=["inline"])  # the browser says that it did not run the file's handler
    markup = (
        f"<head><title>no</title></head><h1>Uno</h1><p>Dos&nbsp;<b>tres</b> &lt;b&gt;{HOSTILE}</p><style>no</style>"
    )
    contents = {
        "a.html": (markup.encode(), 'Uno\nDos tres <b> & "Lima" fin'),
        "b.txt": ("año\r\n¿qué?".encode("windows-1252"), "año\n¿qué?"),
        "c.md": ("# Título\n".encode(), "# Título\n"),
    }
    for name, (content, expected) in contents.items():
        (tmp_path / name).write_bytes(content)
        page.set_input_files("#file", tmp_path / name)
        playwright.expect(page.locator("#source")).to_have_value(expected)
        playwright.expect(page.locator("#name")).to_have_text(name)
        playwright.expect(page.locator("#alert")).to_be_visible(visible=name == "b.txt")
    page.fill("#source", "Otro texto.")
    assert words(page, "#name") == [""], "it is no longer that file"
    (tmp_path / "d.odt").write_bytes(b"PK")
    page.set_input_files("#file", tmp_path / "d.odt")
    playwright.expect(page.locator("#alert")).to_contain_text("d.odt")
    assert page.evaluate("window.hacked") is None


def test_a_file_may_be_dropped(visit):
    page = visit()
    drop(page, [["suelto.txt", "Texto soltado."]])
    playwright.expect(page.locator("#source")).to_have_value("Texto soltado.")
    playwright.expect(page.locator("#status")).to_have_text("Texto cargado: suelto.txt.")
    playwright.expect(page.locator("#name")).to_have_text("suelto.txt")
    assert page.locator("#alert").is_hidden()


TEXT = "Año: «María»\r\n5 €\rfin"

MARKUP = "<!-- <meta charset='iso-8859-1'> --><p>Año: «María», 5 €"

FILES = {
    "utf-8": ("a.txt", TEXT.encode()),
    "marked": ("a.txt", TEXT.encode("utf-8-sig")),
    "utf-16": ("a.txt", TEXT.encode("utf-16")),
    "windows-1252": ("a.txt", TEXT.encode("cp1252")),
    "picture": ("a.txt", b"\xff\xd8\xff\xe0\0\x10JFIF"),
    "archive": ("a.txt", b"PK\x03\x04 una hoja"),
    "pdf": ("a.txt", b"%PDF-1.7"),
    "nul": ("a.txt", b"uno\0dos"),
    "neither": ("a.txt", b"a\xf1o \x81"),
    "half a letter": ("a.txt", b"\xff\xfea"),
    "html": ("a.html", MARKUP.encode()),
    "html in a comment": ("a.html", f"<meta charset=utf-8>{MARKUP}".encode()),
    "html that declares": ("a.html", f"<meta charset=latin1>{MARKUP}".encode("cp1252")),
    "html of old": ("a.html", MARKUP.encode("cp1252")),
    "html in utf-16": ("a.html", MARKUP.encode("utf-16")),
    "html that is not as it says": ("a.html", b"<meta charset=utf-8>a\xf1o"),
    "html with lines": ("a.html", b"<pre>uno\ndos</pre><p hidden>no<p style='display: none'>no</p>n&shy;o"),
    "html that speaks of pdf": ("a.html", b"<p>uno %PDF-1.7"),
}


@pytest.mark.parametrize(("name", "content"), FILES.values(), ids=FILES)
def test_the_page_reads_a_file_as_the_command_line_does(visit, name, content):
    found = visit(errors=["inline"]).evaluate(
        """([name, content]) => {
            const bytes = Uint8Array.from(content), markup = name.endsWith(".html");
            try {
                const { text, note } = decoded(bytes, markup ? declaredEncoding(bytes) : null);
                return { text: markup ? textOfMarkup(text) : text, note: Boolean(note) };
            } catch (error) {
                return { refused: error.name };
            }
        }""",
        [name, list(content)],
    )
    assert found == as_the_command_line_reads(name, content)


def as_the_command_line_reads(name, content):
    try:
        document = parse_document(name, content)
    except DocumentError as error:
        return {"refused": {"kind": "fileNoText", "encoding": "fileEncoding"}[error.code]}
    text = document.text.replace("\n\n", "\n") if name.endswith("html") else document.text
    return {"text": text, "note": bool(document.note)}


def test_a_text_is_asked_about_as_the_file_has_it(visit, reader, tmp_path):
    page, text = visit(), "\r\n".join(TEXTS)
    page.set_input_files("#file", {"name": "a.txt", "mimeType": "", "buffer": text.encode("utf-8-sig")})
    playwright.expect(page.locator("#source")).to_have_value(text.replace("\r\n", "\n"))
    page.fill("#question", "¿Quién fundó Lima?")
    with page.expect_request("**/v1/answer") as sent:
        page.keyboard.press("Enter")
    assert sent.value.post_data_json["context"] == [text]
    page.locator(".turn").wait_for()
    assert words(page, "mark.best") == [reader.answer("¿Quién fundó Lima?", text).text]
