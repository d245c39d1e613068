"""A real server on a free loopback port, and a plain client: what the tests of serving share."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from destila.config import ServeSettings
from destila.inference.reader import Reader
from destila.serving.app import create_app
from destila.serving.server import make_server
from tiny import TEXTS, tiny_reader

JSON = {"Content-Type": "application/json"}
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


def page_reader(directory):
    """The reader behind a page in its tests."""
    window = {"length": 128, "stride": 32, "max_answer_tokens": 10}
    return Reader.load(tiny_reader(directory / "tiny", seed=3, metadata={"window": window}))


@contextlib.contextmanager
def serving(reader, settings=None, *, key=None):
    """Serve a reader on a thread; gives the port."""
    settings = settings or ServeSettings()
    with running(create_app(reader, settings, key=key), settings) as port:
        yield port


@contextlib.contextmanager
def running(app, settings):
    """Serve an application on a thread; gives the port."""
    server = make_server(app, settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def until(condition, seconds=10.0):
    """Wait for something that must come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


def request(port, method="GET", path="/", body=None, headers=None):
    """(status, headers, content); JSON is parsed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if content and response.headers.get_content_type() == "application/json":
        content = json.loads(content)
    return response.status, response.headers, content


def ask(port, question, context, headers=None, **fields):
    """POST /v1/answer."""
    body = json.dumps({"question": question, "context": context, **fields})
    return request(port, "POST", "/v1/answer", body.encode(), JSON | (headers or {}))


def hear_interrupts():
    """In a child before it starts: in the background of a shell SIGINT is ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def process(*arguments, verb="serve"):
    """A running server: (process, port, its log lines so far)."""
    command = [sys.executable, "-m", "destila", verb, "--port", "0", *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=hear_interrupts,
    ) as server:
        lines = []
        reading = threading.Thread(target=lambda: lines.extend(server.stderr))
        reading.start()
        try:
            url = server.stdout.readline()
            assert url.startswith("http://127.0.0.1:"), url
            yield server, int(url.strip().rstrip("/").rpartition(":")[2]), lines
        finally:
            if server.poll() is None:
                server.kill()
            reading.join()


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
