"""Clients that drip, stall, babble or never read: the server drops them and goes on serving the others."""

import http.client
import json
import signal
import socket
import time

import pytest

from destila.config import LimitSettings, QueueSettings, ServeSettings
from destila.inference.reader import Reader
from serving import JSON, ask, process, request, serving, until
from tiny import TEXTS, tiny_reader

QUESTION, CONTEXT = "¿Quién fundó Lima?", TEXTS[0]
HEAD = b"POST /v1/answer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    window = {"length": 64, "stride": 16, "max_answer_tokens": 10}
    return str(tiny_reader(tmp_path_factory.mktemp("models") / "tiny", seed=3, metadata={"window": window}))


@pytest.fixture(scope="module")
def port(model):
    limits, queue = LimitSettings(body_bytes=50_000), QueueSettings(body_timeout=0.4)
    with serving(Reader.load(model), ServeSettings(limits=limits, queue=queue)) as port:
        yield port


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def closed(client):
    """Whether the server has closed the connection; whatever it still said is read."""
    try:
        while client.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


# ------------------------------------------------------------------------------------------ slow clients
@pytest.mark.parametrize("sent", [b"", b"POST /v1/ans", HEAD])
def test_a_head_that_never_ends_is_given_up(port, sent):
    with connect(port) as client:
        began = time.monotonic()
        client.sendall(sent)
        assert closed(client)
        assert 0.3 < time.monotonic() - began < 5


def test_a_head_that_drips_is_given_up_all_the_same(port):
    began = time.monotonic()
    with connect(port) as client, pytest.raises(OSError):  # noqa: PT011 (reset or broken pipe, as it happens)
        for letter in HEAD * 50:
            client.sendall(bytes([letter]))
            time.sleep(0.02)
    assert time.monotonic() - began < 5


def test_the_head_of_a_second_request_has_its_limit_too(port):
    body = json.dumps({"question": QUESTION, "context": CONTEXT}).encode()
    with connect(port) as client:
        client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        client.sendall(HEAD)
        began = time.monotonic()
        assert closed(client)
        assert 0.3 < time.monotonic() - began < 3  # uvicorn alone would wait for ever


def test_a_slow_answer_is_not_taken_for_a_slow_client(model):
    """The limit on heads and bodies does not count while the model works."""
    reader = Reader.load(model)
    logits = reader.model.logits
    reader.model.logits = lambda ids, mask: time.sleep(1) or logits(ids, mask)
    with serving(reader, ServeSettings(queue=QueueSettings(body_timeout=0.3))) as port:
        assert ask(port, QUESTION, "Pizarro fundó Lima.")[0] == 200


def test_a_body_that_drips_is_given_up(port):
    with connect(port) as client:
        client.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        began = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT011
            while time.monotonic() - began < 8:
                client.sendall(b" ")
                time.sleep(0.05)
                client.setblocking(False)
                try:
                    said = client.recv(65_536)
                except BlockingIOError:
                    said = None
                client.settimeout(10)
                if said is not None:
                    assert not said or b" 408 " in said
                    raise ConnectionResetError
    assert time.monotonic() - began < 5


def test_a_hundred_stalled_clients_keep_nobody_out(port):
    stalled = [connect(port) for _ in range(100)]
    for client in stalled:
        client.sendall(HEAD)
    assert ask(port, QUESTION, CONTEXT)[0] == 200
    assert all(closed(client) for client in stalled)
    for client in stalled:
        client.close()
    until(lambda: b"destila_open_requests 1.0" in request(port, path="/metrics")[2])


def test_who_never_reads_is_dropped(model):
    texts = [" ".join(TEXTS * 3)] * 16
    body = json.dumps({"question": [QUESTION] * 4, "context": texts, "top_k": 20}).encode()
    with process("--model", model, "--queue.body_timeout", "1") as (_, port, lines), connect(port) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(0.5)
        with pytest.raises(OSError):  # noqa: PT011 (our own timeout while it stalls, or its reset)
            for _ in range(2_000):  # far more answers than all buffers hold
                client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        client.settimeout(180)  # where the server is slow it still has answers to make
        with pytest.raises((ConnectionResetError, BrokenPipeError)):  # a broken pipe where its reset came before
            client.sendall(b" " * 50_000_000)
        until(lambda: b"destila_open_requests 1.0" in request(port, path="/metrics")[2], 60)
        assert any('"status": 200' in line for line in lines)


# ------------------------------------------------------------------------------------------ nonsense
@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"\x00" * 100 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"GET " + b"/a" * 50_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1e3\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
    ],
)
def test_what_is_hardly_http_is_no_fault_of_ours_and_hurts_nobody(port, sent):
    with connect(port) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        said = b""
        try:
            while part := client.recv(65_536):
                said += part
        except ConnectionResetError:
            pass
    assert not said or said.split()[1][:1] in (b"2", b"4"), said[:100]
    assert ask(port, QUESTION, CONTEXT)[0] == 200


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("path", [b"/v1/answer", b"/", b"/nothing"])
def test_a_request_of_two_lengths_is_the_last_of_its_connection(port, path, order):
    """RFC 9112, 6.1: somebody on the way may have read the other length, and hidden a second request in the rest."""
    lengths = [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 4\r\n"][::order]
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" % path
    second = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(port) as client:
        client.sendall(head + b"".join(lengths) + b"\r\n2\r\n{}\r\n0\r\n\r\n" + second)
        said = b""
        while part := client.recv(65_536):
            said += part
    assert said.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in said.lower()
    assert b'"ok"' not in said


def test_a_chunked_body_without_end_is_cut_off(port):
    with connect(port) as client:
        client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(OSError):  # noqa: PT011
            for _ in range(10_000):
                client.sendall(b"ffff\r\n" + b" " * 0xFFFF + b"\r\n")
    assert ask(port, QUESTION, CONTEXT)[0] == 200


@pytest.mark.parametrize("headers", [JSON, JSON | {"Content-Encoding": "gzip"}, JSON | {"Expect": "100-continue"}])
def test_odd_headers_change_nothing(port, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/v1/answer", json.dumps({"question": QUESTION, "context": CONTEXT}), headers)
    assert connection.getresponse().status == 200
    connection.close()


def test_clients_that_leave_at_any_moment_leave_nothing_behind(port):
    body = json.dumps({"question": QUESTION, "context": " ".join(TEXTS)}).encode()
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for cut in range(0, len(whole) + 1, 9):
        with connect(port) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leave with a reset
            client.sendall(whole[:cut])
    until(lambda: b"destila_open_requests 1.0" in request(port, path="/metrics")[2])
    assert b"destila_waiting_windows 0.0" in request(port, path="/metrics")[2]
    assert ask(port, QUESTION, CONTEXT)[0] == 200


def test_a_second_signal_ends_a_server_that_still_drains(model):
    with process("--model", model) as (server, port, _), connect(port) as client:
        client.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")  # a body that never ends keeps it draining
        time.sleep(0.3)
        server.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert server.poll() is None
        server.send_signal(signal.SIGINT)
        assert server.wait(10) in (-signal.SIGINT, -signal.SIGTERM, 130)
