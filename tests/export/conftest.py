"""The page without a server, and its scripts in Node.js."""

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import destila.export.web
from destila.export.web.tables import characters, reading_tables
from destila.inference.reader import Reader
from javascript import NODE, Modules, modules
from tiny import tiny_reader
from web_pages import METADATA, make

PAGE = Path(destila.export.web.__file__).parent / "page"
SETTING = """([ranges, tables]) => {
    window.known = new Characters(ranges);
    window.reading = readingOf(tables, known);
    window.tokenize = (text) => tokenized(text, { tokenizer: subject, characters: known, reading });
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modules]:
    """The page's modules, with what the export tells them of characters as `known` and `reading`."""
    if NODE is None:
        pytest.skip("there is no Node.js")
    copy = tmp_path_factory.mktemp("page") / "modules"
    with modules(PAGE, ["tokenizer", "windows", "spans"], copy=copy) as page:
        page.evaluate(SETTING, [characters(), reading_tables()])
        yield page


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Served as a whole; the page lies under a path."""
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def folder(root, runtime):
    """A page made from a reader with weights for torch, in int8."""
    tiny_reader(root / "reader", metadata=METADATA)
    found = make(root / "site" / "sub" / "page", model=str(root / "reader"), skip_accuracy=True)
    assert found.precision == "int8"
    return root / "site" / "sub" / "page"


@pytest.fixture(scope="module")
def onnx(root, folder):
    """The same reader as `destila export --format onnx` would write it."""
    directory = root / "onnx"
    directory.mkdir()
    (directory / "model.onnx").write_bytes(gzip.decompress((folder / "model.bin").read_bytes()))
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(root / "reader" / name, directory)
    (directory / "destila.json").write_text(json.dumps({**METADATA, "format": "onnx", "precision": "int8"}))
    return directory


@pytest.fixture(scope="module")
def reader(onnx):
    """Browsers multiply int8 exactly, and so must this, on every processor."""
    return Reader.load(onnx)
