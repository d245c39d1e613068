"""The scripts of the page without a server, in Node.js."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import destila.export.web
from destila.export.web.tables import characters, reading_tables
from javascript import NODE, Modules, modules

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
