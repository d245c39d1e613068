"""Run a transformers question answering model with torch: teachers, students, and the live model during training.

    B batch, T tokens

Invariant: running a model changes nothing about it: not its mode, not its gradients, not a random generator.
"""

import logging
from typing import Any

import numpy as np
import torch

from destila.core.cpus import thread_count
from destila.inference.backends import Integers, LoadedBackend, Logits, row_by_row
from destila.models.files import load_reader, span_logits
from destila.models.hub import Location

LOG = logging.getLogger(__name__)


class TorchModel:
    """A model on the device where it lies. It may be one that is being trained.

    Args:
        model: a transformers question answering model, perhaps wrapped for several processes.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def tokens_per_batch(self) -> int:
        """How many padded tokens to read at once: a graphics card is only busy with many."""
        return 2048 if self.one_by_one else 65_536

    @property
    def one_by_one(self) -> bool:
        """Whether rows run alone; on a graphics card they do not."""
        return bool(next(self.model.parameters()).device.type != "cuda")

    def logits(self, input_ids: Integers, attention_mask: Integers) -> tuple[Logits, Logits]:
        """Start and end logits, both (B, T), without dropout."""
        training = self.model.training
        self.model.eval()
        try:
            if self.one_by_one:
                return row_by_row(self._run, input_ids, attention_mask)
            return self._run(input_ids, attention_mask)
        finally:
            self.model.train(training)

    def _run(self, *arrays: Integers) -> tuple[Logits, Logits]:
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            start, end = span_logits(self.model, *(torch.from_numpy(array).to(device) for array in arrays))
        return _array(start), _array(end)


def _array(logits: torch.Tensor) -> Logits:
    return np.asarray(logits.float().cpu().numpy(), np.float32)


def load(location: Location, *, threads: int = 0) -> LoadedBackend:
    """Load a reader on the graphics card if there is one, else on the CPU."""
    loaded = load_reader(location.name, revision=location.commit)
    most = thread_count(threads)
    torch.set_num_threads(most if threads else min(torch.get_num_threads(), most))
    if torch.cuda.is_available():
        LOG.info(f"{location.name} runs on {torch.cuda.get_device_name()}: torch found it.")
        loaded.model.to("cuda")
    config = loaded.model.config.to_dict()
    return LoadedBackend(TorchModel(loaded.model), loaded.tokenizer, config, loaded.metadata, location)
