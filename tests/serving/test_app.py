"""The server over real HTTP: right answers under load, every kind of bad request, clients that leave, secrets."""

import http.client
import json
import logging
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destila.config import LimitSettings, QueueSettings, ServeSettings
from destila.core.records import Example
from destila.inference.reader import Reader
from destila.serving.middleware import JsonFormatter
from destila.serving.schema import SAYS_SOMETHING
from serving import JSON, ask, request, serving, until
from tiny import TEXTS, tiny_reader

QUESTION, CONTEXT = "¿Quién fundó Lima?", TEXTS[0]
SHORT = "Pizarro fundó Lima."  # one window
KEY = "0123456789abcdef0123456789abcdef"


class Gated:
    """A model that waits for `go`, and fails if told so."""

    def __init__(self, model):
        self.model, self.go, self.fail = model, threading.Event(), False
        self.entered = threading.Event()
        self.runs = 0

    def logits(self, input_ids, attention_mask):
        self.entered.set()
        assert self.go.wait(5)
        self.runs += 1
        if self.fail:
            raise MemoryError(f"secret {CONTEXT}")
        return self.model.logits(input_ids, attention_mask)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    window = {"length": 64, "stride": 16, "max_answer_tokens": 10}
    metadata = {"window": window, "no_answer_threshold": -2.5}
    return Reader.load(tiny_reader(tmp_path_factory.mktemp("models") / "tiny-reader", seed=3, metadata=metadata))


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


def assert_same(results, reader, questions, contexts, top_k):
    assert [(r["question"], r["context"]) for r in results] == [
        (q, c) for q in range(len(questions)) for c in range(len(contexts))
    ]
    for result in results:
        context = contexts[result["context"]]
        expected = reader.answers(questions[result["question"]], context, top_k=top_k)
        spans = [(answer["text"], answer["start"], answer["end"]) for answer in result["answers"]]
        assert spans == [(answer.text, answer.start, answer.end) for answer in expected]
        scores = [answer["score"] for answer in result["answers"]]
        assert scores == pytest.approx([answer.score for answer in expected], rel=1e-3, abs=1e-6)


# ------------------------------------------------------------------------------------------ answers
def test_answers_are_the_readers(port, reader):
    status, headers, content = ask(port, QUESTION, CONTEXT, top_k=3)
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert list(content) == ["results", "model", "milliseconds"]
    assert content["model"] == "tiny-reader"
    assert_same(content["results"], reader, [QUESTION], [CONTEXT], 3)
    (prediction,) = reader.predict([Example("one", QUESTION, CONTEXT)]).values()
    assert content["results"][0]["no_answer_score"] == pytest.approx(prediction.no_answer_score, abs=1e-3)


def test_many_questions_over_many_contexts(port, reader):
    questions, contexts = (
        [QUESTION, "¿Dónde?", "¿Cuándo nació 😀 María?"],
        [" ".join(TEXTS), "\u200b", "😀 " + TEXTS[3]],
    )
    status, _, content = ask(port, questions, contexts, top_k=2)
    assert status == 200
    assert_same(content["results"], reader, questions, contexts, 2)


def test_a_request_may_insist_on_an_answer_or_bring_a_threshold(port, reader):
    best = reader.answer(QUESTION, CONTEXT, must_answer=True)

    def said(**fields):
        status, _, content = ask(port, QUESTION, CONTEXT, **fields)
        assert status == 200
        result = content["results"][0]
        return result["answers"][0]["text"], result["guess"] and result["guess"]["text"]

    assert said(no_answer_threshold=-1000.0) == (None, best.text)
    assert said(no_answer_threshold=-1000) == (None, best.text)
    assert said(no_answer_threshold=1000.0) == said(must_answer=True) == (best.text, None)
    assert said(no_answer_threshold=None, must_answer=False) == said()
    status, _, content = ask(port, QUESTION, CONTEXT, must_answer=True, no_answer_threshold=1.0)
    assert (status, content["error"]["remedy"]) == (422, "Give one of the two.")


def lines_of(port, context, headers=None):
    """The response to who takes lines: status, type, and what each line says."""
    body = json.dumps({"question": QUESTION, "context": context}).encode()
    accept = JSON | {"Accept": "application/x-ndjson"} | (headers or {})
    status, found, content = request(port, "POST", "/v1/answer", body, accept)
    if isinstance(content, bytes):
        content = [json.loads(line) for line in content.splitlines()]
    return status, found.get_content_type(), content


def test_a_long_text_tells_how_far_it_is_read(gated, log):
    text = " ".join(TEXTS * 8)
    gated.model.go.set()
    run = gated.model.logits
    gated.model.logits = lambda *arrays: time.sleep(0.1) or run(*arrays)
    queue = QueueSettings(batch_tokens=1)  # window by window
    with serving(gated, ServeSettings(queue=queue, limits=LimitSettings(context_characters=200_000))) as port:
        status, kind, lines = lines_of(port, text)
        assert (status, kind) == (200, "application/x-ndjson")
        *progress, last = lines
        shares = [line["progress"] for line in progress]
        assert len(shares) > 3
        assert shares == sorted(shares)
        assert 0 < shares[-1] <= 1
        assert last["results"][0]["answers"][0]["text"] == gated.answer(QUESTION, text).text
        assert ask(port, QUESTION, text)[2]["results"] == last["results"]  # who takes no lines gets none
        assert lines_of(port, SHORT)[1] == "application/json"  # nor does who has not long to wait
        assert lines_of(port, "")[0] == 422
        gated.model.fail = True
        assert lines_of(port, SHORT)[0] == 500


def test_what_fails_after_the_first_line_is_told_in_the_last(gated, log):
    with serving(gated, ServeSettings(queue=QueueSettings(timeout=1.0))) as port:
        status, kind, lines = lines_of(port, SHORT)
        assert (status, kind) == (200, "application/x-ndjson")
        assert lines[-1] == {
            "error": {"problem": "it took too long", "remedy": "Ask fewer questions at once, or about shorter texts."},
            "status": 504,
        }
        threading.Timer(0.8, lambda: (setattr(gated.model, "fail", True), gated.model.go.set())).start()
        *_, last = lines_of(port, SHORT)[2]
        assert (last["status"], last["error"]["problem"]) == (500, "the server failed")
    failures = [json.loads(line) for line in log if '"failure"' in line]
    assert [failure["error"].split()[0] for failure in failures] == ["MemoryError"]
    assert [json.loads(line).get("refused") for line in log if '"event": "request"' in line] == [504, 500]


def test_who_leaves_a_long_text_stops_its_reading(gated):
    text = " ".join(TEXTS * 8)
    with serving(gated, ServeSettings(queue=QueueSettings(batch_tokens=1))) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        body = json.dumps({"question": QUESTION, "context": text})
        connection.request("POST", "/v1/answer", body, JSON | {"Accept": "application/x-ndjson"})
        assert json.loads(connection.getresponse().readline()) == {"progress": 0.0}
        connection.close()
        until(lambda: b"destila_open_requests 1.0" in request(port, path="/metrics")[2])
        gated.model.go.set()
        until(lambda: b"destila_waiting_windows 0.0" in request(port, path="/metrics")[2])
        assert ask(port, QUESTION, SHORT)[0] == 200
        assert gated.model.runs < 5


def test_concurrent_clients_get_their_own_answers(reader):
    random = Random(5)
    pairs = [(f"¿Qué {n}?", " ".join(random.choices(TEXTS, k=random.choice([1, 1, 2, 6])))) for n in range(120)]
    with serving(reader) as port, ThreadPoolExecutor(24) as clients:
        found = list(clients.map(lambda pair: ask(port, *pair, top_k=2), pairs))
        metrics = request(port, path="/metrics")[2].decode()
    for (question, context), (status, _, content) in zip(pairs, found, strict=True):
        assert status == 200
        assert_same(content["results"], reader, [question], [context], 2)
    numbers = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert float(numbers['destila_requests_total{path="/v1/answer",status="200"}']) == len(pairs)
    assert float(numbers["destila_questions_total"]) == len(pairs)
    assert float(numbers["destila_waiting_windows"]) == 0
    assert float(numbers["destila_batch_windows_sum"]) > float(numbers["destila_batch_windows_count"])


def test_requests_that_arrive_together_run_together(gated):
    with serving(gated) as port, ThreadPoolExecutor(9) as clients:
        first = clients.submit(ask, port, QUESTION, SHORT)
        assert gated.model.entered.wait(10)
        others = [clients.submit(ask, port, QUESTION, SHORT) for _ in range(8)]
        until(lambda: b"destila_waiting_windows 8.0" in request(port, path="/metrics")[2])
        gated.model.go.set()
        assert {future.result()[0] for future in [first, *others]} == {200}
    assert gated.model.runs == 2


# ------------------------------------------------------------------------------------------ refusals
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


# ------------------------------------------------------------------------------------------ clients that leave
def test_a_client_that_leaves_gives_its_place_back(gated, log):
    with serving(gated, ServeSettings(queue=QueueSettings(requests=1))) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/v1/answer", json.dumps({"question": QUESTION, "context": CONTEXT}), JSON)
        assert gated.model.entered.wait(10)
        connection.close()
        until(lambda: any(json.loads(line).get("status") == 499 for line in log))
        gated.model.go.set()
        assert ask(port, QUESTION, CONTEXT)[0] == 200
        with socket.create_connection(("127.0.0.1", port)) as client:  # leaves in the middle of its body
            client.sendall(b"POST /v1/answer HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{")
        until(lambda: sum(json.loads(line).get("status") == 499 for line in log) == 2)
        assert b"destila_open_requests 1.0" in request(port, path="/metrics")[2]  # this one itself


# ------------------------------------------------------------------------------------------ failures of ours
def test_a_failing_model_is_a_500_that_tells_nothing(gated, log):
    gated.model.go.set()
    gated.model.fail = True
    with serving(gated) as port:
        status, headers, content = ask(port, QUESTION, CONTEXT)
        assert status == 500
        assert content["error"] == {"problem": "the server failed", "remedy": "Tell its operator the request id."}
        until(lambda: any('"failure"' in line for line in log))
        (failure,) = [json.loads(line) for line in log if '"failure"' in line]
        assert failure["request_id"] == headers["X-Request-ID"]
        assert failure["error"].startswith("MemoryError > ")
        assert "logits:" in failure["error"]
        gated.model.fail = False
        status, _, content = ask(port, QUESTION, CONTEXT)
        assert (status, content["model"]) == (200, "gated")
    assert not any("secret" in line or "Lima" in line for line in log)


# ------------------------------------------------------------------------------------------ secrets
def test_the_log_holds_no_text_unless_asked(reader, log):
    with serving(reader) as port:
        ask(port, "¿Mi secreto uno?", "texto privado")
        request(port, path="/privado?clave=privado")
        request(port, "POST", "/v1/answer", b'{"question": "privado"', JSON | {"X-Request-ID": "privado privado"})
        metrics = request(port, path="/metrics")[2].decode()
    assert len(log) == 4
    assert not any(word in line for line in [*log, metrics] for word in ("secreto", "privado"))
    line = json.loads(log[0])
    assert {"time", "level", "event", "request_id", "milliseconds", "questions", "contexts"} <= set(line)
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/answer", 200)
    with serving(reader, ServeSettings(log_text=True)) as port:
        ask(port, "¿Mi secreto uno?", "texto privado")
    assert json.loads(log[-1])["question"] == ["¿Mi secreto uno?"]
    assert "privado" not in log[-1]


def test_request_ids_are_kept_if_harmless(port):
    for sent, kept in [("abc-1.2_3", True), ("a" * 65, False), ("a b", False), ("é", False)]:
        found = ask(port, QUESTION, CONTEXT, headers={"X-Request-ID": sent})[1]["X-Request-ID"]
        assert (found == sent) is kept
        assert len(found) == 32 or kept


@pytest.mark.parametrize(
    "given",
    ["", KEY, f"Basic {KEY}", "Bearer", "Bearer ", f"Bearer {KEY[:-1]}", f"Bearer {KEY}x", f"Bearer {KEY.upper()}"],
)
def test_without_the_key_nothing_is_answered(reader, given):
    with serving(reader, key=KEY) as port:
        for method, path in [("POST", "/v1/answer"), ("GET", "/metrics"), ("GET", "/v1/nothing")]:
            status, headers, _ = request(port, method, path, b"{}", JSON | {"Authorization": given})
            assert status == 401
            assert headers["WWW-Authenticate"] == "Bearer"
        for path in ("/", "/health", "/ready"):
            assert request(port, path=path)[0] == 200
        assert ask(port, QUESTION, CONTEXT, headers={"Authorization": f"Bearer {KEY}"})[0] == 200


def test_every_response_is_dressed_safely(port):
    for path in ("/", "/files.js", "/page.js", "/ask.js", "/nothing", "/../../etc/passwd", "/health"):
        status, headers, _ = request(port, path=path)
        assert status == (404 if path in ("/nothing", "/../../etc/passwd") else 200)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in headers


# ------------------------------------------------------------------------------------------ the rest
def test_openapi_tells_the_limits_and_every_refusal(port):
    status, _, document = request(port, path="/openapi.json")
    assert status == 200
    answer = document["paths"]["/v1/answer"]["post"]
    assert {"200", "400", "401", "408", "413", "422", "503", "504"} == set(answer["responses"])
    fields = document["components"]["schemas"]["AnswerRequest"]
    assert fields["required"] == ["question", "context"]
    one, many = fields["properties"]["context"]["oneOf"]
    assert (one["maxLength"], many["maxItems"], many["items"]["maxLength"]) == (9_000, 64, 9_000)
    assert fields["properties"]["top_k"]["maximum"] == 20
    for path in ("/docs", "/docs.js", "/docs.css"):  # the readable form of it asks no other address for anything
        status, headers, content = request(port, path=path)
        assert status == 200
        assert b"://" not in content
        assert "unsafe" not in headers["Content-Security-Policy"]


def test_head_tells_what_get_would_say_first(port):
    for path in ("/", "/page.js", "/docs", "/health", "/ready", "/metrics", "/openapi.json", "/nothing", "/v1/answer"):
        status, headers, _ = request(port, path=path)
        found, same, content = request(port, "HEAD", path)
        assert (found, content) == (status, b"")
        assert same["Content-Type"] == headers["Content-Type"]
        if path != "/metrics":
            assert same["Content-Length"] == headers["Content-Length"]


def test_settings_go_through_as_they_are() -> None:
    settings = replace(ServeSettings(), limits=LimitSettings(pairs=3))
    assert asdict(settings)["limits"]["pairs"] == 3
    assert settings.host == "127.0.0.1"
