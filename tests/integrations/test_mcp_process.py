"""`destila mcp` as a process: what it prints, how it ends, what it refuses before it starts, and faults of ours."""

import asyncio
import http.client
import json
import re
import signal
import socket
import subprocess
from types import SimpleNamespace

import pytest

pytest.importorskip("mcp", reason="the SDK is not installed (pip install 'destila[mcp]')")

from mcp import Client

from agents import HELLO, SECONDS, command, environment, write_documents
from destila.cli.main import dispatch
from destila.config import LimitSettings, McpSettings
from destila.core.errors import UserError
from destila.inference.documents import cache, read_document
from destila.inference.reader import Reader
from destila.integrations import mcp as integration
from destila.integrations.mcp import Answering, server_of


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    write_documents(place)
    return place


def started(place, **more):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.Popen(command(place), env=environment(place), text=True, **pipes)


def test_stdout_is_the_protocol_alone_and_the_end_of_stdin_ends_it(place):
    """Also where a line is no message, and where one names a method that there is not."""
    arguments = {"question": "¿Cuánto mide el puente?", "path": "puente.txt"}
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "answer", "arguments": arguments}}
    done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    with started(place) as server:
        for line in (HELLO, done, "this is no JSON", {"jsonrpc": "2.0", "id": 3, "method": "no/such"}, call):
            server.stdin.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
            server.stdin.flush()
        lines = [json.loads(server.stdout.readline()) for _ in range(3)]
        while all(line.get("id") != 2 for line in lines):
            lines.append(json.loads(server.stdout.readline()))
        server.stdin.close()
        assert server.wait(SECONDS) == 0
        lines += [json.loads(line) for line in server.stdout]
        assert "Traceback" not in server.stderr.read()
    assert all(line["jsonrpc"] == "2.0" for line in lines)
    by_id = {line["id"]: line for line in lines if "id" in line}
    assert by_id[1]["result"]["serverInfo"]["name"] == "destila"
    assert by_id[2]["result"]["structuredContent"]["answers"][0]["citation"]["document_title"] == "puente.txt"
    assert "error" in by_id[3]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_it_though_stdin_stays_open(place, number):
    with started(place) as server:
        server.stdin.write(json.dumps(HELLO) + "\n")
        server.stdin.flush()
        assert json.loads(server.stdout.readline())["id"] == 1
        server.send_signal(number)
        assert server.wait(SECONDS) == -number
        assert server.stdout.read() == ""
        assert "Traceback" not in server.stderr.read()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--root", "nowhere"], "nowhere is no folder"),
        (["--root", __file__], "is no folder. Give folders that exist"),
        (["--model", "nowhere"], "nowhere"),
        (["--transport", "sse"], "transport"),
        (["--transport", "http", "--port", "TAKEN"], "cannot be listened at"),
        (["--must-answer", "--no-answer-threshold", "1"], "Give one of the two"),
    ],
)
def test_mistakes_are_told_before_anything_is_served(flags, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        filled = {"TAKEN": str(taken.getsockname()[1])}
        with pytest.raises(UserError, match=expected):
            dispatch(["mcp", *(filled.get(flag, flag) for flag in flags)])


def test_without_roots_texts_are_answered_and_no_path_is_read(tmp_path):
    answering = Answering(Reader.load(), McpSettings())
    given = SimpleNamespace(question="¿Quién fundó Lima?", text="Pizarro fundó Lima.", path=None, top_k=1)
    assert answering.answer(given).answers[0].text == "Pizarro"
    for path in (str(tmp_path), __file__, "."):
        with pytest.raises(UserError, match=r"was given no folder\. Give the text itself, or start"):
            answering.answer(SimpleNamespace(question="¿Qué?", text=None, path=path, top_k=1))


def test_a_file_is_parsed_again_only_when_it_has_changed(tmp_path, monkeypatch):
    parsed = []
    monkeypatch.setattr(cache, "RECENT_SECONDS", -1.0)
    monkeypatch.setattr(integration, "read_document", lambda *some: parsed.append(some[0]) or read_document(*some))
    answering, file = Answering(Reader.load(threads=1), McpSettings(root=[str(tmp_path)])), tmp_path / "nota.txt"
    given = SimpleNamespace(question="¿Quién es la secretaria?", text=None, path="nota.txt", top_k=1)
    for name in ("Ana Ruiz", "Eva Paz Soler"):
        file.write_text(f"La secretaria del club es {name}.")
        assert [answering.answer(given).answers[0].text for _ in range(3)] == [name] * 3
    assert parsed == [file, file]


def test_questions_times_text_have_a_limit_in_pieces_of_the_model():
    answering = Answering(Reader.load(threads=1), McpSettings(limits=LimitSettings(windows=5)))
    given = {"pairs": None, "text": "El puente mide 312 metros. " * 60, "path": None, "top_k": 1}
    assert len(answering.answer_many(SimpleNamespace(questions=["¿Cuánto mide?"], **given)).results) == 1
    with pytest.raises(UserError, match=r"make more than 5 pieces for the model\. Ask fewer questions at once"):
        answering.answer_many(SimpleNamespace(questions=["¿Cuánto mide?"] * 9, **given))


def test_a_fault_of_ours_is_told_without_its_insides(monkeypatch, caplog):
    answering = Answering(Reader.load(threads=1), McpSettings())
    monkeypatch.setattr(answering.reader, "logits", lambda windows: 1 / 0)
    server = server_of(answering)

    async def ask():
        async with Client(server) as client:
            results = [await client.call_tool("answer", {"question": "¿Qué?", "text": "Zanahoria."}) for _ in range(2)]
            return results, (await client.list_tools()).tools

    results, tools = asyncio.run(ask())
    for result in results:
        assert result.is_error
        assert result.content[0].text == "answer: failed in the server. Tell its operator, who has the log."
    assert len(tools) == 3
    assert "ZeroDivisionError" in caplog.text
    assert "Zanahoria" not in caplog.text


def test_pages_of_other_sites_cannot_ask_a_local_server(place):
    started = command(place, "--transport", "http", "--port", "0")
    with subprocess.Popen(started, env=environment(place), stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().strip()
        port, statuses = int(re.search(r":(\d+)/mcp$", url).group(1)), []
        for headers in ({}, {"Host": "evil.example"}, {"Origin": "https://evil.example"}):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
            accept = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
            connection.request("POST", "/mcp", json.dumps(HELLO), accept | headers)
            statuses.append(connection.getresponse().status)
            connection.close()
        server.terminate()
        assert server.wait(SECONDS) == -signal.SIGTERM
    assert statuses == [200, 421, 403]


def test_an_error_that_was_never_promised_is_refused_before_it_starts():
    with pytest.raises(UserError, match=r"no error of at most 0\.001 was promised"):
        dispatch(["mcp", "--max-error", "0.001"])
