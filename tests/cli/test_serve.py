"""`destila serve` as a process: it starts, answers under load, and ends without losing anything it accepted."""

import json
import signal
import socket
import threading

import pytest

from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.inference.reader import Reader
from serving import ask, process, request
from tiny import TEXTS, tiny_reader


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    window = {"length": 64, "stride": 16, "max_answer_tokens": 10}
    return str(tiny_reader(tmp_path_factory.mktemp("models") / "tiny", seed=3, metadata={"window": window}))


def test_sigterm_under_load_loses_nothing_accepted(model):
    answered, broken = {}, []
    with process("--model", model) as (server, port, lines):
        assert ask(port, "¿Qué?", TEXTS[0])[0] == 200
        enough = threading.Event()

        def client(number):
            for turn in range(10_000):
                name = f"{number}-{turn}"
                context = TEXTS[turn % len(TEXTS)]
                try:
                    status, _, content = ask(port, "¿Qué?", context, headers={"X-Request-ID": name})
                except OSError:  # the server no longer listens, or had not read this request yet
                    broken.append(name)
                    return
                answered[name] = status, context, content
                if len(answered) > 60:
                    enough.set()

        clients = [threading.Thread(target=client, args=[number]) for number in range(12)]
        for thread in clients:
            thread.start()
        assert enough.wait(20)
        server.send_signal(signal.SIGTERM)
        for thread in clients:
            thread.join(20)
        assert server.wait(20) == -signal.SIGTERM
    log = [json.loads(line) for line in lines]
    accepted = {line["request_id"] for line in log if line["event"] == "request" and line["status"] == 200}
    assert len(answered) > 60
    assert not accepted & set(broken)
    assert accepted >= set(answered)
    assert {status for status, _, _ in answered.values()} == {200}
    reader = Reader.load(model)
    expected = {context: reader.answer("¿Qué?", context).text for context in TEXTS}
    assert all(c["results"][0]["answers"][0]["text"] == expected[text] for _, text, c in answered.values())
    assert log[-1]["event"].startswith("Finished")


def test_the_key_comes_from_a_file_and_the_log_is_json(model, tmp_path):
    key = tmp_path / "key"
    key.write_text("0123456789abcdef\n")
    with process("--model", model, "--api-key-file", str(key)) as (server, port, lines):
        assert ask(port, "¿Qué?", TEXTS[0])[0] == 401
        assert ask(port, "¿Qué?", TEXTS[0], headers={"Authorization": "Bearer 0123456789abcdef"})[0] == 200
        assert request(port, path="/ready")[0] == 200
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 130
    assert all(isinstance(json.loads(line), dict) for line in lines if not line.startswith("destila: interrupted"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model", "MODEL", "--port", "TAKEN"], "cannot be listened at"),
        (["--model", "MODEL", "--host", "256.1.1.1"], "cannot be listened at"),
        (["--model", "MODEL", "--api-key-file", "nowhere"], "nowhere: cannot be read"),
        (["--model", "MODEL", "--api-key-file", "SHORT"], "holds no key of at least 16 characters"),
        (["--model", "MODEL", "--queue.windows", "5"], "only 5 may wait"),
        (["--port", "65536"], "port"),
        (["--model", "MODEL", "--cors-origins", "*", "--cors-origins", "example.org"], "'example.org' is no origin"),
        (["--model", "MODEL", "--cors-origins", "https://example.org/"], "is no origin"),
        (["--model", "MODEL", "--must-answer", "--no-answer-threshold", "1"], "Give one of the two"),
    ],
)
def test_mistakes_are_told_before_anything_is_served(model, tmp_path, arguments, expected):
    (tmp_path / "short").write_text("abc")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        filled = {"MODEL": model, "TAKEN": str(taken.getsockname()[1]), "SHORT": str(tmp_path / "short")}
        with pytest.raises(UserError, match=expected):
            dispatch(["serve", *(filled.get(argument, argument) for argument in arguments)])
