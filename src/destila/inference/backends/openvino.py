"""Run an exported reader with OpenVINO: the fastest run time on x86 CPUs, above all in int8.

B batch, T tokens. OpenVINO compiles kernels for every new shape of its inputs (20 to 40 ms each, more than a whole
int8 forward pass of a small reader), so rows run one by one, padded to a multiple of 16 tokens: there are few shapes,
each is compiled once, and what is added costs 4 % of the work at 200 tokens.

Invariant: the arithmetic is what destila.json says, never what OpenVINO would choose by itself (it takes bf16 where
the processor has it). Importing this module needs neither torch nor transformers. It does not export.
"""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from destila.core.cpus import thread_count
from destila.core.errors import UserError
from destila.core.model_files import OPENVINO_FILE
from destila.data.tokenizers import load_tokenizer, pad_id
from destila.data.windows import LENGTH_STEP, longest_window
from destila.inference.backends import Integers, LoadedBackend, Logits, row_by_row
from destila.inference.backends.files import EXPORT_AGAIN, OUTPUTS, check_names, read_export, read_export_config
from destila.models.hub import Location

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # else it reports every use to its makers
import openvino  # noqa: E402

__all__ = ["OpenVinoModel", "load", "openvino"]

# int8: what stays in floating point runs in bf16 where the processor can; 4 % faster, and the accuracy gate covers it.
ARITHMETIC = {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}


class OpenVinoModel:
    """An openvino.xml, or a model in memory, on the CPU.

    Args:
        model: the file, or an `openvino.Model`.
        precision: "fp32", "bf16" or "int8".
        pad_id: fills the tokens that are added to reach a compiled length.
        longest: most tokens that the model has positions for.
        threads: 0: one for each usable core.

    Raises:
        UserError: it is torn, or is no reader.
    """

    one_by_one = True

    def __init__(self, model: Any, *, precision: str, pad_id: int, longest: int, threads: int = 0) -> None:
        self.pad_id, self.longest = pad_id, longest
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": thread_count(threads),
            "INFERENCE_PRECISION_HINT": ARITHMETIC[precision],
        }
        try:
            compiled = _core().compile_model(model, "CPU", options)
        except RuntimeError as error:
            problem = f"cannot be loaded by OpenVINO ({_last_line(error)})"
            raise UserError(str(model), problem, EXPORT_AGAIN) from error
        names = [[name for port in side for name in port.get_names()] for side in (compiled.inputs, compiled.outputs)]
        check_names(Path(str(model)), *names)
        self.request = compiled.create_infer_request()

    def logits(self, input_ids: Integers, attention_mask: Integers) -> tuple[Logits, Logits]:
        """Start and end logits, both (B, T), of (B, T) inputs."""
        return row_by_row(self._run, input_ids, attention_mask)

    def _run(self, input_ids: Integers, attention_mask: Integers) -> tuple[Logits, Logits]:
        tokens = input_ids.shape[1]
        more = min(-tokens % LENGTH_STEP, self.longest - tokens)
        ids = np.pad(input_ids, ((0, 0), (0, more)), constant_values=self.pad_id)
        self.request.infer({"input_ids": ids, "attention_mask": np.pad(attention_mask, ((0, 0), (0, more)))})
        start, end = (self.request.get_tensor(name).data[:, :tokens] for name in OUTPUTS)
        return start.astype(np.float32), end.astype(np.float32)  # copies: the next request overwrites its tensors


@cache
def _core() -> Any:
    """The process's only one, never let go of.

    OpenVINO gives the thread that first compiles a model a stack for signals, and takes it away in whichever thread
    lets go of the last core. Was that another, the next signal (Ctrl-C, SIGTERM) ended the process with SIGSEGV.
    """
    return openvino.Core()


def _last_line(error: BaseException) -> str:
    """OpenVINO stacks up where it was; what was wrong stands last."""
    return (str(error).strip().splitlines() or ["unknown"])[-1].rstrip(".")


def load(location: Location, *, threads: int = 0) -> LoadedBackend:
    """Load an exported directory.

    Raises:
        UserError: files are missing, torn, or not ours.
    """
    directory = location.directory
    metadata = read_export(directory, OPENVINO_FILE)
    tokenizer, config = load_tokenizer(directory), read_export_config(directory)
    model = OpenVinoModel(
        directory / OPENVINO_FILE,
        precision=metadata.precision,
        pad_id=pad_id(tokenizer, config),
        longest=longest_window(config),
        threads=threads,
    )
    return LoadedBackend(model, tokenizer, config, metadata, location)
