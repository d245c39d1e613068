"""An OpenAI-compatible server over a real socket: it replays recorded answers, and misbehaves as it is told.

Run as a program, it is a process of its own: `python language_model.py FOLDER` reads FOLDER/plan.json, writes the port
to FOLDER/port, and appends a line to FOLDER/requests.jsonl for each request that it has answered in full.
"""

import contextlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

USAGE = {"prompt_tokens": 700, "completion_tokens": 90}


def completion(content: str) -> bytes:
    message = {"role": "assistant", "content": content}
    value = {"object": "chat.completion", "choices": [{"index": 0, "message": message}], "usage": USAGE}
    return json.dumps(value).encode()


class LanguageModel:
    """A server in a thread.

    Args:
        recorded: what it replies, by a piece of the text that it is asked about; the first that fits.
        faults: what goes wrong with the first, second... request about such a piece; "" and beyond the list: nothing.
        delay: seconds that each reply takes.
        log: a file to append a line to for each reply that was sent in full.
    """

    def __init__(
        self,
        recorded: dict[str, str],
        faults: dict[str, list[str]] | None = None,
        *,
        delay: float = 0.0,
        log: Path | None = None,
    ) -> None:
        self.recorded, self.faults, self.delay, self.log = recorded, faults or {}, delay, log
        self.requests: list[dict[str, Any]] = []
        self.seen, self.at_once, self.most_at_once = Counter[str](), 0, 0
        self.lock, self.over = threading.Lock(), threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def _handler(owner) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with contextlib.suppress(ConnectionError):
                    owner.answer(self, body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def answer(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        prompt = body["messages"][-1]["content"]
        piece = next(piece for piece in self.recorded if piece in prompt)
        with self.lock:
            number = self.seen[piece]
            self.seen[piece] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.requests.append({"path": handler.path, "body": body, "headers": dict(handler.headers)})
        try:
            plan = self.faults.get(piece, [])
            self.misbehave(handler, plan[number] if number < len(plan) else "", self.recorded[piece])
            if self.log:
                with self.lock, open(self.log, "a", encoding="utf-8") as file:
                    file.write(json.dumps(piece) + "\n")
        finally:
            with self.lock:
                self.at_once -= 1

    def misbehave(self, handler: BaseHTTPRequestHandler, fault: str, content: str) -> None:
        whole = completion(content)
        if fault == "hang":
            self.over.wait(60)
            return
        if fault == "drip":  # a byte now and then, for ever
            handler.send_response(200)
            handler.end_headers()
            while not self.over.wait(0.05):
                handler.wfile.write(b" ")
                handler.wfile.flush()
            return
        if fault == "half":  # fewer bytes than announced
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(whole)))
            handler.end_headers()
            handler.wfile.write(whole[: len(whole) // 2])
            return
        status, headers, sent = 200, dict[str, str](), whole
        if fault == "echo":  # the key in the reply, as careless proxies do
            sent = completion(json.dumps({"preguntas": [], "eco": handler.headers.get("Authorization")}))
        elif fault == "html":
            sent = b"<html>no model here</html>"
        elif fault == "no JSON":
            sent = completion("Claro, aquí tienes tus preguntas.")
        elif fault == "no_text":
            sent = json.dumps({"choices": [{"message": {"content": None, "refusal": "no"}}]}).encode()
        elif fault == "no_choices":
            sent = b'{"choices": []}'
        elif fault == "deep":
            sent = b"[" * 100_000
        elif fault == "redirect":
            status, headers, sent = 302, {"Location": "http://127.0.0.1:9/v1/chat/completions"}, b""
        elif fault.startswith("wait"):
            status, headers, sent = 429, {"Retry-After": fault.split()[1]}, b"slow down"
        elif fault:
            status, sent = int(fault), f"key {handler.headers.get('Authorization')}".encode()
        time.sleep(self.delay)
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(sent)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(sent)

    @contextlib.contextmanager
    def serving(self) -> Iterator["LanguageModel"]:
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            self.server.shutdown()
            self.server.server_close()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    model = LanguageModel(plan["recorded"], delay=plan["delay"], log=folder / "requests.jsonl")
    (folder / "port.new").write_text(str(model.server.server_port))
    (folder / "port.new").rename(folder / "port")
    model.server.serve_forever()
