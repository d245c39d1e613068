"""The model in a process of its own, which is started again when it dies.

Mental model: what computes may be killed: by a fault in a native library, or by the system when memory is short. So the
server keeps connections, queue and texts, and a child holds the model and answers one message with another, token ids
with logits. `ModelProcess` is a `SpanModel` like any other. A thread waits for the child's death and starts the next.

Invariants: a run gives the logits or raises, it never hangs: `ModelDiedError` when the child died of it or beside it,
`ModelDownError` while none can be started, `ModelFailedError` when the child lives but the run failed. A child ends
when its server does, however that ends. Whether a run is tried again is the batcher's business.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from destila.core.errors import UserError
from destila.inference.backends import Integers, LoadedBackend, Logits, load_backend
from destila.inference.reader import TOKENS_PER_BATCH

LOGGER = logging.getLogger("destila.serving")
HUNG_SECONDS = 300.0  # a run, or a start, that takes longer will never end; real ones take seconds
QUICK_DEATH = 10.0  # a child that lived shorter than this makes the next one wait
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0  # doubled from quick death to quick death
PATIENCE = 2.0  # runs wait for a child that should come within so many seconds, and are refused otherwise
FIRST_TO_GO = "500"  # of 1000: short of memory, the system kills the child rather than the server


class ModelDiedError(Exception):
    """The process of the model died before it gave the logits."""


class ModelDownError(Exception):
    """The process of the model died, and no other could be started yet."""


class ModelFailedError(Exception):
    """The model failed, and its process lives on."""


@dataclass(frozen=True)
class _Child:
    process: "subprocess.Popen[bytes]"
    connection: Connection
    began: float


class ModelProcess:
    """A model that runs in a child process.

    Args:
        load: the arguments of `destila.inference.backends.load_backend`, by name.

    Attributes:
        loaded: this model and what lay beside it, for `Reader.of`.
        backend: what runs it.
        restarts: how often a child was started after the first.
    """

    def __init__(self, load: Mapping[str, Any]) -> None:
        self._load = dict(load)
        self._changed = threading.Condition()
        self._down = self._closing = False
        self.restarts = 0
        self._child: _Child
        try:
            self._child, self.tokens_per_batch, self.one_by_one, *parts = self._start()
        except ModelDiedError as error:
            problem = f"the process that should load it died ({error})"
            raise UserError(str(load["name"]), problem, "Is there enough memory for it?") from None
        tokenizer, *rest = parts
        self.loaded = LoadedBackend(self, Tokenizer.from_str(tokenizer), *rest)
        self.backend = self.loaded.backend
        location = self.loaded.location  # the next child loads the same commit, whatever the hub has by then
        self._load |= {"name": location.name, "revision": location.commit or self._load.get("revision")}
        self._alive = True
        self._watcher = threading.Thread(target=self._watch, name="destila-watch", daemon=True)
        self._watcher.start()

    @property
    def running(self) -> bool:
        """Whether there is a child that takes runs."""
        return self._alive

    @property
    def down(self) -> bool:
        """Whether runs are refused, because the next child will be long in coming."""
        return self._down

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.process.pid

    def logits(self, input_ids: Integers, attention_mask: Integers) -> tuple[Logits, Logits]:
        """Start and end logits, both (B, T); called from one thread at a time."""
        with self._changed:
            self._changed.wait_for(lambda: self._alive or self._down or self._closing)
            child = self._child
            if not self._alive:
                raise ModelDownError("the model is being started again")
        try:
            child.connection.send((input_ids, attention_mask))
            if not child.connection.poll(HUNG_SECONDS):
                child.process.kill()
            kind, *content = child.connection.recv()
        except (EOFError, OSError):
            self._bury(child)
            raise ModelDiedError(f"process {child.process.pid} died") from None
        if kind == "failed":
            raise ModelFailedError(content[0])
        start, end = content
        return start, end

    def close(self) -> None:
        """End the child."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._child.connection.close()
        try:
            self._child.process.wait(5)
        except subprocess.TimeoutExpired:
            self._child.process.kill()
        self._watcher.join()

    # ------------------------------------------------------------------------------------------ its life
    def _start(self) -> tuple[Any, ...]:
        """A new child that has loaded the model, and what it says about it: see `_serve_model`."""
        ours, its = socket.socketpair()
        # -P: a file in the working directory must not stand in for a module.
        command = [sys.executable, "-P", "-m", "destila.serving.model_process", str(its.fileno())]
        with its:
            process = subprocess.Popen(
                command, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
        child = _Child(process, Connection(ours.detach()), time.monotonic())
        try:
            child.connection.send(self._load)
            if not child.connection.poll(HUNG_SECONDS):
                process.kill()
            kind, *content = child.connection.recv()
        except (EOFError, OSError):
            child.connection.close()
            raise ModelDiedError(f"exit code {process.wait()}") from None
        if kind == "refused":
            process.wait()
            raise UserError(*content)
        return child, *content

    def _bury(self, child: _Child) -> None:
        with self._changed:
            if child is self._child:
                self._alive = False

    def _watch(self) -> None:
        """Wait for the child's death and start the next, until the server closes."""
        pause = FIRST_PAUSE
        while True:
            code = self._child.process.wait()
            self._bury(self._child)
            if self._closing:
                return
            LOGGER.error("the model's process died", extra={"fields": {"exit_code": code}})
            quick = time.monotonic() - self._child.began < QUICK_DEATH
            pause = min(2 * pause, LONGEST_PAUSE) if quick else FIRST_PAUSE
            while not self._start_after(pause if quick else 0.0):
                if self._closing:
                    return
                quick, pause = True, min(2 * pause, LONGEST_PAUSE)

    def _start_after(self, pause: float) -> bool:
        """Whether the next child runs; runs are refused while it is long in coming."""
        with self._changed:
            self._down = self._down or pause > PATIENCE
            self._changed.notify_all()
            if self._changed.wait_for(lambda: self._closing, pause):
                return False
        try:
            child, *_ = self._start()
        except (ModelDiedError, UserError, OSError) as error:
            LOGGER.error("the model cannot be started", extra={"fields": {"error": type(error).__name__}})
            with self._changed:
                self._down = True
                self._changed.notify_all()
            return False
        with self._changed:
            if self._closing:
                child.connection.close()
                return False
            self._child.connection.close()
            self._child, self._alive, self._down = child, True, False
            self.restarts += 1
            self._changed.notify_all()
        LOGGER.warning("the model runs again", extra={"fields": {"process": child.process.pid}})
        return True


# ------------------------------------------------------------------------------------------ in the child
def _serve_model(connection: Connection) -> None:
    """Load a model and run it for whoever is at the other end, until they leave."""
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group; the server says when to end
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO, encoding="ascii")
    with contextlib.suppress(EOFError, OSError):
        try:
            # The server needs the cores between two runs: 45 % more requests a second on two of them.
            loaded = load_backend(**connection.recv(), spin=False)
        except UserError as error:
            connection.send(("refused", error.where, error.problem, error.remedy))
            return
        model = loaded.model
        tokens = getattr(model, "tokens_per_batch", TOKENS_PER_BATCH)
        parts = (loaded.tokenizer.to_str(), dict(loaded.config), loaded.metadata, loaded.location, loaded.backend)
        connection.send(("loaded", tokens, getattr(model, "one_by_one", False), *parts))
        while True:
            connection.send(_run(model.logits, *connection.recv()))


def _run(logits: Any, input_ids: Integers, attention_mask: Integers) -> tuple[Any, ...]:
    try:
        return ("logits", *logits(input_ids, attention_mask))
    except Exception as error:  # the run failed, the process lives on
        return ("failed", type(error).__name__)


if __name__ == "__main__":
    _serve_model(Connection(int(sys.argv[1])))
    os._exit(0)  # run times may hang in their own threads at the end
