"""Every kind of bad request over real HTTP: what is refused, how, and what it says."""

import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destila.config import LimitSettings, QueueSettings, ServeSettings
from destila.core.records import Example
from destila.serving.schema import SAYS_SOMETHING
from serving import CONTEXT, JSON, KEY, QUESTION, ask, request, serving, until
from tiny import TEXTS


def test_what_the_document_calls_a_question_is_one_to_the_reader(port):
    document = json.dumps(request(port, path="/openapi.json")[2])
    assert json.dumps(SAYS_SOMETHING) in document
    blank = [chr(code) for code in range(0x110000) if chr(code).isspace()] + ["\ufeff"]
    assert not any(re.search(SAYS_SOMETHING, letter) for letter in blank)
    assert re.search(SAYS_SOMETHING, " ¿\x1f")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"[]", 422),
        (b"null", 422),
        (b'{"question": "a", "context": "\xff"}', 400),
        (b"[" * 20_000, 400),
        (b'{"question": "a"}', 422),
        (b'{"question": 1, "context": "b"}', 422),
        (b'{"question": NaN, "context": "b"}', 422),
        (b'{"question": " \\n", "context": "b"}', 422),
        (b'{"question": "\\u001c", "context": "b"}', 422),
        (b'{"question": "\\u001f\\u0085\\ufeff", "context": "b"}', 422),
        (b'{"question": "\\ud800", "context": "b"}', 422),
        (b'{"question": "a", "context": "b", "\\ud800": 1}', 422),
        (b'{"question": [], "context": "b"}', 422),
        (b'{"question": ["a", ["b"]], "context": "b"}', 422),
        (b'{"question": "a", "context": {"file": "/etc/passwd"}}', 422),
        (b'{"question": "a", "context": "b", "top_k": 0}', 422),
        (b'{"question": "a", "context": "b", "top_k": 21}', 422),
        (b'{"question": "a", "context": "b", "top_k": "1"}', 422),
        (b'{"question": "a", "context": "b", "model": "other"}', 422),
        (b'{"question": "a", "context": ""}', 422),
        (b'{"question": "a", "context": ["b", " \\n"]}', 422),
        (b'{"question": "a", "context": "b", "must_answer": "yes"}', 422),
        (b'{"question": "a", "context": "b", "no_answer_threshold": NaN}', 422),
        (b'{"question": "a", "context": "b", "no_answer_threshold": 1e999}', 422),
        (b'{"question": "a", "context": "b", "no_answer_threshold": true}', 422),
        (json.dumps({"question": "a" * 1001, "context": "b"}).encode(), 422),
        (json.dumps({"question": "a b " * 200, "context": CONTEXT}).encode(), 422),
        (json.dumps({"question": "a", "context": "b" * 9001}).encode(), 422),
        (json.dumps({"question": ["a"] * 65, "context": "b"}).encode(), 422),
        (json.dumps({"question": ["a"] * 9, "context": ["b"] * 8}).encode(), 422),
        (b" " * 50_001, 413),
        (b" " * 300_000, 413),
    ],
)
def test_bad_bodies_are_refused_and_say_why(port, body, status):
    found, headers, content = request(port, "POST", "/v1/answer", body, JSON)
    assert found == status
    assert headers["X-Request-ID"]
    assert set(content) == {"error"}
    assert set(content["error"]) == {"problem", "remedy"}
    assert all(isinstance(text, str) and text for text in content["error"].values())
    assert ask(port, QUESTION, CONTEXT)[0] == 200


ANY_TEXT = st.text(st.characters(codec=None), max_size=40)

JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)

TEXT_FIELD = ANY_TEXT | st.lists(ANY_TEXT, max_size=3) | JSON_VALUE

ALMOST_A_REQUEST = st.fixed_dictionaries(
    {"question": TEXT_FIELD, "context": TEXT_FIELD}, optional={"top_k": st.integers(-2, 30) | JSON_VALUE}
)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(ALMOST_A_REQUEST.map(json.dumps), JSON_VALUE.map(json.dumps)).map(str.encode) | st.binary(max_size=50),
    st.sampled_from([JSON, JSON, {}, {"Content-Type": "multipart/form-data"}]),
)
def test_no_body_is_a_fault_of_ours(port, body, headers):
    assert request(port, "POST", "/v1/answer", body, headers)[0] in (200, 400, 422)


def test_only_the_wrong_field_is_named(port):
    _, _, content = ask(port, ["a", 5], "b")
    assert content["error"]["problem"] == "body.question.1: Input should be a valid string"


def test_other_sites_cannot_ask_through_a_visitors_browser(port):
    body = json.dumps({"question": QUESTION, "context": CONTEXT}).encode()
    assert request(port, "POST", "/v1/answer", body, {"Content-Type": "text/plain"})[0] == 422
    status, headers, _ = request(port, "OPTIONS", "/v1/answer", headers={"Origin": "http://evil.example"})
    assert status == 405
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_sites_that_are_named_may_ask_and_no_others(reader):
    friend, settings = "https://friend.example", ServeSettings(cors_origins=["https://friend.example"])
    asked = {
        "Origin": friend,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    with serving(reader, settings, key=KEY) as port:
        status, headers, _ = request(port, "OPTIONS", "/v1/answer", headers=asked)  # browsers send no key with it
        assert (status, headers["Access-Control-Allow-Origin"]) == (200, friend)
        for key, expected in ((KEY, 200), ("wrong", 401)):
            found = ask(port, QUESTION, CONTEXT, headers={"Origin": friend, "Authorization": f"Bearer {key}"})
            assert (found[0], found[1]["Access-Control-Allow-Origin"]) == (expected, friend)
        status, headers, _ = request(port, "OPTIONS", "/v1/answer", headers=asked | {"Origin": "https://evil.example"})
        assert status == 400
        assert "Access-Control-Allow-Origin" not in headers
    with serving(reader, ServeSettings(cors_origins=["*"])) as port:
        assert ask(port, QUESTION, CONTEXT, headers={"Origin": friend})[1]["Access-Control-Allow-Origin"] == "*"


def test_too_many_windows_are_refused(reader):
    with serving(reader, ServeSettings(limits=LimitSettings(windows=5))) as port:
        status, _, content = ask(port, QUESTION, " ".join(TEXTS * 20))
        assert status == 422
        assert "5 are allowed" in content["error"]["problem"]
        assert ask(port, QUESTION, CONTEXT)[0] == 200


@pytest.mark.parametrize("full", ["requests", "windows"])
def test_a_full_queue_says_when_to_come_back(gated, full):
    context = " ".join(TEXTS)
    count = len(gated.builder.build([Example("one", QUESTION, context)]))
    assert count > 3
    queue = QueueSettings(requests=1) if full == "requests" else QueueSettings(windows=count, batch_tokens=1)
    with serving(gated, ServeSettings(queue=queue)) as port, ThreadPoolExecutor(1) as clients:
        first = clients.submit(ask, port, QUESTION, context)
        assert gated.model.entered.wait(10)
        status, headers, content = ask(port, QUESTION, context)
        assert status == 503
        assert 1 <= int(headers["Retry-After"]) <= 60
        assert "waits" in content["error"]["problem"]
        assert request(port, path="/ready")[0] == 200
        gated.model.go.set()
        assert first.result()[0] == 200
        assert ask(port, QUESTION, context)[0] == 200


def test_late_answers_are_given_up(gated):
    with serving(gated, ServeSettings(queue=QueueSettings(timeout=0.2))) as port:
        began = time.monotonic()
        status, _, content = ask(port, QUESTION, CONTEXT)
        assert status == 504
        assert 0.2 <= time.monotonic() - began < 2
        assert content["error"]["problem"] == "it took too long"
        gated.model.go.set()


def test_slow_bodies_are_given_up(reader):
    with serving(reader, ServeSettings(queue=QueueSettings(body_timeout=0.2))) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            head = (
                b"POST /v1/answer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{"
            )
            client.sendall(head)
            assert client.recv(100).startswith(b"HTTP/1.1 408")
        assert ask(port, QUESTION, CONTEXT)[0] == 200


def test_too_many_open_requests_are_refused_before_their_bodies(reader):
    with serving(reader, ServeSettings(queue=QueueSettings(connections=1))) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"POST /v1/answer HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{")
            until(lambda: ask(port, QUESTION, CONTEXT)[0] == 503)
            assert request(port, path="/health")[0] == 200
        until(lambda: ask(port, QUESTION, CONTEXT)[0] == 200)
