"""The page in a real headless Chromium, against a real server. Skipped where there is no Playwright or no Chromium."""

import math
import time

import pytest

from browsing import CHROMIUM, DESKTOP, HOSTILE, PHONE, ask, drop, put, visiting, words
from destila.config import LimitSettings, QueueSettings, ServeSettings
from destila.core.calibration import Calibration
from destila.inference.reader import Reader
from serving import page_reader, serving
from tiny import TEXTS

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return page_reader(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def address(reader):
    with serving(reader, ServeSettings(limits=LimitSettings(context_characters=5_000))) as port:
        yield f"http://127.0.0.1:{port}/"


def test_answers_are_shown_in_place_and_more_can_be_asked(visit, reader):
    page, text = visit(), "\n".join(TEXTS)
    ask(page, text, "¿Quién fundó Lima?")
    expected = reader.answers("¿Quién fundó Lima?", text, top_k=4)
    assert words(page, "mark.best") == [expected[0].text]
    assert sorted(words(page, "mark")) == sorted(answer.text for answer in expected)
    assert page.locator("#view").text_content() == text
    assert words(page, ".words") == [" ".join(answer.text.split()) for answer in expected]
    assert "Respondido en" in page.locator(".took").text_content()
    page.locator(".answer").nth(2).click()
    assert words(page, "mark.shown") == [expected[2].text]
    page.fill("#question", "¿Dónde nació María?")
    page.keyboard.press("Enter")
    page.locator(".turn").nth(1).wait_for()
    assert words(page, ".turn h3") == ["¿Dónde nació María?", "¿Quién fundó Lima?"]
    assert words(page, "mark.best") == [reader.answer("¿Dónde nació María?", text).text]
    page.click("#edit")
    page.fill("#source", "Otro texto.")
    assert page.locator(".turn").count() == 0


@pytest.mark.parametrize(("odds", "word"), [(3, "casi seguro"), (1, "probablemente"), (0, "quizá"), (-2, "dudoso")])
def test_a_calibrated_reader_says_in_words_how_sure_it_is(browser, reader, request, odds, word):
    calibrated = Reader(
        reader.model,
        reader.tokenizer,
        window=reader.window,
        pad_id=reader.builder.pad_id,
        calibration=Calibration(bias=odds, margin=0.0, share=0.0),
    )
    with (
        serving(calibrated, ServeSettings()) as port,
        visiting(browser, f"http://127.0.0.1:{port}/", name=request.node.name) as visit,
    ):
        page = visit()
        ask(page, "\n".join(TEXTS), "¿Quién fundó Lima?")
        assert words(page, ".sure") == [word], "of the best answer only"
        percent = round(100 / (1 + math.exp(-odds)))
        assert page.locator(".share").first.text_content().startswith(f"{percent}")


def test_a_reader_without_calibration_says_nothing_of_how_sure_it_is(visit):
    page = visit()
    ask(page, "\n".join(TEXTS), "¿Quién fundó Lima?")
    assert words(page, ".sure") == []


@pytest.mark.parametrize(
    "hidden", [HOSTILE, "😀🇪🇸 👩‍👩‍👧 ñandú\r\n\U0001f9e0 Lima\ud800 fin"], ids=["markup", "unicode"]
)
def test_what_is_written_is_text_whatever_it_is(visit, reader, hidden):
    page = visit()
    page.evaluate("text => { document.getElementById('source').value = text }", hidden)
    question = HOSTILE[:38]
    page.fill("#question", question)
    page.keyboard.press("Enter")
    page.locator(".turn").wait_for()
    text = hidden.replace("\r\n", "\n").replace("\ud800", "\ufffd")
    answers = reader.answers(question, text, top_k=4)
    assert page.locator("#view").text_content() == text
    assert words(page, "mark.best") == [answers[0].text]
    assert sorted(words(page, "mark")) == sorted(answer.text for answer in answers)
    assert words(page, ".turn h3") == [question]
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main script").count() == 0


def test_a_refusal_shows_its_guess_and_answers_anyway(visit, reader):
    shy = Reader(reader.model, reader.tokenizer, window=reader.window, pad_id=1, no_answer_threshold=-1000.0)
    text, question = "\n".join(TEXTS), "¿Quién fundó Lima?"
    _, *guesses = shy.answers(question, text, top_k=4)
    with serving(shy) as port:
        page = visit(address=f"http://127.0.0.1:{port}/", size=PHONE)
        ask(page, text, question)
        assert words(page, ".none") == ["El texto no lo dice."]
        assert words(page, ".words") == [" ".join(answer.text.split()) for answer in guesses]
        assert words(page, "mark.best") == []
        page.get_by_role("button", name="Responder de todos modos").click()
        assert words(page, ".none") == words(page, ".anyway") == []
        assert words(page, ".first .words") == words(page, "mark.best") == [guesses[0].text]
        assert words(page, ".words") == [" ".join(answer.text.split()) for answer in guesses]
        playwright.expect(page.locator("#status")).to_contain_text(f"Respuesta: {guesses[0].text}")
        assert page.evaluate("document.activeElement.dataset.rank") == "0"


class Slow:
    """A model that takes its time for each run."""

    def __init__(self, model):
        self.model, self.runs = model, 0

    def logits(self, input_ids, attention_mask):
        self.runs += 1
        time.sleep(0.1)
        return self.model.logits(input_ids, attention_mask)


def test_a_long_text_shows_how_far_it_is_read_and_can_be_stopped(visit, reader):
    slow = Reader(Slow(reader.model), reader.tokenizer, window=reader.window, pad_id=1)
    settings = ServeSettings(queue=QueueSettings(batch_tokens=1, timeout=120))
    with serving(slow, settings) as port:
        page = visit(address=f"http://127.0.0.1:{port}/")
        put(page, " ".join(TEXTS * 60), "¿Quién fundó Lima?")
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#progress-name")).to_contain_text("Leyendo el texto: ")
        bar = page.locator("#progress-bar")
        seen = [float(bar.get_attribute("value"))]
        while seen[-1] < 0.03:
            page.wait_for_timeout(100)
            seen.append(float(bar.get_attribute("value")))
        assert seen == sorted(seen)
        page.get_by_role("button", name="Detener").click()
        assert page.locator("#progress").is_hidden()
        playwright.expect(page.locator("#status")).to_have_text("Detenido.")
        playwright.expect(page.locator("#send")).not_to_have_attribute("aria-busy", "true")
        page.wait_for_timeout(500)
        runs = slow.model.runs
        page.wait_for_timeout(500)
        assert slow.model.runs == runs, "the server went on reading"
        assert page.locator("#alert").is_hidden()
        ask(page, TEXTS[0], "¿Quién fundó Lima?")
        assert page.locator("#progress").is_hidden()


def test_the_api_is_shown_and_can_be_tried(visit, address):
    page = visit(size=PHONE, errors=["400"])
    page.goto(f"{address}docs")
    playwright.expect(page.locator("h2").first).to_have_text("POST /v1/answer")
    shown = page.locator("section").first.inner_text()
    for word in ("must_answer", "no_answer_threshold", "maxLength 5000", "obligatorio", "503"):
        assert word in shown
    page.get_by_role("button", name="Enviar").first.click()
    playwright.expect(page.locator("pre").first).to_contain_text('"results"')
    assert page.locator("pre").first.text_content().startswith("200")
    page.locator("section textarea").first.fill("{")
    page.get_by_role("button", name="Enviar").first.click()
    playwright.expect(page.locator("pre").first).to_contain_text("the body is not JSON")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_it_works_without_a_mouse_and_tells_screen_readers(visit):
    page = visit()
    for role, name in [("textbox", "El texto en el que"), ("textbox", "Pregunta"), ("button", "Preguntar")]:
        assert page.get_by_role(role, name=name).count() >= 1
    names = []
    for _ in range(8):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.id || document.activeElement.dataset.language"))
    assert names == ["es", "en", "example", "file", "add", "source", "question", "send"]
    page.locator("#example").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "question"
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#status")).to_contain_text("Respuesta: ")
    assert page.evaluate("document.activeElement.id") == "question"
    page.locator(".answer").nth(1).focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.rank") == "1"


def test_it_speaks_the_visitors_language_and_remembers_the_choice(visit):
    page = visit(locale="en-GB")
    assert page.locator("#send").text_content() == "Ask"
    page.click("[data-language=es]")
    assert (page.locator("html").get_attribute("lang"), page.locator("#send").text_content()) == ("es", "Preguntar")
    page.reload()
    assert page.locator("#send").text_content() == "Preguntar"
    assert page.get_by_role("button", name="Español").get_attribute("aria-pressed") == "true"


def test_both_languages_say_the_same_things(visit):
    es, en = visit().evaluate("[TEXTS.es, TEXTS.en].map(texts => Object.entries(texts))")
    assert [name for name, _ in es] == [name for name, _ in en]
    assert all(set(_places(a)) == set(_places(b)) for (_, a), (_, b) in zip(es, en, strict=True))


def _places(text):
    return [word for word in text.replace("{", " {").replace("}", "} ").split() if word.startswith("{")]


SIZES = {"phone": PHONE, "375": {"width": 375, "height": 667}, "small": {"width": 320, "height": 568}}


@pytest.mark.parametrize("size", [*SIZES.values(), DESKTOP], ids=[*SIZES, "desktop"])
def test_nothing_overflows_and_everything_can_be_touched(visit, size):
    page = visit(size=size)
    drop(page, [[f"un nombre {'muy ' * 20}largo.txt", "Texto."]])
    playwright.expect(page.locator("#name")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    page.evaluate("showProgress('searching', 0.5); $('stop').hidden = false")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    ask(page, " ".join(TEXTS) + " palabra" + "larga" * 60, "¿Quién fundó" + "larga" * 10)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    for button in page.locator("button:visible, .button:visible").all():
        assert button.bounding_box()["height"] >= 40


def test_mistakes_are_told(visit):
    page = visit(errors=["503"])
    page.click("#send")
    playwright.expect(page.locator("#alert")).to_have_text("Primero pega un texto o abre un archivo.")
    page.fill("#source", "x" * 5_001)
    page.click("#send")
    playwright.expect(page.locator("#alert")).to_have_text("Escribe una pregunta.")
    page.fill("#question", "¿Qué?")
    page.click("#send")
    playwright.expect(page.locator("#alert")).to_contain_text("el máximo es 5000")
    page.route("**/v1/answer", lambda route: route.fulfill(status=503, json={}, headers={"Retry-After": "7"}))
    put(page, "Un texto.", "¿Qué?")
    page.click("#send")
    playwright.expect(page.locator("#alert")).to_contain_text("Inténtalo de nuevo en 7 s.")
    page.click("[data-language=en]")
    playwright.expect(page.locator("#alert")).to_contain_text("Try again in 7 s.")


def test_the_key_is_asked_for(visit, reader):
    with serving(reader, key=KEY) as port:
        page = visit(address=f"http://127.0.0.1:{port}/", errors=["401"])
        put(page, TEXTS[0], "¿Quién?")
        page.click("#send")
        page.locator("#key").wait_for()
        page.keyboard.type(KEY)
        page.keyboard.press("Enter")
        page.locator(".turn").wait_for()
        assert page.locator("#alert").is_hidden()
        assert page.evaluate("Object.keys(localStorage)") == ["destila-language"]
