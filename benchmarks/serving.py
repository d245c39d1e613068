"""Load the server as many clients would: every answer is checked, none may be lost; a table, then one JSON line.

    python benchmarks/serving.py [--model DIRECTORY] [--requests 20000] [--clients 64]
    python benchmarks/serving.py --soak --requests 200000

Two servers are measured, each with processes of its own on loopback: as it is, and without batching (one window at a
time, a quarter of the requests); with --soak the first alone, on texts of one or two sentences. Clients send their next
request when they have an answer. Requests are questions over one to twenty sentences. Memory is that of the server and
of the process that holds its model together.

Wanted: nothing lost or wrong, p99 at most 4 times p50, 3 times the throughput without batching, and over the last three
quarters of the requests memory that grows by less than 2 %.
"""

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from destila import Reader

SENTENCES = (
    "La biblioteca de Valdehoz abrió el 14 de mayo de 1987 en un antiguo molino junto al río Arlo.",
    "Desde 2009 la dirige Carmen Ledesma, que creó el club de lectura nocturna de los jueves.",
    "Hoy guarda 42 300 libros y una colección de 1 150 mapas donada por el navegante Tomás Urrutia.",
    "La entrada es gratuita y el horario es de martes a sábado, de 9:00 a 20:30.",
)
QUESTIONS = ("¿Quién dirige la biblioteca?", "¿Cuándo abrió?", "¿Cuántos libros guarda?", "¿Quién donó los mapas?")
SIZES, SHARES = (1, 2, 4, 8, 20), (40, 30, 15, 10, 5)  # sentences of a text, and how many texts in a hundred have them
WANTED = {"p99_over_p50": 4.0, "speedup": 3.0, "memory_growth": 0.02}
COLUMNS = ("requests", "lost", "wrong", "per_second", "p50_ms", "p99_ms", "p99_over_p50", "longest_ms", "memory_mb")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.contextmanager
def server(*arguments: str) -> Iterator[tuple[int, int]]:
    """A server: its process id and its port."""
    command = [sys.executable, "-m", "destila", "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip().rstrip("/")
        try:
            yield process.pid, int(url.rpartition(":")[2])
        finally:
            process.terminate()


def resident_megabytes(pid: int) -> float:
    """What a process and its children hold in memory now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    children = Path(f"/proc/{pid}/task").glob("*/children")
    pids = [int(child) for path in children for child in path.read_text(encoding="ascii").split()]
    return pages * 4096 / 2**20 + sum(map(resident_megabytes, pids))


def cases(count: int, *, short: bool) -> list[tuple[str, str]]:
    """So many different (question, text), short and long ones mixed, or short ones alone."""
    chosen = random.Random(1)
    sizes = chosen.choices(SIZES[:2], k=count) if short else chosen.choices(SIZES, SHARES, k=count)
    return [(chosen.choice(QUESTIONS), " ".join(chosen.choices(SENTENCES, k=size))) for size in sizes]


async def ask(streams: Streams, body: bytes) -> tuple[int, dict[str, Any]]:
    """One request on an open connection."""
    reader, writer = streams
    head = (
        f"POST /v1/answer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    status, _, fields = (await reader.readuntil(b"\r\n\r\n")).decode().partition("\r\n")
    length = next(int(line.split(":")[1]) for line in fields.split("\r\n") if line.lower().startswith("content-length"))
    return int(status.split()[1]), json.loads(await reader.readexactly(length))


async def load(pid: int, port: int, work: list[Any], clients: int) -> dict[str, Any]:
    """Send everything; `work` holds (body, expected answer)."""
    queue, seconds, memory = iter(work), list[float](), list[float]()
    lost = wrong = 0

    async def client() -> None:
        nonlocal lost, wrong
        streams = await asyncio.open_connection("127.0.0.1", port)
        for body, expected in queue:
            began = time.perf_counter()
            try:
                status, content = await ask(streams, body)
            except (OSError, asyncio.IncompleteReadError):
                lost += 1
                streams = await asyncio.open_connection("127.0.0.1", port)
                continue
            seconds.append(time.perf_counter() - began)
            wrong += status != 200 or content["results"][0]["answers"][0]["text"] != expected
            if len(seconds) % max(1, len(work) // 80) == 0:
                memory.append(resident_megabytes(pid))
        streams[1].close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    total = time.perf_counter() - began
    cuts = statistics.quantiles(seconds, n=100)
    late = memory[len(memory) // 4 :]  # over the last three quarters; two means, for one sample is noise
    half = len(late) // 2
    return {
        "requests": len(work),
        "lost": lost,
        "wrong": wrong,
        "per_second": round(len(seconds) / total, 1),
        "p50_ms": round(1000 * cuts[49], 1),
        "p99_ms": round(1000 * cuts[98], 1),
        "p99_over_p50": round(cuts[98] / cuts[49], 2),
        "longest_ms": round(1000 * max(seconds), 1),
        "memory_mb": round(memory[-1], 1),
        "memory_growth": round(statistics.mean(late[half:]) / statistics.mean(late[:half]) - 1, 4),
        "memory_samples_mb": [round(megabytes) for megabytes in memory[:: max(1, len(memory) // 8)]],
    }


def judged(batching: dict[str, Any], speedup: float | None) -> dict[str, bool]:
    """Which of the wishes came true."""
    verdict = {
        "nothing lost or wrong": batching["lost"] == batching["wrong"] == 0,
        "p99 within 4 p50": batching["p99_over_p50"] <= WANTED["p99_over_p50"],
        "memory flat": batching["memory_growth"] < WANTED["memory_growth"],
    }
    return verdict if speedup is None else verdict | {"3 times the throughput": speedup >= WANTED["speedup"]}


def main() -> None:
    """Measure both servers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="directory of a reader; none: the bundled model")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--soak", action="store_true", help="the server as it is alone, on short texts")
    parser.add_argument("--distinct", type=int, default=500, help="different requests; they are sent again and again")
    arguments = parser.parse_args()
    pairs = cases(arguments.distinct, short=arguments.soak)
    answers = Reader.load(arguments.model).answer_batch(pairs)
    work = [
        (json.dumps({"question": question, "context": context}).encode(), answer.text)
        for (question, context), answer in zip(pairs, answers, strict=True)
    ]
    model = ["--model", arguments.model] if arguments.model else []
    rows: dict[str, dict[str, Any]] = {}
    servers = [("batching", (), 1), ("one by one", ("--queue.batch_tokens", "1"), 4)]
    for name, flags, share in servers[:1] if arguments.soak else servers:
        many = (work * (arguments.requests // len(work) + 1))[: arguments.requests // share]
        with server(*model, *flags) as (pid, port):
            asyncio.run(load(pid, port, work[:100], 8))  # warm up
            rows[name] = asyncio.run(load(pid, port, many, arguments.clients))
    alone = rows.get("one by one")
    speedup = round(rows["batching"]["per_second"] / alone["per_second"], 2) if alone else None
    print(f"{'':12}" + "".join(f"{column:>14}" for column in COLUMNS))
    for name, row in rows.items():
        print(f"{name:12}" + "".join(f"{row[column]:>14}" for column in COLUMNS))
    verdict = judged(rows["batching"], speedup)
    print(json.dumps({"clients": arguments.clients, **rows, "speedup": speedup, "wanted": verdict}))
    sys.exit(0 if all(verdict.values()) else 1)


if __name__ == "__main__":
    main()
