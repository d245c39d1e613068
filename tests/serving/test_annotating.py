"""The page of `destila annotate` in a real headless Chromium, against a real server; and who may not use it."""

import contextlib
import json

import pytest

from annotating import LIMA, PASSAGES, RIVER, SUGGESTIONS
from browsing import CHROMIUM, DESKTOP, HOSTILE, PHONE, barriers, visiting
from destila.data.annotation import Annotation
from destila.data.generation.drafts import Passage
from destila.data.squad import read
from destila.serving.annotating import PATH, SETTINGS, annotation_app
from serving import JSON, request, running, until
from tiny import example

with_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "questions.json"


@contextlib.contextmanager
def served(file, passages=PASSAGES, suggestions=SUGGESTIONS, **options):
    with running(annotation_app(Annotation(file, passages, suggestions, **options), goal=50), SETTINGS) as port:
        yield port


@pytest.fixture
def visit(browser, file, request):
    with served(file) as port, visiting(browser, f"http://127.0.0.1:{port}/", name=request.node.name) as open_page:

        def opened(**options):
            page = open_page(**options)
            page.locator("#list button").first.wait_for()
            return page

        yield opened


def on_disk(file):
    """{question: answer} of what is accepted."""
    examples = read(file, repair=False)[0] if json.loads(file.read_text())["data"] else []
    return {example.question: example.answers[0].text if example.answers else None for example in examples}


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def until_revision(page, revision):
    until(lambda: page.evaluate(f"state.revision === {revision} && !state.busy"))


def until_answer(page, text):
    """A browser tells of a changed selection later, and once for each key: wait for the last."""
    until(lambda: page.locator("#answer").inner_text() == text)


# ---------------------------------------------------------------------------------------------------- a person
@with_browser
def test_everything_is_done_with_the_keyboard_alone(visit, file):
    page = visit()
    until_answer(page, "Francisco Pizarro")
    assert page.locator(":focus").get_attribute("id") == "view"
    press(page, "a")
    until_revision(page, 1)
    assert on_disk(file) == {"¿Quién fundó Lima?": "Francisco Pizarro"}
    # Mend the question and the answer of the next one.
    press(page, "e", "End", "Backspace")
    page.keyboard.type(" exactamente, a, r, u?")
    press(page, "Escape", *["Control+Shift+ArrowRight"] * 2)
    until_answer(page, "18 de enero de 1535")
    press(page, "Enter")
    until_revision(page, 2)
    assert on_disk(file)["¿Cuándo se fundó exactamente, a, r, u?"] == "18 de enero de 1535"
    # The third: reject; then one of one's own, behind characters of two UTF-16 units and more.
    press(page, "r")
    until_revision(page, 3)
    press(page, "w")
    page.keyboard.type("¿De qué país es la capital?")
    press(page, "Enter")
    page.locator("#alert", has_text="Marca la respuesta").wait_for()
    press(page, "Control+End", "ArrowLeft", *["Shift+ArrowLeft"] * 4)
    until_answer(page, "Perú")
    press(page, "Shift+ArrowLeft", *["Control+Shift+ArrowLeft"] * 2)
    until(lambda: page.locator("#answer").inner_text().endswith("del Perú"))
    press(page, "a")
    until_revision(page, 4)
    own = on_disk(file)["¿De qué país es la capital?"]
    assert LIMA.endswith(own + ".")
    assert page.locator("#count").inner_text() == "3 de 50 preguntas; 1 rechazadas, 1 por revisar"
    # The next passage, without an answer; then all is taken back, one step after the other.
    press(page, "Shift+J")
    until_answer(page, "Andes")
    press(page, "n")
    until_answer(page, "El pasaje no lo dice")
    press(page, "a")
    until_revision(page, 5)
    assert on_disk(file)["¿Dónde nace?"] is None
    for step, key in enumerate(["u", "Control+z", "u", "u", "u"]):
        press(page, key)
        until_revision(page, 6 + step)
    assert on_disk(file) == {}
    assert page.locator('[data-state="open"]').count() == 4  # three, and the place for a new one
    assert page.locator("#undo").is_disabled()
    assert page.locator("#view").inner_text() == LIMA, "it cannot be edited"


@with_browser
def test_the_mouse_marks_and_a_phone_has_room(visit, file):
    page = visit(size=PHONE, locale="en-US")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="New question").click()
    page.locator("#question").fill("Who?")
    box = page.evaluate(
        """() => {
          scrollTo(0, 0);
          const range = document.createRange(), node = $("view").firstChild, start = node.data.indexOf("Pizarro");
          range.setStart(node, start);
          range.setEnd(node, start + 7);
          const { left, right, top, bottom } = range.getBoundingClientRect();
          return [left, right, (top + bottom) / 2];
        }"""
    )
    page.mouse.move(box[0] + 1, box[2])
    page.mouse.down()
    page.mouse.move(box[1] - 1, box[2], steps=4)
    page.mouse.up()
    until_answer(page, "Pizarro")
    page.get_by_role("button", name="Accept").click()
    until_revision(page, 1)
    assert on_disk(file) == {"Who?": "Pizarro"}
    page.get_by_role("button", name="Reject").click()
    until_revision(page, 2)
    page.get_by_role("button", name="Undo").click()
    until_revision(page, 3)
    page.get_by_label("The passage does not say").check()
    until_answer(page, "The passage does not say")
    page.get_by_label("Go to a passage").select_option("1")
    assert page.locator("#view").inner_text() == RIVER
    page.get_by_label("Single-key shortcuts").uncheck()
    page.locator("#view").focus()
    press(page, "r", "a")
    assert page.evaluate("state.revision") == 3
    named = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, [role], progress")].filter((node) =>
          !node.closest("[hidden]") && !node.textContent.trim() && !node.labels?.length && !node.ariaLabel
          && !node.getAttribute("aria-labelledby") && !["alert", "status"].includes(node.role)).map(({ id }) => id)"""
    )
    assert named == [], "who does not see them is not told what they are"


@with_browser
@pytest.mark.parametrize(("size", "colors"), [(DESKTOP, "dark"), (PHONE, "light")], ids=["desktop-dark", "phone"])
def test_axe_finds_no_barriers(visit, size, colors):
    page = visit(size=size)
    page.emulate_media(color_scheme=colors)
    page.locator("#view").wait_for()
    assert barriers(page) == []


def test_nothing_is_lost_when_the_tab_is_closed(visit, file):
    page = visit()
    press(page, "Shift+J", "w")
    page.keyboard.type("¿Cuánto mide?")
    press(page, "Escape", "Control+End", *["Control+Shift+ArrowLeft"] * 4)
    marked = "unos 6992 kilómetros."
    until_answer(page, marked)
    again = page.context.new_page()
    page.close()
    again.goto(page.url)
    until_answer(again, marked)
    assert again.locator("#question").input_value() == "¿Cuánto mide?"
    press(again, "a")
    again.close()  # while the step is under way
    last = visit()
    until(lambda: last.evaluate("fetch('v1/annotation').then((response) => response.json()).then((it) => it.revision)"))
    assert on_disk(file) == {"¿Cuánto mide?": marked}


@with_browser
def test_two_tabs_overwrite_nothing_and_a_server_that_is_away_costs_nothing(visit, file):
    first = visit(errors=("409", "ERR_INTERNET_DISCONNECTED"))
    second = first.context.new_page()
    second.goto(first.url)
    second.locator("#list button").first.wait_for()
    press(second, "e", "End")
    second.keyboard.type(" ¿En serio?")
    press(first, "r")
    until_revision(first, 1)
    press(second, "Escape", "a")
    second.locator("#alert", has_text="otra pestaña").wait_for()
    assert second.locator("#question").input_value() == "¿Quién fundó Lima? ¿En serio?"
    assert on_disk(file) == {}
    second.context.set_offline(True)
    press(second, "a")
    second.locator("#alert", has_text="no responde").wait_for()
    second.context.set_offline(False)
    press(second, "a")
    until_revision(second, 2)
    assert on_disk(file) == {"¿Quién fundó Lima? ¿En serio?": "Francisco Pizarro"}


@with_browser
def test_blind_and_hostile_texts(browser, file, request):
    passages = [Passage(HOSTILE, HOSTILE * 2)]
    suggestions = [example("x", HOSTILE, HOSTILE * 2, "Lima", title=HOSTILE)]
    with (
        served(file, passages, suggestions, blind=True) as port,
        visiting(browser, f"http://127.0.0.1:{port}/", name=request.node.name) as visit,
    ):
        page = visit()
        until_answer(page, "sin marcar")
        press(page, "a")
        page.locator("#alert", has_text="Marca la respuesta").wait_for()
        press(page, "Control+a")
        until_answer(page, " ".join((HOSTILE * 2).split()))
        press(page, "a")
        until_revision(page, 1)
        assert page.evaluate("window.hacked") is None
    assert read(file, repair=False)[0][0].answers[0].text == HOSTILE * 2


# ---------------------------------------------------------------------------------------------------- others
def test_only_pages_of_this_server_are_answered(file):
    with served(file) as port:
        state = request(port, path=PATH)[2]
        assert len(state["passages"]) == 2
        step = json.dumps({"revision": 0, "action": "reject", "id": "quién"}).encode()
        assert request(port, path=PATH, headers={"Host": f"evil.example:{port}"})[0] == 400
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1", f"https://127.0.0.1:{port}"):
            assert request(port, "POST", PATH, step, JSON | {"Origin": origin})[0] == 403
        assert not file.exists()
        assert request(port, "POST", PATH, step, JSON | {"Origin": f"http://127.0.0.1:{port}"})[0] == 200
        assert request(port, "POST", PATH, step, JSON)[0] == 409
        assert request(port, "POST", PATH, b"x" * 50_001, JSON)[0] == 413


MARKED = {"action": "accept", "question": "¿Quién?", "start": 0, "end": 4, "text": "Lima"}


@pytest.mark.parametrize(
    ("fields", "status", "problem"),
    [
        (MARKED | {"id": "quién", "text": "ima "}, 422, "stands"),
        (MARKED | {"question": ""}, 422, "question: is empty"),
        (MARKED | {"passage": "away"}, 422, "is none"),
        ({"action": "reject", "id": "nobody"}, 422, "no question here"),
        ({"action": "reject", "id": 3}, 422, "id: "),
        ({"action": "burn"}, 422, "action: "),
        ({"action": "undo", "force": True}, 422, "force: "),
        ({"action": "undo", "revision": 7}, 409, "have changed"),
    ],
)
def test_a_wrong_step_says_what_is_wrong_and_writes_nothing(file, fields, status, problem):
    annotation = Annotation(file, PASSAGES, SUGGESTIONS)
    fields = {"revision": 0, "passage": next(iter(annotation.passages)), **fields}
    with running(annotation_app(annotation, goal=1), SETTINGS) as port:
        found = request(port, "POST", PATH, json.dumps(fields).encode(), JSON)
    assert (found[0], problem in found[2]["error"]["problem"]) == (status, True), found
    assert not file.exists()


def test_a_file_that_cannot_be_written_is_told(file, monkeypatch):
    from destila.core import runs

    def full(_):
        raise OSError(28, "No space left on device")

    with served(file) as port:
        monkeypatch.setattr(runs, "flush", full)
        step = json.dumps({"revision": 0, "action": "reject", "id": "quién"}).encode()
        status, _, content = request(port, "POST", PATH, step, JSON)
    assert (status, content["error"]["code"]) == (507, "unwritable")
