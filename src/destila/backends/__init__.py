"""What runs a model: one class per run time behind one protocol, picked by what lies in the model's directory.

Mental model: a backend turns token ids into start and end logits and knows nothing else; texts, windows and answers are
`destila.reader`'s. Invariant: every backend of one model gives the same logits, within the tolerance of its arithmetic.
Run times are imported only when a model needs them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from destila.errors import UserError

Logits = NDArray[np.float32]
Integers = NDArray[np.int64]


class SpanModel(Protocol):
    """A network that scores every token as the start and as the end of the answer."""

    def logits(self, input_ids: Integers, attention_mask: Integers) -> tuple[Logits, Logits]:
        """Start and end logits, both (B, T), of (B, T) token ids; what stands at padding means nothing."""
        ...


@dataclass(frozen=True)
class LoadedBackend:
    """A model that is ready to run, and what lay beside it.

    Attributes:
        config: the content of config.json.
        metadata: the content of destila.json; empty where there is none.
    """

    model: SpanModel
    tokenizer: Tokenizer
    config: Mapping[str, Any]
    metadata: Mapping[str, Any]


def load_backend(name: str, backend: str = "auto", *, revision: str | None = None) -> LoadedBackend:
    """Load a model with the run time that fits it.

    Args:
        name: a local directory or a hub id.
        backend: "auto", "torch", "onnx" or "openvino".
        revision: commit of the hub repository.

    Raises:
        UserError: no such model, it is broken, or its run time is not installed.
    """
    if backend not in ("auto", "torch"):
        raise UserError(name, f"holds no model for {backend}", "Choose --backend torch.")
    try:
        from destila.backends.torch_backend import load
    except ImportError as error:
        remedy = "Install what runs it: pip install 'destila[train]'."
        raise UserError(name, f"is run by torch and transformers, and {error.name} is missing", remedy) from error
    return load(name, revision=revision)
