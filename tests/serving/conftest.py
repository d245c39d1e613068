"""Readers, servers and logs that tests of the server share; a test file may have its own."""

import logging

import pytest

from browsing import visiting
from destila.config import LimitSettings, ServeSettings
from destila.inference.reader import Reader
from destila.serving.middleware import JsonFormatter
from serving import Gated, serving
from tiny import tiny_reader


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    window = {"length": 64, "stride": 16, "max_answer_tokens": 10}
    metadata = {"window": window, "no_answer_threshold": -2.5}
    return Reader.load(tiny_reader(tmp_path_factory.mktemp("models") / "tiny-reader", seed=3, metadata=metadata))


@pytest.fixture
def visit(browser, address, request):
    """Opens the page at `address`, which a test file gives."""
    with visiting(browser, address, name=request.node.name) as open_page:
        yield open_page


@pytest.fixture
def gated(reader):
    """The same reader, with a model that waits."""
    return Reader(Gated(reader.model), reader.tokenizer, window=reader.window, pad_id=1, name="/secret/place/gated")


@pytest.fixture(scope="module")
def port(reader):
    with serving(reader, ServeSettings(limits=LimitSettings(body_bytes=50_000, context_characters=9_000))) as port:
        yield port


@pytest.fixture
def log():
    """The server's log lines, as written."""
    lines = []

    class Keep(logging.Handler):
        def emit(self, record):
            lines.append(self.format(record))

    handler, logger = Keep(), logging.getLogger("destila.serving")
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
