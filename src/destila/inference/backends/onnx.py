"""Run an exported reader with onnxruntime: the run time of the base install.

B batch, T tokens. In int8 the scale of activations is taken from the whole input of each call, so rows are run one by
one and without their padding: else an answer would depend on what else was asked; in fp32, too, in its last bits. That
costs no time (docs/log.md). Where there are many rows, each core runs rows of its own: the threads of a small model
wait more than they compute together.

Invariant: importing this module needs neither torch nor transformers. It does not export.
"""

import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime

from destila.core.cpus import thread_count
from destila.core.errors import UserError
from destila.core.model_files import ONNX_FILE
from destila.data.tokenizers import load_tokenizer
from destila.inference.backends import Integers, LoadedBackend, Logits, row_by_row
from destila.inference.backends.files import EXPORT_AGAIN, INPUTS, OUTPUTS, check_names, read_export, read_export_config
from destila.models.hub import Location

# A residual sum fused with its layer norm took 12.6 ms of the 100 of a paper-sized student; apart they take 3.
SLOWER_FUSED = ["SkipLayerNormFusion"]
ROWS_PER_THREAD = 2  # fewer are not worth a second session


class OnnxModel:
    """A model.onnx on the CPU.

    Args:
        path: the file.
        threads: 0: one for each usable core.
        spin: threads wait for their next task awake: faster for one question on idle cores, and slower for all where
            other work wants them.
        lean: keep no second copy of weights and no memory between runs: 5 MB less for a paper-sized student, whose
            runs take a seventh longer at 384 tokens and a fifth at 192.

    Raises:
        UserError: it is torn, or is no reader.
    """

    one_by_one = True

    def __init__(self, path: Path, *, threads: int = 0, spin: bool = True, lean: bool = False) -> None:
        self.path, self.threads, self.spin, self.lean = path, thread_count(threads), spin, lean
        self.session = self._session(self.threads)
        names = [[value.name for value in side] for side in (self.session.get_inputs(), self.session.get_outputs())]
        check_names(path, *names)

    def _session(self, threads: int) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.spin)))
        if self.lean:
            options.enable_cpu_mem_arena = False
            options.add_session_config_entry("session.disable_prepacking", "1")
        options.log_severity_level = 4  # what matters is raised
        options.enable_mem_pattern = False  # it keeps a plan and a block of memory for each length that was ever seen
        try:
            return onnxruntime.InferenceSession(
                str(self.path), options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOWER_FUSED
            )
        except Exception as error:  # onnxruntime has one class for each kind of failure, without a common root
            problem = f"cannot be loaded by onnxruntime ({str(error).splitlines()[0]})"
            raise UserError(str(self.path), problem, EXPORT_AGAIN) from error

    @functools.cached_property
    def _side_by_side(self) -> tuple[onnxruntime.InferenceSession, ThreadPoolExecutor]:
        """A session whose runs take one thread each, and the threads to call it from."""
        return self._session(1), ThreadPoolExecutor(self.threads, thread_name_prefix="destila-rows")

    def logits(self, input_ids: Integers, attention_mask: Integers) -> tuple[Logits, Logits]:
        """Start and end logits, both (B, T), of (B, T) inputs."""
        many = self.threads > 1 and len(input_ids) >= ROWS_PER_THREAD * self.threads
        session, pool = self._side_by_side if many else (self.session, None)
        return row_by_row(functools.partial(_run, session), input_ids, attention_mask, pool)


def _run(session: onnxruntime.InferenceSession, input_ids: Integers, attention_mask: Integers) -> tuple[Logits, Logits]:
    start, end = session.run(OUTPUTS, dict(zip(INPUTS, (input_ids, attention_mask), strict=True)))
    return np.asarray(start, np.float32), np.asarray(end, np.float32)


def load(location: Location, *, threads: int = 0, spin: bool = True, lean: bool = False) -> LoadedBackend:
    """Load an exported directory.

    Raises:
        UserError: files are missing, torn, or not ours.
    """
    directory = location.directory
    metadata = read_export(directory, ONNX_FILE)
    model = OnnxModel(directory / ONNX_FILE, threads=threads, spin=spin, lean=lean)
    return LoadedBackend(model, load_tokenizer(directory), read_export_config(directory), metadata, location)
