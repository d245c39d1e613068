"""The model's own process: it computes the same, and the service outlives its death, however it dies."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from destila.cli import export
from destila.config import ExportSettings, QueueSettings, ServeSettings
from destila.config.loader import resolve
from destila.core.errors import UserError
from destila.inference.places import SHIPPED
from destila.inference.reader import Reader
from destila.serving import model_process
from destila.serving.model_process import ModelDiedError, ModelDownError, ModelFailedError, ModelProcess
from serving import ask, request, serving, until
from tiny import TEXTS, tiny_reader

pytest.importorskip("onnxscript", reason="the export extra is not installed")
QUESTION = "¿Quién fundó Lima?"
IDS = np.array([[0, 5, 6, 7, 2, 2, 8, 9, 10, 2]], np.int64)
pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked at through /proc")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An ONNX reader: a child that has no torch to load starts at once."""
    place = tmp_path_factory.mktemp("models")
    window = {"length": 64, "stride": 16, "max_answer_tokens": 10}
    source = tiny_reader(place / "torch", seed=3, metadata={"window": window})
    export.run(resolve(ExportSettings, {"model": str(source), "output": str(place / "onnx")}))
    return str(place / "onnx")


@pytest.fixture
def start(model):
    started = []

    def start(**load):
        started.append(ModelProcess({"name": model, "threads": 1, **load}))
        return started[-1]

    yield start
    for process in started:
        process.close()


def test_the_process_says_whether_its_model_pads(start):
    assert start().one_by_one
    assert start(name=str(SHIPPED)).one_by_one


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_reader_answers_the_same_through_a_process(start, model):
    process, here = start(), Reader.load(model, threads=1)
    assert process.pid != os.getpid()
    there = Reader.of(process.loaded, name=model)
    assert (there.window, there.longest) == (here.window, here.longest)
    pairs = [(QUESTION, " ".join(TEXTS[:count])) for count in range(1, 6)]
    assert there.rank(pairs, top_k=3) == here.rank(pairs, top_k=3)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_next_child_takes_over(start, number):
    process = start()
    before = process.logits(IDS, np.ones_like(IDS))
    first = process.pid
    os.kill(first, number)
    until(lambda: gone(first))
    until(lambda: process.restarts == 1 and process.running)
    assert process.pid != first
    for one, other in zip(process.logits(IDS, np.ones_like(IDS)), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_that_its_child_does_not_survive_says_so(start, monkeypatch):
    process = start()
    os.kill(process.pid, signal.SIGSTOP)
    threading.Timer(0.2, os.kill, [process.pid, signal.SIGKILL]).start()
    with pytest.raises(ModelDiedError):
        process.logits(IDS, np.ones_like(IDS))
    assert len(process.logits(IDS, np.ones_like(IDS))) == 2  # waits for the next child
    monkeypatch.setattr(model_process, "HUNG_SECONDS", 0.2)
    hung = process.pid
    os.kill(hung, signal.SIGSTOP)
    with pytest.raises(ModelDiedError):
        process.logits(IDS, np.ones_like(IDS))
    until(lambda: gone(hung))
    monkeypatch.undo()
    assert len(process.logits(IDS, np.ones_like(IDS))) == 2


def test_a_run_that_fails_kills_nobody(start):
    process = start()
    first = process.pid
    with pytest.raises(ModelFailedError):
        process.logits(IDS + 1_000_000, np.ones_like(IDS))
    assert len(process.logits(IDS, np.ones_like(IDS))) == 2
    assert (process.pid, process.restarts) == (first, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_leaves_the_child_to_its_server(start, number):
    process = start()
    first = process.pid
    os.kill(first, number)
    assert len(process.logits(IDS, np.ones_like(IDS))) == 2
    assert (process.pid, process.restarts) == (first, 0)
    process.close()
    assert gone(first)


def test_while_no_child_can_be_started_runs_are_refused(model, tmp_path, start):
    shutil.copytree(model, tmp_path / "model")
    process = start(name=str(tmp_path / "model"))
    (tmp_path / "model").rename(tmp_path / "away")
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: process.down)
    with pytest.raises(ModelDownError):
        process.logits(IDS, np.ones_like(IDS))
    (tmp_path / "away").rename(tmp_path / "model")
    until(lambda: process.running)
    assert len(process.logits(IDS, np.ones_like(IDS))) == 2


def test_mistakes_are_told_as_without_a_process(tmp_path):
    with pytest.raises(UserError, match="holds no model"):
        ModelProcess({"name": str(tmp_path), "backend": "onnx"})


def test_a_child_ends_with_its_server_however_that_ends(model):
    code = f"""
import time
from destila.serving.model_process import ModelProcess
print(ModelProcess({{"name": {model!r}}}).pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as server:
        child = int(server.stdout.readline())
        assert not gone(child)
        server.kill()
    until(lambda: gone(child))


# ------------------------------------------------------------------------------------------ the whole service
def test_kills_under_load_cost_no_request_its_answer(start, model):
    process = start()
    reader = Reader.of(process.loaded, name=model)
    expected = [Reader.load(model).answer(QUESTION, text).text for text in TEXTS]
    stop = threading.Event()

    def client(number):
        found = []
        while not stop.is_set():
            place = (number + len(found)) % len(TEXTS)
            status, headers, content = ask(port, QUESTION, TEXTS[place])
            assert headers["X-Request-ID"]
            found.append((place, status, content))
        return found

    with serving(reader) as port, ThreadPoolExecutor(8) as clients:
        results = [clients.submit(client, number) for number in range(8)]
        for kills, number in enumerate([signal.SIGKILL, signal.SIGSEGV, signal.SIGKILL], 1):
            time.sleep(0.2)
            os.kill(process.pid, number)
            until(lambda kills=kills: process.restarts == kills and process.running, 20)
        time.sleep(0.2)
        stop.set()
        found = [one for result in results for one in result.result(20)]
        assert b"destila_model_restarts 3.0" in request(port, path="/metrics")[2]
    # A batch in which the model dies is tried again by the next child, so every request that was taken is answered.
    assert {status for _, status, _ in found} == {200}
    assert len(found) > 24
    assert all(content["results"][0]["answers"][0]["text"] == expected[place] for place, _, content in found)


def test_ready_and_answers_tell_that_the_model_is_away(model, tmp_path, start):
    shutil.copytree(model, tmp_path / "model")
    process = start(name=str(tmp_path / "model"))
    reader = Reader.of(process.loaded, name="tiny")
    with serving(reader, ServeSettings(queue=QueueSettings(timeout=10.0))) as port:
        assert request(port, path="/ready")[0] == 200
        (tmp_path / "model").rename(tmp_path / "away")
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: process.down)
        assert request(port, path="/ready")[0] == 503
        assert request(port, path="/health")[0] == 200
        status, headers, content = ask(port, QUESTION, TEXTS[0])
        assert (status, headers["Retry-After"]) == (503, "5")
        assert content["error"]["problem"] == "the model is being started again"
        (tmp_path / "away").rename(tmp_path / "model")
        until(lambda: request(port, path="/ready")[0] == 200)
        assert ask(port, QUESTION, TEXTS[0])[0] == 200
