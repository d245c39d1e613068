"""How soon the page without a server answers, in a Chromium of its own: medians of fresh profiles.

    destila export --format web --output FOLDER
    python benchmarks/web_page.py FOLDER [--rounds 5]

From the moment the address is opened until the answer to the first example is shown; then a second question about the
same text; and the same first answer on a second visit without a network. Files come from this machine, so the time of a
download is not in it: `bytes` says how much there is to download.
"""

import argparse
import functools
import http.server
import json
import shutil
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from destila.core.runs import environment

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and writes no log."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


# Times are taken by the page itself: who asks from outside whether something is shown does so every half second only.
WATCH = """
window.shown = {};
const note = () => {
  const sample = document.querySelector(".sample"), turns = document.querySelectorAll(".turn .answer").length;
  if (sample && !shown.clicked) { shown.clicked = performance.now(); sample.click(); }
  if (turns && !shown.first) shown.first = performance.now();
  if (turns > 1 && shown.asked) shown.second ??= performance.now();
};
new MutationObserver(note).observe(document, { childList: true, subtree: true, attributes: true });
"""
ASK = """() => {
  document.querySelector("#question").value = "¿Quién es la concejala de Comercio?";
  shown.asked = performance.now();
  document.querySelector("#form").requestSubmit();
}"""


def wait_for(page: Any, value: str) -> None:
    """Until the page has something; `wait_for_function` is forbidden by the page's policy."""
    end = time.monotonic() + 60
    while not page.evaluate(value):
        if time.monotonic() > end:
            sys.exit(f"{value} never came true")
        time.sleep(0.05)


def first_answer(page: Any, address: str) -> dict[str, float]:
    """Seconds from the opening of the address to the first answer, and to a second one from when it is asked."""
    page.add_init_script(WATCH)
    page.goto(address)
    wait_for(page, "shown.first")
    page.evaluate(ASK)
    wait_for(page, "shown.second")
    shown = page.evaluate("shown")
    return {"first_answer_s": shown["first"] / 1000, "second_answer_s": (shown["second"] - shown["asked"]) / 1000}


def measured(browser: Any, address: str) -> dict[str, float]:
    """One fresh profile: the first visit, and another without a network."""
    context = browser.new_context()
    page = context.new_page()
    found = first_answer(page, address)
    page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    context.set_offline(True)
    again = first_answer(context.new_page(), address)
    context.close()
    return {**found, "second_visit_s": again["first_answer_s"]}


def main() -> None:
    """Print medians and ranges as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("There is no Chromium: apt-get install chromium")
    handler = functools.partial(Quiet, directory=str(arguments.folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        rounds = [measured(browser, f"http://127.0.0.1:{server.server_port}/") for _ in range(arguments.rounds)]
        browser.close()
    server.shutdown()
    rows = {
        name: {"median": statistics.median(values), "range": [min(values), max(values)]}
        for name in rounds[0]
        for values in [[one[name] for one in rounds]]
    }
    size = sum(path.stat().st_size for path in arguments.folder.iterdir())
    print(json.dumps({"bytes": size, "rounds": arguments.rounds, **rows, "environment": environment()}))


if __name__ == "__main__":
    main()
