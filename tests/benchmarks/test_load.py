"""The script for k6 against real servers: a right one, and one that answers otherwise under load."""

import http.server
import itertools
import json
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from destila.inference.reader import Reader
from serving import serving
from tiny import tiny_reader

K6 = shutil.which("k6", path=Path(sys.executable).parent)
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "load.js"
pytestmark = pytest.mark.skipif(K6 is None, reason="there is no k6")


def load(port, *, rates="3,6", seconds=1):
    """(exit status, one row for each rate, what was written to stderr)."""
    flags = [
        "-e",
        f"URL=http://127.0.0.1:{port}",
        "-e",
        f"RATES={rates}",
        "-e",
        f"SECONDS={seconds}",
        "-e",
        "PAUSE=0.5",
    ]
    done = subprocess.run(
        [K6, "run", "--quiet", "--no-usage-report", "--address", "127.0.0.1:0", *flags, SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


@contextmanager
def answering(answer):
    """A server that says to the request of a number what `answer` gives: (status, text of the answer)."""
    numbers = itertools.count()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, text = answer(next(numbers))
            body = json.dumps({"results": [{"answers": [{"text": text, "start": 0}]}]}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_real_server_answers_alike_under_load(tmp_path):
    with serving(Reader.load(tiny_reader(tmp_path))) as port:
        status, rows, _ = load(port)
    assert status == 0
    assert [row["rate"] for row in rows] == [3, 6]
    for row in rows:
        assert row["wrong"] == row["refused"] == 0
        assert row["answered_per_second"] + row["unsent"] + row["unanswered"] == pytest.approx(row["rate"], abs=2)
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] <= row["longest_ms"]


def test_other_answers_and_refusals_are_told(tmp_path):
    # The first 32 requests are those that are sent alone.
    with answering(lambda number: (200, "as ever") if number < 32 or number % 2 else (503, "")) as port:
        status, rows, _ = load(port)
    assert status == 0, "a queue that is full is no wrong answer"
    assert all(0 < row["refused"] < row["rate"] for row in rows)
    with answering(lambda number: (200, "as ever" if number < 32 or number % 2 else "otherwise")) as port:
        status, rows, error = load(port)
    assert status != 0
    assert all(row["wrong"] > 0 for row in rows)
    assert "wrong{scenario:rate_3}" in error


def test_requests_that_find_no_connection_are_counted():
    def slow(number):
        time.sleep(0 if number < 32 else 10)
        return 200, "as ever"

    with answering(slow) as port:
        _, (row,), _ = load(port, rates="30", seconds=4)  # ten and twice the rate are 70 connections, for 120 requests
    assert row["answered_per_second"] == 0
    assert row["unanswered"] == 70
    assert row["unsent"] == pytest.approx(50, abs=3)


def test_a_server_that_does_not_answer_is_named():
    with answering(lambda _: (500, "")) as port:
        status, _, error = load(port)
    assert status != 0
    assert f"http://127.0.0.1:{port} answers 500" in error
