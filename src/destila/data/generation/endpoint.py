"""A language model behind an OpenAI-compatible address (llama.cpp, Ollama, vLLM, hosted ones), as a maker of questions.

Mental model: one request a passage; its reply is on the disk before anything is made of it, under a name that follows
from model and messages alone, so that no reply is ever paid for twice, wherever the server moves. What goes wrong with
a request (a hang, rubbish, 429, 5xx, half a reply) is tried again with growing pauses, and is then a fault of that
passage. What will go wrong with every request (a wrong key, a wrong model) ends the run.

Invariants: texts go to the given address and nowhere else; no redirect is followed. The key stands in one header of
these requests: what the server says is kept or shown only after the key has been taken out of it.
"""

import email.utils
import hashlib
import json
import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from destila.config import GeneratorSettings
from destila.core.caches import optional
from destila.core.errors import UserError
from destila.core.runs import atomic_file
from destila.core.strict_json import dumps
from destila.data.generation.drafts import Drafts, Passage
from destila.data.generation.prompts import RESPONSE_FORMAT, drafts_of, messages

KEYS = ("DESTILA_API_KEY", "OPENAI_API_KEY")
LONGEST_WAIT = 60.0  # seconds between two attempts, whatever the server asks for
MOST_BYTES = 4_000_000  # of a reply
AGAIN = (408, 409, 425, 429, *range(500, 600))
WRONG = {
    401: "refused the key",
    403: "refused the key",
    404: "knows no such model, or no such path",
}
OTHER_SHAPE = (400, 422)  # the server does not know something in the request


class _Fault(Exception):
    """Why a request has no reply: in a few words, whether to try again, and how long the server wants to wait."""

    def __init__(self, kind: str, *, again: bool = True, wait: float = 0.0, shape: bool = False) -> None:
        super().__init__(kind)
        self.kind, self.again, self.wait, self.shape = kind, again, wait, shape


def api_key(environment: Mapping[str, str]) -> str:
    """The key of the environment; empty: none.

    Raises:
        UserError: no header can hold it. Its value is not told.
    """
    name = next((name for name in KEYS if environment.get(name, "").strip()), "")
    key = environment.get(name, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError(name, "holds characters that no key has", "Copy the key again.")
    return key


class Endpoint:
    """A maker of questions that asks a server.

    Args:
        settings: `url` and `model` are given.
        cache: directory of the replies.
        count: of questions about each passage.

    Raises:
        UserError: the address or the key cannot be one, or httpx is not installed.
    """

    def __init__(self, settings: GeneratorSettings, cache: Path, *, count: int) -> None:
        try:
            import httpx
        except ImportError:
            problem = "needs httpx, which is not installed"
            raise UserError("generator.url", problem, "pip install 'destila[generate]'") from None
        _check_address(settings.url)
        if not settings.model:
            raise UserError("generator.model", "is empty", "Name the model that the server runs.")
        self._settings, self._cache, self._count, self._httpx = settings, cache, count, httpx
        self._key = api_key(os.environ)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        # A proxy of the environment sees what goes over http, and nothing of what goes over https.
        trusted = settings.url.lower().startswith("https://")
        limits = httpx.Limits(max_connections=settings.parallel)
        self._client = httpx.Client(headers=headers, timeout=settings.timeout, trust_env=trusted, limits=limits)
        self._shape, self._stopped = 0, threading.Event()

    def make(self, passage: Passage) -> Drafts:
        """Questions about a passage, from the cache or from the server.

        Raises:
            UserError: the server refuses the key or knows no such model.
        """
        said = messages(passage, self._count)
        path = self._path(said)
        reply, cached = _kept(path), True
        if reply is None:
            cached = False
            try:
                reply = self._asked(said)
            except _Fault as fault:
                return Drafts(fault=fault.kind)
            with optional("a reply"), atomic_file(path) as temporary:
                temporary.write_text(dumps(reply) + "\n", encoding="utf-8")
        drafts = drafts_of(reply["content"])
        wrong = "" if drafts is not None else "a reply that is not the JSON asked for"
        return Drafts(drafts or (), wrong, reply["tokens_in"], reply["tokens_out"], cached)

    def is_cached(self, passage: Passage) -> bool:
        """Whether the reply is on the disk, so that it costs nothing."""
        return _kept(self._path(messages(passage, self._count))) is not None

    def close(self) -> None:
        """Give up what is being waited for."""
        self._stopped.set()
        self._client.close()

    def _path(self, said: Sequence[Mapping[str, str]]) -> Path:
        options = [self._settings.temperature, self._settings.max_tokens]
        name = hashlib.sha256(dumps([self._settings.model, said, options]).encode()).hexdigest()
        return self._cache / name[:2] / f"{name}.json"

    # ------------------------------------------------------------------------------------------------ asking
    def _asked(self, said: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """A reply, after some attempts if need be.

        Raises:
            _Fault: the last attempt's.
        """
        attempt, shape = 1, self._shape
        while True:
            try:
                reply = self._ask_once(_body(self._settings, said, shape))
                self._shape = max(self._shape, shape)
                return reply
            except _Fault as fault:
                if fault.shape and shape + 1 < len(SHAPES):
                    shape += 1
                    continue
                if attempt >= self._settings.attempts or not fault.again:
                    raise
                pause = self._settings.wait * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
                if self._stopped.wait(min(LONGEST_WAIT, max(fault.wait, pause))):
                    raise
                attempt += 1

    def _ask_once(self, body: Mapping[str, Any]) -> dict[str, Any]:
        httpx, deadline = self._httpx, time.monotonic() + self._settings.timeout
        address, content = f"{self._settings.url.rstrip('/')}/chat/completions", bytearray()
        try:
            with self._client.stream("POST", address, json=body) as response:
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > MOST_BYTES:
                        raise _Fault("a reply without end", again=False)
                    if time.monotonic() > deadline:
                        raise _Fault("timeout")
        except httpx.TimeoutException:
            raise _Fault("timeout") from None
        except httpx.HTTPError:  # its text may quote what the server sent
            raise _Fault("no connection, or one that was cut") from None
        except RuntimeError:  # the client was closed in the meantime
            raise _Fault("given up", again=False) from None
        status = response.status_code
        if status in WRONG:
            remedy = f"Check generator.url, generator.model and {' or '.join(KEYS)}."
            raise UserError(self._settings.url, f"{WRONG[status]} (HTTP {status})", remedy)
        if status != 200:
            wait = _seconds(response.headers.get("retry-after", ""))
            raise _Fault(f"HTTP {status}", again=status in AGAIN, wait=wait, shape=status in OTHER_SHAPE)
        return _read(bytes(content), self._without_key)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or True)
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        raise UserError(
            "generator.url", f"is {url!r}", "Give the address of a server, such as http://127.0.0.1:8080/v1."
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        problem = "holds more than an address, perhaps a key"
        raise UserError("generator.url", problem, f"Give the address alone; a key belongs into {KEYS[0]}.")


# What servers disagree about, most wanted first: all of it; the newer name of a limit, and no temperature, for models
# that think first; nothing but the messages.
SHAPES: tuple[Callable[[GeneratorSettings], dict[str, Any]], ...] = (
    lambda one: {
        "temperature": one.temperature,
        "max_tokens": one.max_tokens,
        "response_format": RESPONSE_FORMAT,
    },
    lambda one: {"max_completion_tokens": one.max_tokens, "response_format": RESPONSE_FORMAT},
    lambda one: {"max_tokens": one.max_tokens},
)


def _body(settings: GeneratorSettings, said: Sequence[Mapping[str, str]], shape: int) -> dict[str, Any]:
    return {"model": settings.model, "messages": list(said), **SHAPES[shape](settings)}


def _read(content: bytes, clean: Callable[[str], str]) -> dict[str, Any]:
    """What is kept of a reply: its text and its counts of tokens."""
    try:
        value = json.loads(content)
        text, usage = value["choices"][0]["message"]["content"], value.get("usage") or {}
        counts = [usage.get(name) or 0 for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise _Fault("a reply that is no chat completion") from None
    if not isinstance(text, str):  # a refusal, or a call of a tool
        raise _Fault("a reply without a text")
    tokens_in, tokens_out = (count if type(count) is int and count >= 0 else 0 for count in counts)
    return {"content": clean(text), "tokens_in": tokens_in, "tokens_out": tokens_out}


def _kept(path: Path) -> dict[str, Any] | None:
    """A reply of the cache; None: there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if type(value["content"]) is str and type(value["tokens_in"]) is type(value["tokens_out"]) is int:
            return dict(value)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _seconds(header: str) -> float:
    """What Retry-After asks for: seconds, or a date; 0 where it says nothing of use."""
    if header.isascii() and header.isdigit():
        return float(header[:6])
    try:
        date = email.utils.parsedate_to_datetime(header)
        return max(0.0, date.timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0
