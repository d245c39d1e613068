"""Several texts in the page, and what an answer needs of them, in a real Chromium against a real server."""

import copy
import json
from pathlib import Path

import pytest

from browsing import CHROMIUM, HOSTILE, ask, drop, words
from destila.config import LimitSettings, ServeSettings
from destila.core.calibration import Calibration
from destila.inference.ranking import Piece, answers_from
from serving import page_reader, serving
from tiny import TEXTS

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

QUESTION = "¿Quién fundó Lima?"
FILES = [[f"{name}.txt", text] for name, text in zip(("uno", "dos", "tres"), TEXTS[:3], strict=True)]
LIMITS = LimitSettings(context_characters=5_000, pairs=4)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return page_reader(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def address(reader):
    with serving(reader, ServeSettings(limits=LIMITS)) as port:
        yield f"http://127.0.0.1:{port}/"


def dropped(page, files=FILES):
    drop(page, files)
    playwright.expect(page.locator(".tab .show")).to_have_text([name for name, _ in files])
    return page


def put_question(page, question=QUESTION):
    page.fill("#question", question)
    page.keyboard.press("Enter")
    page.locator(".turn").first.wait_for()


def test_files_that_are_dropped_together_are_asked_together(visit, reader):
    page = dropped(visit())
    put_question(page)
    ranked = answers_from(reader, QUESTION, [Piece(place, 0, text) for place, (_, text) in enumerate(FILES)], top_k=4)
    assert words(page, ".words") == [" ".join(answer.text.split()) for _, answer in ranked]
    assert words(page, ".place") == [FILES[place][0] for place, _ in ranked]
    for place, answer in ranked:
        page.locator(".answer").nth(ranked.index((place, answer))).click()
        assert page.locator("#view").text_content() == FILES[place][1]
        assert words(page, "mark.shown") == [answer.text]
        assert words(page, ".tab .show[aria-pressed=true]") == [FILES[place][0]]
        here = [one.text for of, one in ranked if of == place]
        assert sorted(words(page, "mark")) == sorted(here), "the marks are those of the text that is shown"


def test_a_citation_and_a_saved_file_say_which_text_an_answer_is_from(visit, reader):
    page = dropped(visit())
    put_question(page)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copiar con cita").first.click()
    playwright.expect(page.locator(".copy")).to_have_text("Copiado")
    name = words(page, ".place")[0]
    assert f", {name}): " in page.evaluate("navigator.clipboard.readText()")
    with page.expect_download() as download:
        page.get_by_role("button", name="Guardar").click()
    saved = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert saved["contexts"] == [{"context": text, "file": name} for name, text in FILES]
    assert {"question", "contexts", "offsets", "answers", "sentences"} == saved.keys()
    for answer in saved["answers"]:
        assert FILES[answer["context"]][1][answer["start"] : answer["end"]] == answer["text"]


def test_texts_are_added_switched_and_removed_by_keyboard(visit):
    page = visit()
    page.fill("#source", TEXTS[0])
    page.locator("#add").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "source"
    assert page.locator("#source").input_value() == ""
    page.keyboard.insert_text(TEXTS[1])
    playwright.expect(page.locator(".tab .show")).to_have_text(["Texto 1", "Texto 2"])
    page.locator(".tab .show").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#source").input_value() == TEXTS[0]
    assert page.evaluate("document.activeElement.textContent") == "Texto 1"
    page.click("[data-language=en]")
    playwright.expect(page.locator(".tab .remove").first).to_have_attribute("aria-label", "Remove Text 1")
    page.locator(".tab .remove").first.focus()
    page.keyboard.press("Space")
    assert page.locator("#source").input_value() == TEXTS[1]
    assert page.locator("#texts").is_hidden()
    playwright.expect(page.locator("#status")).to_have_text("Text 1: removed.")


def test_what_is_typed_into_one_text_stays_when_another_is_shown(visit):
    page = dropped(visit())
    page.fill("#source", f"{TEXTS[0]} Y algo más.")
    playwright.expect(page.locator(".tab .show")).to_have_text(["Texto 1", "dos.txt", "tres.txt"]), "no longer the file"
    for place in (1, 0):
        page.locator(".tab .show").nth(place).click()
    assert page.locator("#source").input_value() == f"{TEXTS[0]} Y algo más."


@pytest.mark.parametrize("change", ["edited", "removed"])
def test_questions_stay_when_a_text_is_added_and_go_when_one_is_edited_or_removed(visit, change):
    page = dropped(visit())
    put_question(page)
    page.click("#add")
    page.keyboard.insert_text("Un texto más.")
    assert page.locator(".turn").count() == 1
    page.locator(".turn .asked").first.click()
    page.locator(".tab .show").last.click()
    assert page.locator("#source").input_value() == "Un texto más."
    page.locator(".tab .show").first.click()
    page.locator("#edit").click()
    if change == "edited":
        page.fill("#source", "Otro.")
    else:
        page.locator(".tab .remove").nth(1).click()
    assert page.locator(".turn").count() == 0


def test_an_empty_text_is_not_asked_and_takes_what_is_opened(visit, reader):
    page = visit()
    page.fill("#source", TEXTS[0])
    page.click("#add")
    with page.expect_request("**/v1/answer") as sent:
        page.fill("#question", QUESTION)
        page.keyboard.press("Enter")
    assert sent.value.post_data_json["context"] == [TEXTS[0]]
    page.locator(".turn").first.wait_for()
    assert page.locator("#view").text_content() == TEXTS[0]
    page.locator(".tab .show").nth(1).click()
    page.set_input_files("#file", [{"name": n, "mimeType": "", "buffer": t.encode()} for n, t in FILES[:2]])
    playwright.expect(page.locator(".tab .show")).to_have_text(["Texto 1", "uno.txt", "dos.txt"])


def test_of_files_the_bad_ones_are_named_and_the_good_ones_opened(visit):
    page = visit()
    drop(page, [["foto.jpg", "x"], FILES[0], ["vacío.txt", " "], FILES[1]])
    playwright.expect(page.locator(".tab .show")).to_have_text(["uno.txt", "dos.txt"])
    alert = page.locator("#alert")
    playwright.expect(alert).to_contain_text("foto.jpg: solo se leen")
    playwright.expect(alert).to_contain_text("vacío.txt: el archivo no contiene texto.")
    page.click("[data-language=en]")
    playwright.expect(alert).to_contain_text("vacío.txt: the file holds no text.")


def test_too_many_texts_and_one_that_is_too_long_are_refused_with_their_number(visit):
    page = dropped(visit(), [[f"{number}.txt", "Lima."] for number in range(5)])
    page.fill("#question", QUESTION)
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#alert")).to_have_text(
        "Hay 5 textos; se puede preguntar a 4 a la vez. Quita alguno."
    )
    page.locator(".tab .remove").first.click()
    page.locator(".tab .show").nth(2).click()
    page.fill("#source", "a" * 5_001)
    page.locator(".tab .show").first.click()
    page.fill("#question", QUESTION)
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#alert")).to_contain_text("5001")
    assert words(page, ".tab .show[aria-pressed=true]") == ["Texto 3"], "the one that is too long"


def test_where_a_share_of_errors_is_promised_the_page_says_that_one_text_is_asked_at_a_time(visit, reader):
    bound = copy.copy(reader)
    bound.calibration, bound.least_probability = Calibration(bias=1, margin=0.0, share=0.0), 0.2
    with serving(bound) as port:
        page = dropped(visit(address=f"http://127.0.0.1:{port}/"))
        page.fill("#question", QUESTION)
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#alert")).to_contain_text("texto a texto")


@pytest.mark.parametrize("noise", ["", f"😀 {HOSTILE} ñandú\r\n"])
def test_what_the_answer_does_not_need_is_faded_on_demand(visit, reader, noise):
    page, text = visit(), noise + " ".join(TEXTS)
    shown = text.replace("\r\n", "\n")
    ask(page, text, QUESTION)
    assert words(page, ".faded") == []
    page.get_by_label("Atenuar lo que la respuesta no necesita").check()
    expected = reader.highlight(QUESTION, shown).sentences
    kept = "".join(one.text for one in expected)
    assert page.locator("#view").text_content() == shown
    pieces = page.evaluate(
        "[...document.querySelector('#view').childNodes].map((node) => [node.className ?? '', node.textContent])"
    )
    assert "".join(text for name, text in pieces if name != "faded") == kept
    assert words(page, "mark.best")[0] in kept
    assert page.evaluate("window.hacked") is None
    page.click("[data-language=en]")
    page.get_by_label("Fade what the answer does not need").uncheck()
    assert words(page, ".faded") == []
