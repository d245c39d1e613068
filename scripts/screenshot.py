"""Take a picture of the page that `destila serve` shows.

    python scripts/screenshot.py docs/page.png [--model DIRECTORY]

The page is started as a user starts it, its own example is asked about, and its window is drawn as a PNG.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WINDOW = {"width": 1100, "height": 560}
SECONDS = 60


def main(target: str, *options: str) -> None:
    """Write the picture; `options` go to `destila serve`."""
    if CHROMIUM is None:
        sys.exit("There is no Chromium: apt-get install chromium")
    command = [sys.executable, "-m", "destila", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            if not address:
                sys.exit(f"The server did not start; try: {' '.join(command)}")
            draw(address, Path(target))
        finally:
            server.terminate()
    print(f"{target}: {Path(target).stat().st_size / 1000:.0f} kB")


def draw(address: str, target: Path) -> None:
    """Ask the page's example, and draw its window."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=WINDOW, locale="es-ES", color_scheme="light")
        page.set_default_timeout(SECONDS * 1000)
        page.goto(address)
        page.click("#example")
        page.keyboard.press("Enter")
        page.locator(".turn").wait_for()
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=target)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
