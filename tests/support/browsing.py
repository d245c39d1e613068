"""A headless Chromium, and what every visit to a page must fulfil: what the tests of pages share."""

import contextlib
import functools
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCREENSHOTS = os.environ.get("DESTILA_SCREENSHOTS")  # a directory, to look at what the tests saw
DESKTOP, TABLET, PHONE = {"width": 1280, "height": 800}, {"width": 820, "height": 1180}, {"width": 390, "height": 844}
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script></mark> & "Lima" \u202e fin'


@contextlib.contextmanager
def visiting(browser: Any, address: str, *, name: str) -> Iterator[Callable[..., Any]]:
    """Gives a function that opens a page; afterwards nothing foreign was asked for and nothing went wrong in it."""
    contexts, complaints, asked, expected_errors = [], [], [], []
    unsent = ("data:", "blob:")

    def open_page(
        *, size: Any = DESKTOP, locale: str = "es-ES", address: str = address, errors: tuple[str, ...] = ()
    ) -> Any:
        expected_errors.extend(errors)
        context = browser.new_context(viewport=size, locale=locale, reduced_motion="reduce")
        contexts.append(context)
        # Of the context and not of the page: workers ask, too.
        context.on("request", lambda seen: asked.append((seen.url, address)))
        page = context.new_page()
        page.set_default_timeout(60_000)  # on a busy machine the run time alone takes long to compile
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(address)
        return page

    yield open_page
    for number, context in enumerate(contexts):
        for page in context.pages[:1] if SCREENSHOTS else []:  # none is left where a test closed its tab
            page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{number}.png", full_page=True)
        context.close()
    assert [text for text in complaints if not any(known in text for known in expected_errors)] == []
    assert asked
    assert [url for url, home in asked if not url.startswith((home, *unsent))] == []


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def static_server(directory: Path) -> Iterator[str]:
    """Serve a directory as any static server would; gives its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def barriers(page):
    """What axe finds on a page that keeps people out: the name of each rule that is broken, and where."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    broken = axe.Axe().run(page).response["violations"]
    return [(rule["id"], node["html"]) for rule in broken for node in rule["nodes"]]


def put(page, text, question):
    page.fill("#source", text)
    page.fill("#question", question)


def ask(page, text, question):
    put(page, text, question)
    page.keyboard.press("Enter")
    page.locator(".turn").first.wait_for()


def words(page, selector):
    return page.locator(selector).all_text_contents()


def drop(page, files):
    """Drop files with a text each, all at once."""
    page.evaluate(
        """files => {
            const carried = new DataTransfer();
            for (const [name, text] of files) carried.items.add(new File([text], name, { type: "text/plain" }));
            const options = { dataTransfer: carried, bubbles: true, cancelable: true };
            for (const type of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(type, options));
        }""",
        files,
    )
