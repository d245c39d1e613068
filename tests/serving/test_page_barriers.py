"""The pages keep nobody out: axe finds nothing on them, in any of their states, sizes and colors."""

import pytest

from browsing import CHROMIUM, DESKTOP, HOSTILE, PHONE, TABLET, barriers, drop
from serving import page_reader, serving
from tiny import TEXTS

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

LOOKS = [(DESKTOP, "light"), (DESKTOP, "dark"), (TABLET, "dark"), (PHONE, "light")]
IDS = ["desktop", "desktop-dark", "tablet-dark", "phone"]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with serving(page_reader(tmp_path_factory.mktemp("models"))) as port:
        yield f"http://127.0.0.1:{port}/"


def test_axe_finds_what_is_wrong(visit):
    page = visit()
    page.evaluate("document.querySelector('#send').textContent = ''")
    assert [rule for rule, _ in barriers(page)] == ["button-name"]


@pytest.mark.parametrize(("size", "colors"), LOOKS, ids=IDS)
def test_the_page(visit, size, colors):
    page = visit(size=size)
    page.emulate_media(color_scheme=colors)
    assert barriers(page) == [], "at the start"
    page.click("#send")
    page.locator("#alert").wait_for()
    assert barriers(page) == [], "with a refusal"
    drop(page, [["uno.txt", " ".join(TEXTS)], ["dos.txt", HOSTILE]])
    playwright.expect(page.locator(".tab")).to_have_count(2)
    for question in ("¿Quién fundó Lima?", "¿Dónde?"):
        page.fill("#question", question)
        page.keyboard.press("Enter")
        playwright.expect(page.locator(".turn .asked").first).to_have_text(question)
    page.locator("#fade").check()
    page.click("[data-language=en]")
    assert page.locator(".faded").count()
    assert barriers(page) == [], "with answers"
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.parametrize("colors", ["light", "dark"])
def test_the_description_of_the_server(visit, address, colors):
    page = visit()
    page.goto(f"{address}docs")
    page.emulate_media(color_scheme=colors)
    page.locator("section").first.wait_for()
    assert barriers(page) == []
