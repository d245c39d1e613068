"""The server over real HTTP: right answers under load, clients that leave, failures, secrets."""

import copy
import http.client
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from random import Random

import pytest

from destila.config import LimitSettings, QueueSettings, ServeSettings
from destila.core.calibration import Calibration
from destila.core.records import Example
from destila.inference.ranking import Piece, answers_from
from serving import CONTEXT, JSON, KEY, QUESTION, SHORT, ask, assert_same, request, serving, until
from tiny import TEXTS


# ------------------------------------------------------------------------------------------ answers
def test_answers_are_the_readers(port, reader):
    status, headers, content = ask(port, QUESTION, CONTEXT, top_k=3)
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert list(content) == ["results", "ranked", "model", "milliseconds"]
    assert (content["model"], content["ranked"]) == ("tiny-reader", None)
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
    pieces = [Piece(number, 0, context) for number, context in enumerate(contexts)]
    for question, ranked in zip(questions, content["ranked"], strict=True):
        expected = answers_from(reader, question, pieces, top_k=2)
        assert [(one["context"], one["text"], one["start"]) for one in ranked] == [
            (context, answer.text, answer.start) for context, answer in expected
        ]
        assert [one["score"] for one in ranked] == pytest.approx([one.score for _, one in expected], rel=1e-3)


def test_answers_of_several_texts_are_not_ranked_where_a_share_of_errors_is_promised(reader):
    bound = copy.copy(reader)
    bound.calibration, bound.least_probability = Calibration(bias=1, margin=0.0, share=0.0), 0.2
    with serving(bound) as port:
        assert ask(port, QUESTION, TEXTS[:2])[2]["ranked"] is None
        assert len(ask(port, QUESTION, TEXTS[:2], must_answer=True)[2]["ranked"]) == 1


def test_who_asks_is_told_which_sentences_the_answer_needs(port, reader):
    contexts = [" ".join(TEXTS), TEXTS[1]]
    assert [result["sentences"] for result in ask(port, QUESTION, contexts)[2]["results"]] == [None, None]
    status, _, content = ask(port, QUESTION, contexts, highlight=True)
    assert status == 200
    for result, context in zip(content["results"], contexts, strict=True):
        expected = reader.highlight(QUESTION, context).sentences
        assert [(one["start"], one["end"]) for one in result["sentences"]] == [(one.start, one.end) for one in expected]
        scores = [one["score"] for one in result["sentences"]]
        assert scores == pytest.approx([one.score for one in expected], rel=1e-3)


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
        gated.model.logits = run
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
        for method, path in [("POST", "/v1/answer"), ("GET", "/metrics"), ("GET", "/info"), ("GET", "/v1/nothing")]:
            status, headers, _ = request(port, method, path, b"{}", JSON | {"Authorization": given})
            assert status == 401
            assert headers["WWW-Authenticate"] == "Bearer"
        for path in ("/", "/health", "/ready"):
            assert request(port, path=path)[0] == 200
        assert ask(port, QUESTION, CONTEXT, headers={"Authorization": f"Bearer {KEY}"})[0] == 200


def test_every_response_is_dressed_safely(port):
    for path in (
        "/",
        "/texts.js",
        "/files.js",
        "/answers.js",
        "/page.js",
        "/ask.js",
        "/nothing",
        "/../../etc/passwd",
        "/health",
    ):
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


def test_info_says_what_answers_and_within_which_limits(reader):
    settings = ServeSettings(threads=1, limits=LimitSettings(pairs=7), queue=QueueSettings(batch_tokens=123))
    with serving(reader, settings, key=KEY) as port:
        assert request(port, path="/info")[0] == 401
        status, _, info = request(port, path="/info", headers={"Authorization": f"Bearer {KEY}"})
    assert status == 200
    assert info["model"] == "tiny-reader"
    assert info["window"] == asdict(reader.window)
    assert info["no_answer_threshold"] == reader.no_answer_threshold
    assert info["threads"] == 1
    assert info["promises"] is None, "it is not calibrated"
    assert (info["limits"], info["queue"]) == (asdict(settings.limits), asdict(settings.queue))


def test_the_trace_of_a_client_goes_with_its_answer_and_into_the_log(reader, log):
    good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    bad = [good.replace("4bf9", "4BF9"), "00-" + "0" * 32 + "-00f067aa0ba902b7-01", good[:-1], f"{good} secreto", ""]
    with serving(reader) as port:
        for sent in [good, *bad]:
            found = ask(port, QUESTION, CONTEXT, headers={"traceparent": sent})[1]["traceparent"]
            assert found == (good if sent == good else None)
    assert [json.loads(line).get("trace_id") for line in log] == [good.split("-")[1]] + [None] * len(bad)


def test_the_stages_of_requests_add_up(gated):
    gated.model.go.set()
    run = gated.model.logits
    gated.model.logits = lambda *arrays: time.sleep(0.2) or run(*arrays)
    with serving(gated) as port:
        began = time.perf_counter()
        for _ in range(3):
            assert ask(port, QUESTION, SHORT)[0] == 200
        whole = time.perf_counter() - began
        metrics = request(port, path="/metrics")[2].decode()
    stages = dict(re.findall(r'destila_stage_seconds_sum\{stage="(\w+)"\} (\S+)', metrics))
    assert set(stages) == {"tokenize", "queue", "model", "decode"}
    assert set(re.findall(r"destila_stage_seconds_count\{.*\} (\S+)", metrics)) == {"3.0"}
    seconds = {stage: float(value) for stage, value in stages.items()}
    assert 0.6 <= seconds["model"] < sum(seconds.values()) <= whole


def test_head_tells_what_get_would_say_first(port):
    for path in ("/", "/page.js", "/docs", "/ready", "/info", "/metrics", "/openapi.json", "/nothing", "/v1/answer"):
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
