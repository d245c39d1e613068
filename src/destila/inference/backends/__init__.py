"""What runs a model: one class per run time behind one protocol, picked by what lies in the model's directory.

Mental model: a backend turns token ids into start and end logits and knows nothing else; texts, windows and answers are
`destila.inference.reader`'s. Invariant: every backend of one model gives the same logits, within the tolerance of its
arithmetic. Run times are imported only when a model needs them.
"""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.model_files import CONFIG_FILE, ONNX_FILE, OPENVINO_FILE, PICKLES, find_files, torch_weights
from destila.models.directory import require_model
from destila.models.hub import Location, locate

LOG = logging.getLogger(__name__)

Logits = NDArray[np.float32]
Integers = NDArray[np.int64]


class SpanModel(Protocol):
    """A network that scores every token as the start and as the end of the answer.

    It may have two attributes more: `tokens_per_batch`, the padded tokens of a run that suit it, and `one_by_one`, that
    it cuts every row to its own length, so that rows of any lengths may run together.
    """

    def logits(self, input_ids: Integers, attention_mask: Integers) -> tuple[Logits, Logits]:
        """Start and end logits, both (B, T), of (B, T) token ids; what stands at padding means nothing."""
        ...


def row_by_row(
    run: Callable[[Integers, Integers], tuple[Logits, Logits]],
    input_ids: Integers,
    attention_mask: Integers,
    pool: Executor | None = None,
) -> tuple[Logits, Logits]:
    """Start and end logits, both (B, T), of rows that run alone, each cut to its own length.

    Beside others and before padding, sums are added in another order, and an answer would depend, in the last bits of
    its score, on what else was asked.

    Args:
        pool: runs rows side by side, the longest first.
    """
    start, end = (np.zeros(input_ids.shape, np.float32) for _ in range(2))
    lengths = attention_mask.sum(axis=1)

    def run_one(row: int) -> None:
        cut = slice(row, row + 1), slice(0, lengths[row])  # padding stands on the right
        start[cut], end[cut] = run(input_ids[cut], attention_mask[cut])

    rows = range(len(lengths)) if pool is None else np.argsort(lengths)[::-1].tolist()
    for _ in (map if pool is None else pool.map)(run_one, rows):
        pass  # what one raises is raised here
    return start, end


@dataclass(frozen=True)
class LoadedBackend:
    """A model that is ready to run, and what lay beside it."""

    model: SpanModel
    tokenizer: Tokenizer
    config: Mapping[str, Any]  # the content of config.json
    metadata: ModelMetadata  # its destila.json; empty where there is none
    location: Location  # where its files are, and which commit of the hub they are
    backend: str = ""  # what runs it: "torch", "onnx" or "openvino"


# What a model's directory holds, and what runs it, fastest first: (backend, file, what to install).
CHOICES = (("openvino", OPENVINO_FILE, "openvino"), ("onnx", ONNX_FILE, "onnxruntime"), ("torch", CONFIG_FILE, "torch"))
EXTRAS = {"openvino": "destila[openvino]", "onnx": "destila", "torch": "destila[train]"}


def load_backend(
    name: str,
    backend: str = "auto",
    *,
    revision: str | None = None,
    threads: int = 0,
    spin: bool = True,
    lean: bool = False,
) -> LoadedBackend:
    """Load a model with the run time that fits it.

    Args:
        name: a local directory, a hub id, or hub-id@revision.
        backend: "auto" (the fastest that is installed of those that the directory has files for), "torch", "onnx" or
            "openvino".
        revision: branch, tag or commit of the hub repository.
        threads: of the run time; 0: one for each core that this process may use.
        spin: onnxruntime's threads wait awake; false where other work wants the cores, as in a server.
        lean: onnxruntime takes less memory and more time for a question: for a process that asks few.

    Raises:
        UserError: no such model, it is broken, or its run time is not installed.
    """
    location = locate(name, revision)
    chosen = _choose(location, backend)
    try:
        if chosen == "torch":
            from destila.inference.backends import torch as torch_backend

            return replace(torch_backend.load(location, threads=threads), backend=chosen)
        module = import_module(f"destila.inference.backends.{chosen}")
    except ImportError as error:
        problem = f"is run by {chosen}, and {error.name} is missing"
        raise UserError(name, problem, f"Install what runs it: pip install '{EXTRAS[chosen]}'.") from error
    manner = {"spin": spin, "lean": lean} if chosen == "onnx" else {}
    loaded: LoadedBackend = module.load(location, threads=threads, **manner)
    return replace(loaded, backend=chosen)


def _choose(location: Location, backend: str) -> str:
    """Which backend runs the model; says so in the log where there was a choice."""
    if backend != "auto" and backend not in EXTRAS:
        raise UserError("backend", f"is {backend!r}", f"Choose one of auto, {', '.join(EXTRAS)}.")
    name, directory = location.label, location.directory
    exported = [choice for choice, file, _ in CHOICES[:2] if (directory / file).is_file()]
    if not exported:
        require_model(directory)  # before torch, which may be missing, is asked for
    has_weights = bool(torch_weights(directory) or find_files(directory, PICKLES))
    found = exported + ["torch"] * (not exported or has_weights)
    if backend != "auto":
        if backend not in found:
            remedy = f"It holds one for {' and '.join(found)}; destila export makes others."
            raise UserError(name, f"holds no model for {backend}", remedy)
        return backend
    installed = [choice for choice, _, library in CHOICES if choice in found and find_spec(library)]
    if len(found) > 1 and installed:
        others = ", ".join(choice for choice in found if choice != installed[0])
        why = "the fastest of those installed" if len(installed) > 1 else "the only one installed"
        LOG.info(f"{name}: run by {installed[0]}, {why}; it also has files for {others}.")
    return (installed or found)[0]
