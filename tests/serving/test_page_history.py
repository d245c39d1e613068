"""What the page keeps of the questions about a text, and its examples, in a real Chromium against a real server."""

import json
from pathlib import Path

import pytest

from browsing import CHROMIUM, HOSTILE, PHONE, ask, drop, words
from destila.core.calibration import Calibration, Promise
from destila.inference.reader import Reader
from serving import page_reader, serving
from tiny import TEXTS

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

TEXT = "\n".join(TEXTS)
KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return page_reader(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def address(reader):
    with serving(reader) as port:
        yield f"http://127.0.0.1:{port}/"


def test_every_example_asks_its_question_about_its_text_by_keyboard_on_a_phone(visit):
    page = visit(size=PHONE)
    examples = page.evaluate("EXAMPLES")
    assert len({example["name"] for example in examples}) == len(examples) >= 4
    for number, example in enumerate(examples):
        page.evaluate("document.querySelector('#examples').open = true")
        page.locator("#examples summary").focus()
        for _ in range(number + 1):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        playwright.expect(page.locator(".turn .asked")).to_have_text([example["question"]])
        assert page.locator("#view").text_content() == example["text"]
        assert page.locator("#examples").get_attribute("open") is None, "answers have the room"
    page.click("[data-language=en]")
    assert words(page, ".sample .quiet") == page.evaluate("EXAMPLES.map(({ name }) => TEXTS.en[name])")


def test_questions_are_shown_again_and_cleared_and_kept_nowhere(visit, reader):
    page, questions = visit(), ["¿Quién fundó Lima?", HOSTILE[:38]]
    for question in questions:
        ask_again(page, question)
    assert words(page, "#asked") == ["Preguntas: 2"]
    page.locator(".turn .asked").nth(1).focus()
    page.keyboard.press("Enter")
    assert words(page, "mark.best") == [reader.answer(questions[0], TEXT).text]
    assert page.locator("#question").input_value() == questions[0]
    assert page.evaluate("document.activeElement.textContent") == questions[0]
    assert page.evaluate("[Object.keys(localStorage), Object.keys(sessionStorage)]") == [["destila-language"], []]
    page.click("#clear")
    assert page.locator(".turn").count() == 0
    assert page.locator("#past").is_hidden()
    assert page.locator("#source").input_value() == TEXT, "the text stays"
    assert page.evaluate("document.activeElement.id") == "question"
    playwright.expect(page.locator("#status")).to_have_text("Preguntas borradas.")


def ask_again(page, question):
    if not page.locator(".turn").count():
        return ask(page, TEXT, question)
    page.fill("#question", question)
    page.keyboard.press("Enter")
    page.locator(".turn").nth(1).wait_for()


CITED = (
    "Ayer el Sr. Ruiz Gil fue a Lima. El Dr. Paz Sol 😀\nvio a la Sra. Díaz allí. Nadie habló.\r\n\r\nFin del texto."
)
SENTENCES = [
    "Ayer el Sr. Ruiz Gil fue a Lima.",
    "El Dr. Paz Sol 😀 vio a la Sra. Díaz allí.",
    "Nadie habló.",
    "Fin del texto.",
]


def test_a_citation_has_the_whole_sentences_around_an_answer(visit):
    page = visit()
    flat = CITED.replace("\r\n\r\n", "    ").replace("\n", " ")
    bounds = [(flat.index(one), flat.index(one) + len(one)) for one in SENTENCES]
    units = [len(CITED[:place].encode("utf-16-le")) // 2 for place in range(len(CITED) + 1)]
    wanted, asked = [], []
    for start in range(len(CITED)):
        for end in (start + 1, min(start + 9, bounds[2][1] if start < bounds[2][1] else len(CITED))):
            touched = [number for number, (first, last) in enumerate(bounds) if first < end and last > start]
            if touched and not CITED[start].isspace() and not CITED[end - 1].isspace():
                asked.append([units[start], units[end]])
                wanted.append(" ".join(SENTENCES[number] for number in touched))
    found = page.evaluate(
        "([text, spans]) => spans.map(([start, end]) => sentenceAround(text, start, end))", [CITED, asked]
    )
    assert found == wanted


def test_an_answer_is_copied_with_its_citation_and_saved_with_its_text(visit, reader):
    page, question = visit(), "¿Quién fundó Lima?"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    drop(page, [["informe.txt", TEXT]])
    playwright.expect(page.locator("#name")).to_have_text("informe.txt")
    page.fill("#question", question)
    page.keyboard.press("Enter")
    answers = reader.answers(question, TEXT, top_k=4)
    for answer in answers[:2]:
        page.locator(".answer").nth(answers.index(answer)).click()
        page.get_by_role("button", name="Copiar con cita").click()
        playwright.expect(page.locator(".copy")).to_have_text("Copiado")
        copied = page.evaluate("navigator.clipboard.readText()")
        words_of_it = " ".join(answer.text.split())
        assert copied.startswith(f"«{words_of_it}» (caracteres {answer.start}-{answer.end}, informe.txt): ")
        assert words_of_it in copied.split("): ", 1)[1]
    with page.expect_download() as download:
        page.get_by_role("button", name="Guardar").click()
    assert download.value.suggested_filename == "respuesta.json"
    saved = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert (saved["question"], saved["context"], saved["file"]) == (question, TEXT, "informe.txt")
    assert [(one["text"], one["start"], one["end"]) for one in saved["answers"]] == [
        (answer.text, answer.start, answer.end) for answer in answers
    ]


def test_where_there_is_no_clipboard_the_page_copies_by_itself_or_says_so(visit):
    page = visit()
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    ask(page, TEXT, "¿Quién fundó Lima?")
    page.evaluate("document.addEventListener('copy', () => { window.copied = String(document.activeElement.value); })")
    page.locator(".copy").click()
    playwright.expect(page.locator(".copy")).to_have_text("Copiado")
    assert page.evaluate("window.copied").startswith("«")
    page.evaluate("document.execCommand = () => false")
    page.locator(".copy").click()
    playwright.expect(page.locator("#status")).to_have_text("El navegador no deja copiar")


def test_the_page_says_how_often_its_reader_is_right(visit, reader):
    promise = Promise(0.4, least_probability=0.43, confidence=0.9, answered=0.2, wrong=0.31, questions=3360)
    measured = Reader(reader.model, reader.tokenizer, window=reader.window, pad_id=1, name="/secret/place/mine")
    measured.calibration = Calibration(bias=0.0, margin=1.0, share=1.0, promises=(promise,))
    with serving(measured, key=KEY) as port:
        page = visit(address=f"http://127.0.0.1:{port}/", errors=["401"])
        assert page.locator("#about").is_hidden(), "it would need the key"
        page.evaluate("$('guard').hidden = false")
        page.fill("#key", KEY)
        ask(page, TEXT, "¿Quién fundó Lima?")
        about = page.locator("#about")
        playwright.expect(about).to_contain_text("al menos 43 % acertó en el 69 % de sus respuestas a 3360")
        assert about.text_content().startswith("Responde mine, de Destila ")
        page.click("[data-language=en]")
        playwright.expect(about).to_contain_text("at least 43%, 69% of its answers to 3,360 test questions were right")
    playwright.expect(visit().locator("#about")).to_contain_text("No se ha medido")


def test_on_paper_there_are_answers_and_text_and_nothing_to_press(visit):
    page = visit()
    ask(page, TEXT * 20, "¿Quién fundó Lima?")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("button:visible:not(.asked):not(.answer), input:visible, summary:visible").count() == 0
    assert page.locator("#view").evaluate("node => node.scrollHeight <= node.clientHeight"), "all of the text"
    assert page.locator("body").evaluate("node => getComputedStyle(node).backgroundColor") == "rgb(255, 255, 255)"
