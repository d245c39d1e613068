"""PDF and Word files on the page, in a real Chromium against a real server: opened, asked about, refused."""

import base64

import pytest

from browsing import CHROMIUM, PHONE
from destila.config import ServeSettings, UploadSettings
from destila.inference.documents import parse_document
from destila.inference.documents import sandbox as sandbox_module
from papers import encrypted_pdf, pdf, pdf_form, word, word_paragraphs
from serving import page_reader, serving
from tiny import TEXTS

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytest.importorskip("pypdfium2", reason="the extra documents is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

SLOW = 20_000  # milliseconds: a parser is a process that has to start
KEY = "0123456789abcdef"
MARKUP = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script> Lima'


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return page_reader(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def address(reader):
    with serving(reader, ServeSettings(documents=UploadSettings(file_bytes=100_000))) as port:
        yield f"http://127.0.0.1:{port}/"


def choose(page, name, content):
    page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": content})


def value(page, text):
    playwright.expect(page.locator("#source")).to_have_value(text, timeout=SLOW)


def alert(page, text):
    playwright.expect(page.locator("#alert")).to_contain_text(text, timeout=SLOW)


def ask(page, question):
    page.fill("#question", question)
    page.keyboard.press("Enter")
    page.locator(".turn").first.wait_for()


def test_a_pdf_is_read_and_answers_tell_their_page(visit, reader):
    page, content = visit(), pdf(TEXTS[0:1], TEXTS[1:2], TEXTS[2:3])
    expected = parse_document("a.pdf", content)
    choose(page, "informe.PDF", content)
    value(page, expected.text)
    playwright.expect(page.locator("#status")).to_have_text("Texto cargado: informe.PDF.")
    assert page.evaluate("document.activeElement.id") == "question"
    assert page.locator("#progress").is_hidden()
    ask(page, "¿Quién fundó Lima?")
    answers = reader.answers("¿Quién fundó Lima?", expected.text, top_k=4)
    assert page.locator("mark.best").all_text_contents() == [answers[0].text]
    places = [f"página {expected.page(answer.start)}" for answer in answers]
    assert page.locator(".place").all_text_contents() == places
    assert len(set(places)) > 1
    page.click("[data-language=en]")
    assert page.locator(".place").first.text_content() == places[0].replace("página", "page")
    page.click("#edit")
    page.fill("#source", expected.text + " Más.")  # pages are those of the file, no longer of this
    ask(page, "¿Quién fundó Lima?")
    assert page.locator(".place").count() == 0


def test_a_form_that_is_not_read_is_told(visit):
    page, field = visit(), "/FT /Tx /T (nombre) /V (Ana)"
    choose(page, "a.pdf", pdf_form("Solicitud", field))
    value(page, "Solicitud\n\nnombre: Ana")
    assert page.locator("#alert").is_hidden()
    choose(page, "b.pdf", pdf_form("Solicitud", field, dynamic=True))
    alert(page, "b.pdf: los valores de su formulario no se han leído.")


def test_pages_of_pictures_are_told(visit):
    page = visit()
    choose(page, "a.pdf", pdf(["uno"], b"9 9 99 99 re f", b"9 9 99 99 re f"))
    alert(page, "a.pdf: hay páginas que solo contienen imágenes y no se han leído (2-3).")


def test_a_word_document_may_be_dropped_on_a_phone(visit):
    page, content = visit(size=PHONE), word_paragraphs("Uno año.", "Dos 😀.")
    page.evaluate(
        """content => {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], "suelto.docx"));
            const options = { dataTransfer: carried, bubbles: true, cancelable: true };
            for (const type of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(type, options));
        }""",
        base64.b64encode(content).decode(),
    )
    value(page, "Uno año.\n\nDos 😀.")
    ask(page, "¿Qué?")
    assert page.locator(".place").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_what_a_file_says_and_is_called_stays_text(visit):
    page = visit(errors=["415"])
    choose(page, f"{MARKUP}.docx", word_paragraphs(MARKUP))
    value(page, MARKUP)
    playwright.expect(page.locator("#status")).to_have_text(f"Texto cargado: {MARKUP}.docx.")
    ask(page, MARKUP)
    assert page.locator("#view").text_content() == MARKUP
    choose(page, f"{MARKUP}.pdf", word())
    alert(page, f"{MARKUP}.pdf: el contenido no es")
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main script").count() == 0


@pytest.mark.parametrize(
    ("name", "content", "status", "spanish", "english"),
    [
        ("a.pdf", encrypted_pdf(), "422", "está protegido con contraseña", "it is protected by"),
        ("a.pdf", pdf([]), "422", "no contiene texto. Si sus páginas son imágenes", "it holds no text"),
        ("a.pdf", b"%PDF-1.7", "422", "está dañado", "it is damaged"),
        ("a.docx", b"hola", "415", "el contenido no es el que anuncia", "its content is not what"),
        ("a.docx", bytes(100_001), "", "es demasiado grande", "it is too large"),
        ("a.odt", b"x", "", "solo se leen archivos .txt, .md, .html, .pdf y .docx", "only .txt, .md, .html, .pdf and"),
    ],
)
def test_bad_files_are_told_in_both_languages_and_keep_the_text(visit, name, content, status, spanish, english):
    page = visit(errors=[status] * bool(status))
    page.fill("#source", "Mi texto.")
    choose(page, name, content)
    alert(page, f"{name}: {spanish}")
    page.click("[data-language=en]")
    alert(page, f"{name}: {english}")
    value(page, "Mi texto.")
    assert page.locator("#progress").is_hidden()
    assert page.locator("#open").get_attribute("aria-busy") is None


def test_the_missing_extra_is_told(visit, monkeypatch):
    hidden = "import sys; sys.modules['lxml'] = None; "
    monkeypatch.setattr(sandbox_module, "CHILD", hidden + sandbox_module.CHILD)
    page = visit(errors=["501"])
    choose(page, "a.docx", word())
    alert(page, "debe instalar destila[documents]")
    page.click("[data-language=en]")
    alert(page, "must install destila[documents]")
    assert page.locator("#source").input_value() == "", "nothing half-read"
    assert page.locator("#progress").is_hidden()


def test_a_slow_file_shows_that_it_is_read_and_writing_stops_it(visit, monkeypatch):
    monkeypatch.setattr(sandbox_module, "CHILD", "import time; time.sleep(3)")
    page = visit()
    choose(page, "a.pdf", pdf(["x"]))
    playwright.expect(page.locator("#status")).to_have_text("Leyendo el archivo…")
    playwright.expect(page.locator("#progress")).to_be_visible()
    assert page.get_by_role("progressbar", name="Leyendo el archivo…").get_attribute("value") is None
    page.fill("#source", "Escribo yo.")
    playwright.expect(page.locator("#progress")).to_be_hidden()
    assert page.locator("#alert").is_hidden()
    value(page, "Escribo yo.")


def test_the_key_is_asked_for(visit, reader):
    with serving(reader, key=KEY) as port:
        page = visit(address=f"http://127.0.0.1:{port}/", errors=["401"])
        choose(page, "a.docx", word_paragraphs("Un texto."))
        page.locator("#key").wait_for()
        page.keyboard.type(KEY)
        choose(page, "a.docx", word_paragraphs("Un texto."))
        value(page, "Un texto.")
        assert page.locator("#alert").is_hidden()


def test_the_keyboard_reaches_the_files_and_they_offer_all_kinds(visit):
    page = visit()
    page.locator("#example").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    assert page.get_by_label("Abrir archivo").get_attribute("accept").endswith(",.pdf,.docx")
    with page.expect_file_chooser() as chooser:
        page.wait_for_timeout(500)  # until the chooser is caught: the driver does not wait for that
        page.keyboard.press("Enter")
    chooser.value.set_files({"name": "a.docx", "mimeType": "", "buffer": word_paragraphs("Con teclado.")})
    value(page, "Con teclado.")


def test_cells_and_blocks_of_html_stay_apart(visit):
    page = visit()
    markup = b"<div><p>uno</p>dos</div><table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>"
    choose(page, "a.html", markup)
    value(page, "uno\ndos\na\tb\nc")
    assert page.locator("#alert").is_hidden()
