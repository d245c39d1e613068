"""Fixtures of several test files."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from browsing import CHROMIUM
from destila.core.errors import UserError
from destila.core.progress import on_stderr
from destila.export.web import runtime as web_runtime

settings.register_profile("destila", deadline=None)  # what an example takes is up to the machine
settings.load_profile("destila")

os.environ["DESTILA_LANG"] = "en"  # whatever the locale here: tests read what the command line says


@pytest.fixture(scope="module")  # no longer: its event loop would forbid others to tests of other files
def browser() -> Iterator[Any]:
    """A headless Chromium for which no other machine exists."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as driver:
        alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", alone])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def runtime() -> Path:
    """The directory of onnxruntime-web's files."""
    try:
        web_runtime.onnxruntime_web()
    except UserError as error:
        pytest.skip(f"onnxruntime-web cannot be had here: {error}")
    return web_runtime.cache_directory() / f"{web_runtime.PACKAGE}-{web_runtime.VERSION}"


@pytest.fixture
def messages_on_stderr() -> Iterator[None]:
    """What the library says goes to stderr, as on the command line."""
    with on_stderr():
        yield


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[None]:
    """Torch's threads as they were: a reader that a test gave more of them would change the sums of the next file."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and "OMP_NUM_THREADS" in os.environ:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
