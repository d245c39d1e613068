"""Load the server as many clients would: every answer is checked, none may be lost; last line: one JSON object.

    python benchmarks/serving.py --model DIRECTORY [--requests 20000] [--clients 64]

Two servers are measured, each a process of its own on loopback: as it is, and without batching (one window at a time).
Clients send their next request when they have an answer. Requests are questions over one to twenty sentences.
"""

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def server(model: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server process and its port."""
    command = [sys.executable, "-m", "destila", "serve", "--model", model, "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip().rstrip("/")
        try:
            yield process, int(url.rpartition(":")[2])
        finally:
            process.terminate()


def resident_megabytes(pid: int) -> float:
    """What the process holds in memory now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


def cases(count: int) -> list[tuple[str, str]]:
    """So many different (question, text), short and long ones mixed."""
    chosen = random.Random(1)
    sizes = chosen.choices(SIZES, SHARES, k=count)
    return [(chosen.choice(QUESTIONS), " ".join(chosen.choices(SENTENCES, k=size))) for size in sizes]


async def ask(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], body: bytes) -> tuple[int, dict[str, Any]]:
    """One request on an open connection."""
    reader, writer = streams
    head = (
        f"POST /v1/answer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    status, _, fields = (await reader.readuntil(b"\r\n\r\n")).decode().partition("\r\n")
    length = next(int(line.split(":")[1]) for line in fields.split("\r\n") if line.lower().startswith("content-length"))
    return int(status.split()[1]), json.loads(await reader.readexactly(length))


async def load(process: subprocess.Popen[str], port: int, work: list[Any], clients: int) -> dict[str, Any]:
    """Send everything; `work` holds (body, expected answer)."""
    queue, seconds, wrong, memory = iter(work), list[float](), 0, list[float]()

    async def client() -> None:
        nonlocal wrong
        streams = await asyncio.open_connection("127.0.0.1", port)
        for body, expected in queue:
            began = time.perf_counter()
            status, content = await ask(streams, body)
            seconds.append(time.perf_counter() - began)
            wrong += status != 200 or content["results"][0]["answers"][0]["text"] != expected
            if len(seconds) % 500 == 0:
                memory.append(resident_megabytes(process.pid))
        streams[1].close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    total = time.perf_counter() - began
    cuts = statistics.quantiles(seconds, n=100)
    return {
        "requests": len(seconds),
        "wrong": wrong,
        "per_second": round(len(seconds) / total, 1),
        "p50_ms": round(1000 * cuts[49], 1),
        "p99_ms": round(1000 * cuts[98], 1),
        "p99_over_p50": round(cuts[98] / cuts[49], 2),
        "memory_mb": [round(megabytes) for megabytes in memory[:: max(1, len(memory) // 8)]],
    }


def main() -> None:
    """Measure both servers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--distinct", type=int, default=500, help="different requests; they are sent again and again")
    arguments = parser.parse_args()
    pairs = cases(arguments.distinct)
    answers = Reader.load(arguments.model).answer_batch(pairs)
    work = [
        (json.dumps({"question": question, "context": context}).encode(), answer.text)
        for (question, context), answer in zip(pairs, answers, strict=True)
    ]
    result: dict[str, Any] = {"clients": arguments.clients}
    for name, flags, share in [("batching", (), 1), ("alone", ("--queue.batch_tokens", "1"), 4)]:
        many = (work * (arguments.requests // len(work) + 1))[: arguments.requests // share]
        with server(arguments.model, *flags) as (process, port):
            asyncio.run(load(process, port, work[:100], 8))  # warm up
            result[name] = asyncio.run(load(process, port, many, arguments.clients))
        print(f"{name}: {result[name]}", file=sys.stderr)
    result["speedup"] = round(result["batching"]["per_second"] / result["alone"]["per_second"], 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
