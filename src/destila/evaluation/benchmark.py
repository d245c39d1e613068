"""How fast a reader answers, from text to answer, and what it takes to have it.

Mental model: all readers are loaded side by side and take turns query by query, so that what slows the machine down
for a while slows all of them. A query is real Spanish text of an exact number of tokens, by the reader's own tokenizer.
What a process needs from a standing start is measured in fresh processes.

Invariant: nothing is timed before every reader has answered such a query once. This module prints nothing and compares
nothing.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any

import numpy as np

from destila.core.errors import UserError
from destila.core.records import Example
from destila.core.strict_json import dumps
from destila.data.windows import WindowBuilder
from destila.inference.backends import LoadedBackend, load_backend
from destila.inference.places import name_of, place_of
from destila.inference.questions import Pair
from destila.inference.reader import Reader

QUESTION = "¿En qué año fundó Francisco Pizarro la ciudad de Lima?"
PASSAGE = (
    "La ciudad de Lima fue fundada por Francisco Pizarro el 18 de enero de 1535 junto al río Rímac, en el valle que "
    "gobernaba el curaca Taulichusco. Pronto fue la capital del virreinato del Perú y el mayor puerto comercial de la "
    "costa del Pacífico; su universidad, San Marcos, abrió sus puertas en 1551. Un terremoto la destruyó casi por "
    "completo en 1746, y la reconstrucción duró décadas. Tras la independencia, proclamada en 1821, siguió siendo el "
    "centro político del país, y hoy viven en ella más de diez millones de personas. "
)


@dataclass(frozen=True)
class Candidate:
    """A reader that takes part."""

    name: str
    place: str  # its directory or hub id
    reader: Reader
    backend: str  # what runs it
    precision: str  # its arithmetic
    parameters: int  # weights of the network, whatever their type
    bytes: int  # size of the files in its directory


@dataclass(frozen=True)
class ColdStart:
    """What a fresh process needs to answer one query."""

    seconds: float  # from starting the interpreter to the answer
    peak_rss_mb: float  # most memory that it held, in MiB
    installed_mb: float  # size of the installed packages that it loaded, in MiB


def load_candidate(model: str | None, *, backend: str, threads: int) -> Candidate:
    """Load a reader (None: the one that ships) and count what it consists of."""
    place, name = place_of(model), name_of(model)
    loaded = load_backend(place, backend, threads=threads)
    reader = Reader.of(loaded, name=name)
    kind = type(loaded.model).__module__.rpartition(".")[2]
    precision = "fp32" if kind == "torch" else loaded.metadata.precision
    size = sum(file.stat().st_size for file in loaded.location.directory.glob("*") if file.is_file())
    return Candidate(name, place, reader, kind, precision, _parameters(loaded, kind), size)


def _parameters(loaded: LoadedBackend, kind: str) -> int:
    if kind == "torch":
        return sum(weight.numel() for weight in loaded.model.model.parameters())  # type: ignore[attr-defined]
    return loaded.metadata.parameters


# ---------------------------------------------------------------------------------------------------- queries
def query(reader: Reader, *, tokens: int) -> Pair:
    """A question and a context that fill one window of `tokens` tokens exactly, or a token or two less.

    Raises:
        UserError: the reader's windows are shorter, or the question does not fit.
    """
    if tokens > reader.window.length:
        problem = f"{tokens} is more than the {reader.window.length} tokens of the windows of {reader.name}"
        raise UserError("lengths", problem, "Choose a shorter length.")
    builder = WindowBuilder(reader.tokenizer, length=tokens, stride=0, pad_id=reader.builder.pad_id)
    text = PASSAGE * (1 + tokens // 20)  # even a token for each five letters would be too many
    first = builder.build([Example("query", QUESTION, text)])[0]
    for end in reversed(first.offsets[:, 1].tolist()):
        # A cut inside of a word may give it other tokens than it had in the whole text.
        if len(builder.build([Example("query", QUESTION, text[:end])])) == 1:
            return QUESTION, text[:end]
    raise UserError("lengths", f"{tokens} tokens hold no context", "Choose a greater length.")


def queries(reader: Reader, *, tokens: int, count: int) -> list[Pair]:
    """`count` queries with contexts of a third of `tokens` up to all of it, as in a real mixture."""
    question, context = query(reader, tokens=tokens)
    cuts = np.linspace(len(context) / 3, len(context), count).astype(int)
    return [(question, context[:cut]) for cut in cuts]


# ---------------------------------------------------------------------------------------------------- warm
def latencies(readers: Sequence[Reader], *, tokens: int, rounds: int, tick: Callable[[], None]) -> list[list[float]]:
    """Milliseconds of each query of each reader, from text to answer; `rounds` of them."""
    asked = [query(reader, tokens=tokens) for reader in readers]
    return _take_turns(
        [partial(reader.answer, *pair) for reader, pair in zip(readers, asked, strict=True)],
        rounds=rounds,
        tick=tick,
        settle=True,
    )


def throughputs(
    readers: Sequence[Reader], *, tokens: int, count: int, rounds: int, tick: Callable[[], None]
) -> list[float]:
    """Queries per second of each reader when `count` are asked at once: the median over the rounds."""
    asked = [queries(reader, tokens=tokens, count=count) for reader in readers]
    times = _take_turns(
        [partial(reader.answer_batch, pairs) for reader, pairs in zip(readers, asked, strict=True)],
        rounds=rounds,
        tick=tick,
    )
    return [1000 * count / float(np.median(values)) for values in times]


def _take_turns(
    calls: Sequence[Callable[[], Any]], *, rounds: int, tick: Callable[[], None], settle: bool = False
) -> list[list[float]]:
    """Milliseconds of every call in every round, after one round that does not count.

    Args:
        settle: before each timed call, make the same one untimed: the threads of the run time before may still spin
            (torch's do, for some milliseconds), and the caches hold its weights.
    """
    times: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + 1):
        for call, values in zip(calls, times, strict=True):
            if settle and number:
                call()
            started = time.perf_counter()
            call()
            if number:
                values.append(1000 * (time.perf_counter() - started))
        tick()
    return times


def share_outside_network(reader: Reader, *, tokens: int, count: int) -> float:
    """Part of the time of `count` queries that is spent on texts: tokens, windows, batches and answers."""
    examples = [Example(str(number), *pair) for number, pair in enumerate(queries(reader, tokens=tokens, count=count))]
    network = _Stopwatch(reader.model)
    started = time.perf_counter()
    Reader(network, reader.tokenizer, window=reader.window, pad_id=reader.builder.pad_id, name=reader.name).predict(
        examples
    )
    return 1 - network.seconds / (time.perf_counter() - started)


class _Stopwatch:
    """A model that knows how long it ran."""

    def __init__(self, model: Any) -> None:
        self.model, self.seconds = model, 0.0

    def logits(self, input_ids: Any, attention_mask: Any) -> Any:
        """The model's own."""
        started = time.perf_counter()
        try:
            return self.model.logits(input_ids, attention_mask)
        finally:
            self.seconds += time.perf_counter() - started


# ---------------------------------------------------------------------------------------------------- cold
def cold_start(name: str, *, backend: str, threads: int, pair: Pair) -> ColdStart:
    """Start a fresh process and let it answer one query.

    Raises:
        UserError: it fails.
    """
    command = [sys.executable, "-c", f"from {__name__} import _answer_once; _answer_once()"]
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(dumps([name, backend, threads, *pair], ascii=True).encode())
            process.stdin.close()
            answered = process.stdout.readline()
            seconds = time.perf_counter() - started
            rest = process.stdout.read()
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()
    if process.returncode or not answered:
        raise UserError(name, f"fails in a fresh process ({said[-300:]})", "Try destila answer with it.")
    sizes = json.loads(rest)
    return ColdStart(seconds, sizes["peak_rss_mb"], sizes["installed_mb"])


def _answer_once() -> None:
    """What the fresh process does: answer, say so, then count what it took."""
    name, backend, threads, question, context = json.load(sys.stdin)
    Reader.load(name, backend=backend, threads=threads).answer(question, context)
    print("answered", flush=True)
    peak = _peak_bytes() / 1024**2
    loaded = {module.partition(".")[0] for module in sys.modules}
    print(dumps({"peak_rss_mb": peak, "installed_mb": _installed_bytes(loaded) / 1024**2}))


def _peak_bytes() -> int:
    """Most memory that this process held. Linux's getrusage would count what its parent held when it was forked."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _installed_bytes(modules: set[str]) -> int:
    """Size of all files of the distributions that these top-level modules belong to."""
    owners = packages_distributions()
    names = {owner for module in modules for owner in owners.get(module, [])}
    files = {Path(str(file.locate())) for name in names for file in distribution(name).files or []}
    return sum(file.stat().st_size for file in files if file.is_file())
