"""The page without a server: what is written, what is refused, and that it answers in Chromium as Python's reader does.

onnxruntime-web is needed once, from npm or the cache (tests/export/test_web_runtime.py);
tests/export/test_web_reading.py needs neither.
"""

import functools
import http.server
import json
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

import destila
from browsing import PHONE, barriers, static_server, visiting
from destila.core.errors import UserError
from destila.core.model_files import ONNX_FILE, ONNX_WEIGHTS
from destila.inference.ranking import Piece, answers_from
from tiny import TEXTS, tiny_examples, tiny_tokenizer
from web_pages import make

pytest.importorskip("onnxscript")
onnx_library = pytest.importorskip("onnx")
ODD = "😀🇪🇸 👩‍👩‍👧 ñandú\n\n«¿Qué?» n\u0303 1.200 €\u2003 fin<s>"
NOWHERE = "https?://(?!localhost:8000/)"


# ---------------------------------------------------------------------------------------------- the folder
def test_the_folder_holds_what_the_page_needs_and_names_no_other_place(root, folder):
    names = {path.name for path in folder.iterdir()}
    settings = json.loads((folder / "destila.json").read_text(encoding="utf-8"))
    blobs = {blob["name"] for blob in settings["blobs"]}
    assert names == {*settings["pages"], *blobs, "offline.js"}
    assert blobs == {"model.bin", "tokenizer.bin", "onnxruntime.bin"}
    written = names - blobs - {"onnxruntime.js"}
    for name in written:
        text = (folder / name).read_text(encoding="utf-8")
        assert not re.search(NOWHERE, text.replace("http://www.w3.org/2000/svg", "")), name
        assert "somebody" not in text, "where the reader came from is nobody's business"
        assert str(root) not in text
    served = Path(destila.__file__).parent / "serving" / "page"
    for name in (
        "language.js",
        "texts.js",
        "files.js",
        "documents.js",
        "answers.js",
        "sharing.js",
        "page.js",
        "page.css",
    ):
        assert (folder / name).read_bytes() == (served / name).read_bytes()
    assert f'VERSION = "{settings["version"]}"' in (folder / "offline.js").read_text()


def test_an_onnx_export_gives_the_same_folder_byte_for_byte(folder, onnx, runtime, tmp_path):
    make(tmp_path / "again", model=str(onnx), runtime=str(runtime))
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name
    metadata = json.loads((onnx / "destila.json").read_text())
    (onnx / "destila.json").write_text(json.dumps(metadata | {"no_answer_threshold": 1.5}))
    try:
        make(tmp_path / "again", model=str(onnx), overwrite=True)
    finally:
        (onnx / "destila.json").write_text(json.dumps(metadata))
    versions = [json.loads((place / "destila.json").read_text())["version"] for place in (folder, tmp_path / "again")]
    assert versions[0] != versions[1], "browsers would keep the old page"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"precision": "fp32"}, "in int8, which the page would run, and not fp32"),
        ({"format": "onnx", "runtime": "x"}, "--runtime: is the page's"),
        ({"output": ""}, "--output: is required"),
    ],
)
def test_contradictions_are_refused(onnx, tmp_path, settings, problem):
    with pytest.raises(UserError, match=problem):
        make(**{"output": tmp_path / "out", "model": str(onnx)} | settings)
    assert list(tmp_path.iterdir()) == []


def test_int8_is_not_made_unmeasured(root, folder, tmp_path):
    with pytest.raises(UserError, match="--data: is required, to measure what int8 costs"):
        make(tmp_path / "out", model=str(root / "reader"))
    assert list(tmp_path.iterdir()) == []


def test_a_reader_whose_tokenizer_the_page_cannot_run_is_refused(onnx, tmp_path):
    shutil.copytree(onnx, tmp_path / "bert")
    tiny_tokenizer("bert").save(str(tmp_path / "bert" / "tokenizer.json"))
    with pytest.raises(UserError, match="WordPiece"):
        make(tmp_path / "out", model=str(tmp_path / "bert"))
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------------------------------- the page
@pytest.fixture(scope="module")
def address(root, folder):
    with static_server(root / "site") as address:
        yield f"{address}sub/page/"


@pytest.fixture
def visit(browser, address, request):
    with visiting(browser, address, name=f"web-{request.node.name}") as open_page:
        yield open_page


def answers(page, question, context, count=4):
    """What the page's reader says, without the page around it."""
    return page.evaluate(
        """([question, context, count]) => {
            const asked = { question, contexts: [context].flat(), count }, { signal } = new AbortController();
            return IN_THE_BROWSER.ask(asked, signal, showProgress).then(({ answers }) => answers);
        }""",
        [question, context, count],
    )


def agree(found, wanted):
    assert [(a["text"], a["start"], a["end"]) for a in found] == [(a.text, a.start, a.end) for a in wanted]
    np.testing.assert_allclose([a["score"] for a in found], [a.score for a in wanted], atol=1e-3)


def loaded(page):
    until(page, "IN_THE_BROWSER.loading")
    page.evaluate("IN_THE_BROWSER.loading.then(() => null)")


def until(page, condition):
    """Wait for something that must come true (Playwright's own way needs `eval`, which the page forbids)."""
    page.evaluate(f"async () => {{ while (!({condition})) await new Promise((resume) => setTimeout(resume, 5)); }}")


def ask(page, text, question):
    page.fill("#source", text)
    page.fill("#question", question)
    page.keyboard.press("Enter")
    page.locator(".turn").first.wait_for()


def words(page, selector):
    return page.locator(selector).all_text_contents()


def test_answers_equal_the_python_readers(visit, reader):
    page, whole = visit(), "\n".join(TEXTS)
    cases = [(example.question, context) for example in tiny_examples() for context in (example.context, whole)]
    cases += [("¿Qué?", context) for context in (ODD, "a", f"{ODD} {whole}" * 3)]
    said_nothing = 0
    for question, context in cases:
        wanted = reader.answers(question, context, top_k=4)
        said_nothing += wanted[0].text is None
        agree(answers(page, question, context), wanted)
    assert 0 < said_nothing < len(cases), "the list tells too little about the threshold"


def test_answers_of_several_texts_are_ranked_as_python_ranks_them(visit, reader):
    page, seen = visit(), set()
    for number, question in enumerate([example.question for example in tiny_examples()] + ["¿Qué?"]):
        texts = [*TEXTS[number % 3 :: 2], ODD, TEXTS[number % len(TEXTS)]]
        if number % 2:
            texts = [text for text in (*TEXTS, ODD, "a") if reader.answer(question, text).text is None] or texts
        wanted = answers_from(reader, question, [Piece(place, 0, text) for place, text in enumerate(texts)], top_k=4)
        found = answers(page, question, texts)
        agree(found, [answer for _, answer in wanted])
        assert [one["context"] for one in found] == [place for place, _ in wanted]
        seen |= {place for place, _ in wanted}
    assert {None, 0, 1} <= seen, "the list tells too little"


def test_it_is_asked_like_the_served_page_by_keyboard_on_a_phone(visit, reader):
    page, text = visit(size=PHONE), f"{ODD} {' '.join(TEXTS)} palabra{'larga' * 60}"
    page.locator("#source").focus()
    page.keyboard.insert_text(text)
    page.keyboard.press("Control+Enter")
    assert page.evaluate("document.activeElement.id") == "question"
    page.keyboard.insert_text("¿Quién fundó Lima?")
    page.keyboard.press("Enter")
    page.locator(".turn").wait_for()
    expected = reader.answers("¿Quién fundó Lima?", text, top_k=4)
    assert words(page, ".words") == [" ".join(answer.text.split()) for answer in expected if answer.text]
    assert sorted(words(page, "mark")) == sorted(answer.text for answer in expected if answer.text)
    assert page.locator("#view").text_content() == text
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert barriers(page) == []
    for button in page.locator("button:visible, .button:visible").all():
        assert button.bounding_box()["height"] >= 40
    assert page.locator("#progress").is_hidden()


def test_how_much_will_be_fetched_is_said_before_it_is(browser, address, folder):
    context = browser.new_context(locale="es-ES")
    page = context.new_page()
    waiting = []
    context.route("**/model.bin?*", lambda route: waiting.append(route))
    try:
        page.goto(address)
        until(page, "$('progress-name').textContent.includes('MB')")
        page.wait_for_timeout(200)
        said, blobs = page.locator("#progress-name").text_content(), json.loads((folder / "destila.json").read_text())
        size = sum(blob["bytes"] for blob in blobs["blobs"]) / 1e6
        assert said.startswith(f"Cargando el lector ({size:.1f} MB): ".replace(".", ","))
        (route,) = waiting
        route.continue_()
        loaded(page)
        assert page.locator("#progress").is_hidden()
    finally:
        context.close()


def test_it_works_without_a_network_after_the_first_visit(browser, root, folder, reader):
    question, text = "¿Dónde nació María?", TEXTS[3]
    with static_server(root / "site") as address:
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{address}sub/page/")
        loaded(page)
        page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    context.set_offline(True)  # and the server is gone
    try:
        page.reload()
        assert page.evaluate("navigator.serviceWorker.controller !== null")
        agree(answers(page, question, text), reader.answers(question, text, top_k=4))
        ask(page, text, question)
    finally:
        context.close()


def test_a_long_text_shows_how_far_it_is_read_and_can_be_abandoned(visit):
    page = visit()
    loaded(page)
    page.evaluate(
        """() => {
            window.seen = [];
            const bar = document.getElementById("progress-bar");
            const watcher = new MutationObserver(() => seen.push(bar.value));
            watcher.observe(document.getElementById("progress-name"), { childList: true });
        }"""
    )
    page.fill("#source", " ".join(TEXTS) * 150)  # long enough not to be read before it is abandoned
    page.fill("#question", "¿Quién?")
    page.keyboard.press("Enter")
    until(page, "seen.some((share) => share > 0.02)")
    assert "Leyendo el texto" in page.locator("#progress-name").text_content()
    page.fill("#source", TEXTS[0])
    assert page.locator("#progress").is_hidden()
    ask(page, TEXTS[0], "¿Quién?")
    shares = page.evaluate("seen")
    assert shares == sorted(shares)
    assert shares[-1] < 0.9, "the text was read to its end although nobody wanted it any more"


def test_missing_and_damaged_files_are_told(browser, folder, tmp_path):
    site = shutil.copytree(folder, tmp_path / "site")
    whole = (site / "model.bin").read_bytes()
    (site / "model.bin").unlink()
    with (
        static_server(site) as address,
        visiting(browser, address, name="web-damaged") as visit,
    ):
        page = visit(errors=("404",))
        page.locator("#alert").wait_for()
        assert "No se puede descargar model.bin" in page.locator("#alert").text_content()
        for content in (whole[:-1], whole[:-1] + b"?", whole + b"?"):
            (site / "model.bin").write_bytes(content)
            page.fill("#source", TEXTS[0])
            page.fill("#question", "¿Quién?")
            page.keyboard.press("Enter")
            until(page, "$('alert').textContent.startsWith('model.bin está incompleto')")


def test_weights_that_lie_in_a_file_of_their_own_come_along(browser, onnx, reader, tmp_path):
    directory = shutil.copytree(onnx, tmp_path / "large")
    options = {"save_as_external_data": True, "location": ONNX_WEIGHTS, "size_threshold": 200}
    onnx_library.save(onnx_library.load(onnx / ONNX_FILE), directory / ONNX_FILE, **options)
    assert (directory / ONNX_WEIGHTS).stat().st_size > 10_000
    make(tmp_path / "page", model=str(directory))
    with static_server(tmp_path / "page") as address, visiting(browser, address, name="web-weights") as visit:
        agree(answers(visit(), "¿Quién?", TEXTS[1]), reader.answers("¿Quién?", TEXTS[1], top_k=4))


class _Isolated(http.server.SimpleHTTPRequestHandler):
    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_):
        pass


def test_where_threads_are_allowed_the_answers_stay_the_same(browser, folder, reader):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Isolated, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        with visiting(browser, f"http://127.0.0.1:{server.server_port}/", name="web-threads") as visit:
            page = visit()
            assert page.evaluate("crossOriginIsolated")
            agree(answers(page, "¿Quién?", TEXTS[1]), reader.answers("¿Quién?", TEXTS[1], top_k=4))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("locale", "told"), [("es-ES", "python3 -m http.server"), ("en-GB", "opened as a file")])
def test_a_page_that_was_opened_as_a_file_says_what_to_do(browser, folder, locale, told):
    with visiting(browser, f"{folder.as_uri()}/", name=f"web-file-{locale}") as visit:
        page = visit(locale=locale)
        page.goto(f"{folder.as_uri()}/index.html")
        assert told in page.locator("#alert").text_content()
        page.fill("#source", TEXTS[0])
        page.fill("#question", "¿Quién?")
        page.keyboard.press("Enter")
        until(page, f"$('alert').textContent.includes('{told}')")
        es, en = page.evaluate("[TEXTS.es, TEXTS.en].map((texts) => Object.entries(texts))")
        assert [name for name, _ in es] == [name for name, _ in en]
        for (name, spanish), (_, english) in zip(es, en, strict=True):
            assert set(re.findall(r"\{\w+\}", spanish)) == set(re.findall(r"\{\w+\}", english)), name


def test_it_opens_text_files_and_says_that_others_need_a_server(visit, tmp_path):
    page = visit()
    assert not {".pdf", ".docx"} & set(page.locator("#file").get_attribute("accept").split(","))
    for name, content, text in (("a.md", "# Lima\r\n", "# Lima\n"), ("b.html", "<p>Es <b>Lima</b></p>", "Es Lima")):
        (tmp_path / name).write_text(content, newline="")
        page.set_input_files("#file", tmp_path / name)
        until(page, f"$('source').value === {json.dumps(text)}")
    (tmp_path / "c.pdf").write_bytes(b"%PDF-1.7")
    page.set_input_files("#file", tmp_path / "c.pdf")
    until(page, "$('alert').textContent.includes('c.pdf: sin servidor, esta página solo lee')")
