"""The report in a real headless Chromium, without a network. Skipped where there is no Playwright or no Chromium."""

import itertools
import os
import re
import shutil
from pathlib import Path

import pytest

import report_case
from destila.cli.report import run
from destila.config import ReportSettings
from destila.core.records import Answer, Example
from destila.data.squad import save
from destila.reporting.facts import Facts
from report_case import DATA, Page, markdown_tables, onnx_reader

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

SCREENSHOTS = os.environ.get("DESTILA_SCREENSHOTS")  # a directory, to look at what the tests saw
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script></style> & \u202e'
SHOWN = 60


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Facts]:
    """A report of two readers that need no torch, with answers that are good enough to be of every kind."""
    directory = tmp_path_factory.mktemp("case")
    report_case.make(directory)
    for name in ("teacher", "student"):  # the same runs and answers, but fast to load
        shutil.move(directory / name, directory / f"{name}-run")
        source = {"model": str(directory / f"{name}-run")}
        threshold = report_case.THRESHOLD if name == "student" else None
        onnx_reader(directory / name, source=source, threshold=threshold)
    settings = ReportSettings(
        runs=[str(directory / "student")],
        reference=str(directory / "teacher"),
        data=[DATA],
        output=str(directory / "report"),
        reuse=True,
        max_errors=SHOWN,
        layer_windows=0,
        resamples=100,
    )
    return directory / "report" / "report.html", run(settings)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, report, request):
    """Opens the page; afterwards nothing but the file was asked for and nothing went wrong in it."""
    contexts, complaints, asked = [], [], []

    expected = []

    def open_page(*, errors=(), size=DESKTOP, scheme="light", fragment="", path=report[0], script=True):
        context = browser.new_context(
            viewport=size, color_scheme=scheme, reduced_motion="reduce", offline=True, java_script_enabled=script
        )
        contexts.append(context)
        expected.extend(errors)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("request", lambda seen: asked.append((seen.url, path.as_uri())))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(path.as_uri() + fragment)
        return page

    yield open_page
    for number, context in enumerate(contexts):
        if SCREENSHOTS:
            path = Path(SCREENSHOTS) / f"{request.node.name}-{number}.png"
            # A picture of all of a long page takes five seconds.
            whole = request.node.originalname == "test_nothing_is_wider_than_the_window"
            context.pages[0].screenshot(path=path, full_page=whole)
        context.close()
    assert [text for text in complaints if not any(known in text for known in expected)] == []
    assert [url for url, home in asked if not url.startswith(home)] == []


def visible(page) -> list[str]:
    return [item.get_attribute("id") for item in page.locator("#mistakes > li:visible").all()]


def status(page) -> list[int]:
    """matching, shown, in all"""
    return [int(number) for number in re.findall(r"\d+", page.locator("#found").text_content())]


# ---------------------------------------------------------------------------------------------------- looks
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_nothing_is_wider_than_the_window(visit, size, scheme) -> None:
    page = visit(size=size, scheme=scheme)
    for details in page.locator("#mistakes > li:visible details").all()[:8] + page.locator("details.code").all():
        details.evaluate("element => { element.open = true }")
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    wide = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && !e.closest('svg') &&"
        " e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 90))"
    )
    assert wide == []
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (min(map(int, re.findall(r"\d+", color))) > 200) == (scheme == "light")


@pytest.mark.parametrize(("size", "least"), [(PHONE, 3), (DESKTOP, 7)], ids=["phone", "desktop"])
def test_the_answers_begin_on_the_first_screen(visit, size, least) -> None:
    page = visit(size=size)
    ends = [item.bounding_box()["y"] + item.bounding_box()["height"] for item in page.locator("#minute dl > div").all()]
    assert len(ends) == 10
    assert sum(end <= size["height"] for end in ends) >= least
    assert ends[-1] <= 3 * size["height"], "all ten on three screens at most"


def test_pictures_have_words_and_text_has_contrast(visit, report) -> None:
    described = report[0].with_suffix(".md").read_text(encoding="utf-8").count("- *Picture: ")
    for scheme in ("light", "dark"):
        page = visit(scheme=scheme)
        pictures = page.locator("figure > svg")
        assert pictures.count() == described >= 19
        for picture in pictures.all():
            assert picture.get_attribute("role") == "img"
            assert picture.get_attribute("aria-label") == picture.locator("title").text_content() != ""
            assert len(picture.locator("desc").text_content()) > 40
        # WCAG 2: contrast of text with what it stands on, 4.5 to 1.
        assert page.evaluate(CONTRAST) == []


CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([red, green, blue]) =>
    0.2126 * linear(red / 255) + 0.7152 * linear(green / 255) + 0.0722 * linear(blue / 255);
  const ground = (element) => {
    const color = parse(getComputedStyle(element).backgroundColor);
    return color.length < 4 || color[3] > 0 ? color : ground(element.parentElement);
  };
  const dim = (element) => {
    const pair = [light(parse(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
    return (pair[0] + 0.05) / (pair[1] + 0.05) < 4.5;
  };
  const all = "p, dt, dd, th, td, a, summary, span, caption, figcaption, li, button, label, mark, code";
  return [...document.querySelectorAll(all)]
    .filter((element) => element.checkVisibility() && element.textContent.trim() && dim(element))
    .map((element) => element.outerHTML.slice(0, 80));
}"""


def test_page_and_markdown_have_the_same_tables(report) -> None:
    page = Page(report[0].read_text(encoding="utf-8"))
    assert page.tables == markdown_tables(report[0].with_name("report.md").read_text(encoding="utf-8"))
    assert report[0].stat().st_size < 5_000_000
    assert all(address.startswith("#") for address in page.addresses)


def test_every_link_leads_somewhere_and_headings_are_in_order(visit) -> None:
    page = visit()
    assert page.evaluate(
        "[...document.querySelectorAll('a[href]')].every(a => document.getElementById(a.hash.slice(1)))"
    )
    assert page.evaluate("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size") == page.evaluate(
        "document.querySelectorAll('[id]').length"
    )
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.locator("#minute dt").count() == 10


def test_it_can_be_printed(visit) -> None:
    page = visit()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert not page.locator("#filters").is_visible()
    assert page.locator("#mistakes > li:visible").count() == 25
    assert page.pdf(format="A4").startswith(b"%PDF")


# ---------------------------------------------------------------------------------------------------- the browser
def test_errors_are_filtered_by_kind_and_by_who(visit, report) -> None:
    page, found = visit(), report[1].mistakes
    assert found.total > SHOWN == len(found.shown)
    assert status(page)[:2] == [SHOWN, 25]
    assert str(found.total) in page.locator("#found").text_content()
    for kind in found.kinds:
        page.select_option("#kind", kind)
        expected = [f"e{one.number}" for one in found.shown if one.kind == kind]
        assert visible(page) == expected[:25]
        assert status(page)[:2] == [len(expected), min(25, len(expected))]
    page.select_option("#kind", "")
    page.select_option("#versus", "both")
    assert visible(page) == [f"e{one.number}" for one in found.shown if one.versus == "both"][:25]
    page.click("#clear")
    page.wait_for_function("document.querySelectorAll('#mistakes > li:not([hidden])').length === 25")
    assert visible(page) == [f"e{number}" for number in range(1, 26)]


def test_search_asks_for_no_accents_and_combines_with_filters(visit, report) -> None:
    page, found = visit(), report[1].mistakes
    word = "cuándo"
    page.fill("#search", "CUANDO")
    pieces = {one: " ".join([one.question, *(part.text for part in one.context)]).lower() for one in found.shown}
    holds = [one for one, text in pieces.items() if word in text or "cuando" in text]
    assert 0 < len(holds) < SHOWN
    assert visible(page) == [f"e{one.number}" for one in holds][:25]
    kind = holds[0].kind
    page.fill("#search", holds[0].id)
    page.select_option("#kind", kind)
    assert visible(page) == [f"e{holds[0].number}"]
    page.fill("#search", "nothing has this in it")
    assert visible(page) == []
    assert status(page)[0] == 0


def test_more_are_shown_and_the_keyboard_goes_on(visit) -> None:
    page = visit()
    page.focus("#more")
    page.keyboard.press("Enter")
    assert len(visible(page)) == 50
    assert page.evaluate("document.activeElement.closest('li').id") == "e26"
    page.keyboard.press("Enter")
    assert page.locator("#e26 .context").is_visible()
    page.click("#more")
    assert len(visible(page)) == SHOWN
    assert not page.locator("#more").is_visible()


def test_an_error_shows_the_answers_in_place(visit, report) -> None:
    page, facts = visit(), report[1]
    one = next(one for one in facts.mistakes.shown[:25] if all(text for _, text, _, _ in one.answers) and one.golds)
    item = page.locator(f"#e{one.number}")
    item.locator("summary").click()
    said = {label: text for label, text, _, _ in one.answers}
    for mark, text in (("model", said["student"]), ("reference", said["teacher"])):
        assert "".join(item.locator(f"mark.{mark}").all_text_contents()) == text
    shown = item.locator(".answers").text_content()
    assert all(text in shown for text in (*one.golds, *said.values()))


def test_a_link_to_an_error_beyond_the_first_opens_it(visit) -> None:
    page = visit(fragment=f"#e{SHOWN}")
    assert page.locator(f"#e{SHOWN} .context").is_visible()


def test_all_is_there_without_script(visit) -> None:
    page = visit(script=False)
    assert len(visible(page)) == SHOWN
    assert not page.locator("#filters").is_visible()
    assert not page.locator("#more").is_visible()


def test_nothing_of_the_data_runs_or_becomes_markup(visit, tmp_path) -> None:
    context = f"{HOSTILE} Pizarro fundó Lima."
    gold = Answer.at(context, start := context.index("Pizarro"), start + 7)
    examples = [
        Example(f"{HOSTILE}{n}", "<b>¿Quién?</b>", context, (gold,), title=HOSTILE, source=HOSTILE) for n in "ab"
    ]
    save(examples, tmp_path / "hostile.json")
    reader = onnx_reader(tmp_path / "<i>reader")
    run(
        ReportSettings(
            runs=[str(reader)],
            data=[str(tmp_path / "hostile.json")],
            output=str(tmp_path / "report"),
            title=HOSTILE,
            resamples=100,
        )
    )
    page = visit(path=tmp_path / "report" / "report.html")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img, iframe, h1 *, .question *").count() == 0
    assert page.locator("h1").text_content() == HOSTILE
    page.locator("#mistakes summary").first.click()
    assert page.locator("#mistakes .context").first.text_content() == context


def test_the_page_forbids_what_is_not_its_own(visit) -> None:
    page = visit(errors=["Content Security Policy"])
    page.evaluate(
        "document.body.insertAdjacentHTML('afterbegin', '<button id=x onclick=\"window.hacked=1\">x</button>')"
    )
    page.click("#x")
    assert page.evaluate("window.hacked") is None
