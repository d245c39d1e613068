"""Files over HTTP: their text comes back, hostile ones are refused with a code, and nobody's files crowd the server."""

import json
import threading
from urllib.parse import quote

import pytest

pytest.importorskip("docx", reason="the extra documents is not installed")
pytest.importorskip("pypdfium2", reason="the extra documents is not installed")

from destila.config import QueueSettings, ServeSettings, UploadSettings
from destila.inference.documents import parse_document
from destila.inference.documents import sandbox as sandbox_module
from destila.inference.reader import Reader
from papers import encrypted_pdf, pdf, word_paragraphs
from serving import ask, request, serving, until
from tiny import tiny_reader

BYTES = {"Content-Type": "application/octet-stream"}
KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    window = {"length": 64, "stride": 16, "max_answer_tokens": 10}
    return Reader.load(tiny_reader(tmp_path_factory.mktemp("models") / "tiny", seed=3, metadata={"window": window}))


@pytest.fixture(scope="module")
def port(reader):
    with serving(reader, ServeSettings(documents=UploadSettings(file_bytes=100_000, characters=5_000))) as port:
        yield port


def send(port, name, content, headers=None):
    return request(port, "POST", f"/v1/document?name={quote(name)}", content, BYTES | (headers or {}))


def test_a_file_becomes_a_text_that_can_be_asked(port):
    content = pdf(["La dirige Carmen Ledesma."], ["Año 1987."])
    status, _, body = send(port, "carpeta/año <b>.pdf", content)
    expected = parse_document("a.pdf", content)
    assert (status, body["text"], body["pages"]) == (200, expected.text, list(expected.pages))
    status, _, answered = ask(port, "¿Quién?", body["text"])
    (answer,) = answered["results"][0]["answers"]
    assert (status, answer["text"]) == (200, expected.text[answer["start"] : answer["end"]])
    assert send(port, "a.docx", word_paragraphs("Uno", "dos"))[2]["text"] == "Uno\n\ndos"
    assert send(port, "a.html", b"<p>Uno<script>dos</script>")[2]["text"] == "Uno"
    assert send(port, "a.txt", b"a\xf1o")[2]["note"] == "is not UTF-8 and was read as Windows-1252"
    assert send(port, "a.md", "# año".encode())[2] | {"milliseconds": 0} == {
        "text": "# año",
        "pages": [],
        "milliseconds": 0,
    }


@pytest.mark.parametrize(
    ("name", "content", "expected", "code"),
    [
        ("a.odt", b"x", 415, "kind"),
        ("a.pdf", b"x", 415, "kind"),
        ("../../etc/passwd", b"x", 415, "kind"),
        ("a.pdf", encrypted_pdf(), 422, "encrypted"),
        ("a.pdf", b"%PDF-1.7 x", 422, "broken"),
        ("a.pdf", pdf([]), 422, "no_text"),
        ("a.txt", b"\xff\x81", 422, "encoding"),
        ("a.txt", b"\xff\xd8\xff\0", 415, "kind"),
        ("a.txt", b"x" * 5_001, 422, "too_large"),
        ("a.txt", b"x" * 100_001, 413, None),
        ("a" * 300 + ".txt", b"x", 422, None),
        ("", b"x", 422, None),
    ],
)
def test_what_is_no_document_is_refused_with_a_code(port, name, content, expected, code):
    status, _, body = send(port, name, content)
    assert (status, body["error"].get("code")) == (expected, code)
    assert body["error"]["problem"]
    assert body["error"]["remedy"]


def test_only_bytes_are_taken_which_no_other_site_can_send_unasked(port):
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""):
        headers = {"Content-Type": kind} if kind else {}
        assert request(port, "POST", "/v1/document?name=a.txt", b"x", headers)[0] == 415


@pytest.mark.parametrize("path", ["/v1/document", "/v1/document?name=a.txt"])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
def test_a_form_is_told_how_to_send_a_file(port, path, kind):
    status, _, content = request(port, "POST", path, b"--x\r\n", {"Content-Type": kind})
    assert (status, content["error"]["problem"]) == (415, "the body is a form")
    assert "--data-binary @FILE" in content["error"]["remedy"]
    assert "name=FILE" in content["error"]["remedy"]


def test_a_name_that_is_missing_is_asked_for(port):
    status, _, content = request(port, "POST", "/v1/document", b"x", {"Content-Type": "application/octet-stream"})
    assert (status, content["error"]["problem"]) == (422, "query.name: Field required")
    assert "name=FILE" in content["error"]["remedy"]


def test_the_missing_extra_is_told(port, monkeypatch):
    hidden = "import sys; sys.modules['pypdfium2'] = None; "
    monkeypatch.setattr(sandbox_module, "CHILD", hidden + sandbox_module.CHILD)
    status, _, body = send(port, "a.pdf", pdf(["x"]))
    assert (status, body["error"]["code"]) == (501, "missing")
    assert body["error"]["remedy"] == "pip install 'destila[documents]'"


def test_the_description_tells_the_limit(port):
    route = request(port, path="/openapi.json")[2]["paths"]["/v1/document"]["post"]
    assert route["requestBody"]["content"]["application/octet-stream"]["schema"]["maxLength"] == 100_000
    assert {"415", "422", "501", "413"} <= set(route["responses"])


def test_the_key_is_needed(reader):
    with serving(reader, key=KEY) as port:
        assert send(port, "a.txt", b"x")[0] == 401
        assert send(port, "a.txt", b"x", {"Authorization": f"Bearer {KEY}"})[0] == 200


def test_too_many_files_and_too_slow_ones_are_refused_and_questions_go_on(reader, monkeypatch):
    settings = ServeSettings(documents=UploadSettings(at_once=1, open=2), queue=QueueSettings(timeout=2.0))
    monkeypatch.setattr(sandbox_module, "CHILD", "import time; time.sleep(4)")
    with serving(reader, settings) as port:
        answers = []
        senders = [threading.Thread(target=lambda: answers.append(send(port, "a.pdf", pdf(["x"])))) for _ in range(2)]
        for sender in senders:
            sender.start()
        until(lambda: b"destila_open_requests 3.0" in request(port, path="/metrics")[2])
        status, headers, _ = send(port, "a.pdf", pdf(["x"]))
        assert (status, headers["Retry-After"]) == (503, "2")
        assert ask(port, "¿Qué?", "Un texto.")[0] == 200
        for sender in senders:
            sender.join()
        assert [status for status, _, _ in answers] == [504, 504]
        assert json.dumps(answers[0][2]).isascii()


def test_nothing_of_a_file_is_logged(reader, caplog):
    caplog.set_level("INFO")
    with serving(reader) as port:
        send(port, "secreto.txt", b"muy secreto")
        send(port, "secreto.pdf", b"%PDF-muy secreto")
    lines = [record.getMessage() + str(getattr(record, "fields", "")) for record in caplog.records]
    assert any("/v1/document" in line for line in lines)
    assert not any("secreto" in line for line in lines)
