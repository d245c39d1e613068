"""Digests of what a stored measurement depends on: weights and windows.

Mental model: what is computed once from a teacher is kept in a file whose name ends in the digest of everything that it
was computed from; another teacher, other data or other settings make another name, so a stale file is never read. This
module stores nothing itself.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from destila.core.strict_json import dumps
from destila.data.windows import Window


def model_fingerprint(model: Any) -> str:
    """Digest of a model's configuration and of every weight, bit for bit; its dtype counts, its device does not."""
    digest = hashlib.blake2b(model.config.model_type.encode(), digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        # Bytes rather than numbers: bfloat16 has no numpy type.
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def windows_fingerprint(windows: Sequence[Window]) -> str:
    """Digest of what a model sees of windows: token ids, in order, and where the context lies."""
    digest = hashlib.blake2b(digest_size=16)
    for window in windows:
        digest.update(np.array([len(window.input_ids), window.context_start, window.context_end], np.int64).data)
        digest.update(np.ascontiguousarray(window.input_ids).data)
    return digest.hexdigest()


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Digest of plain values: numbers, texts, lists and tables of them."""
    text = dumps(parts, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
