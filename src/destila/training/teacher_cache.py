"""The teacher's start and end logits of all training windows, computed once and kept on the disk.

Shape legend: B batch, T tokens, N tokens of all windows together.

Mental model: one flat array (2, N) of float32, memory-mapped; the tokens of window i lie side by side, in the order of
the windows. Its file's name holds the digest of the teacher's weights and of the windows, so the logits of another
teacher, other data or other window settings are never read. The file appears whole or not at all: a run that is killed
while the teacher works leaves none, and the next begins again.

Invariant: what `CachedLogits.add_to` puts into a batch is what the teacher would give for those rows (to rounding,
which depends on how rows are padded). Several teachers are averaged as distributions, not as logits. What a teacher
with another tokenizer says is stored twice: in its own tokens, and carried over to those of the windows.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from destila.config.fields import Precision
from destila.core.caches import with_cache
from destila.core.errors import UserError
from destila.core.progress import Progress
from destila.core.runs import atomic_file
from destila.data.windows import Window
from destila.models.fingerprints import fingerprint, model_fingerprint, windows_fingerprint
from destila.models.forward import input_batches, span_logits
from destila.training.losses import TorchBatch
from destila.training.token_alignment import Translation

TOKENS = 8192  # of a batch while the teacher works
NARROW = {"bf16": torch.bfloat16, "fp16": torch.float16}
Logits = NDArray[np.float32]  # (2, N): starts, ends


class CachedLogits:
    """Logits of windows, by window.

    Args:
        arrays: one (2, N) array for each teacher.
        windows: those that the arrays were computed for, in order.
    """

    def __init__(self, arrays: Sequence[Logits], windows: Sequence[Window]) -> None:
        self.arrays = arrays
        ends = np.cumsum([len(window.input_ids) for window in windows])
        # An example's windows begin at different tokens of its context, so this pair names a window.
        self.ends = {(window.example, window.first_token): int(end) for window, end in zip(windows, ends, strict=True)}

    def add_to(self, batch: TorchBatch, rows: Sequence[Window]) -> TorchBatch:
        """The batch of these rows, with the teachers' logits."""
        shape = (2, *batch.input_ids.shape)
        total = torch.zeros(shape, dtype=torch.float32)
        for row, window in enumerate(rows):
            tokens, end = len(window.input_ids), self.ends[window.example, window.first_token]
            logits = torch.from_numpy(np.stack([array[:, end - tokens : end] for array in self.arrays]))  # (K, 2, T)
            total[:, row, :tokens] = mean_distribution(logits) if len(self.arrays) > 1 else logits[0]
        start, end_logits = total.to(batch.input_ids.device)
        return replace(batch, teacher_start=start, teacher_end=end_logits)


def mean_distribution(logits: torch.Tensor) -> torch.Tensor:
    """Logits of the mean of K distributions, from their logits (K, ..., T) over real tokens alone."""
    return logits.log_softmax(dim=-1).logsumexp(dim=0) - float(np.log(len(logits)))


def cached_logits(
    teachers: Sequence[Any],
    windows: Sequence[Window],
    *,
    directory: Path,
    translations: Sequence[Translation | None] | None = None,
    precision: Precision = "fp32",
) -> CachedLogits:
    """The logits of each teacher, from its file in `directory`, or computed and stored there.

    Args:
        translations: for each teacher, how its tokens lie on those of the windows; None where they are the same.
        precision: arithmetic of the teachers' matrix products; each has files of its own.

    Raises:
        UserError: a file is torn.
    """
    pairs = zip(teachers, translations or [None] * len(teachers), strict=True)
    arrays = [
        _said(teacher, windows, directory, precision)[1]
        if translation is None
        else _carried(teacher, translation, directory, precision)
        for teacher, translation in pairs
    ]
    return CachedLogits(arrays, windows)


def _tokens(windows: Sequence[Window]) -> int:
    return sum(len(window.input_ids) for window in windows)


def _said(teacher: Any, windows: Sequence[Window], directory: Path, precision: Precision) -> tuple[str, Logits]:
    """Logits of windows in the teacher's own tokens, and the name under which they are stored."""
    parts = {"model": model_fingerprint(teacher), "windows": windows_fingerprint(windows)}
    name = fingerprint(parts if precision == "fp32" else parts | {"precision": precision})

    def stored(place: Path) -> Logits:
        path = place / f"logits-{name}.npy"
        if not path.exists():
            _compute(teacher, windows, path, precision)
        return _opened(path, _tokens(windows))

    return name, with_cache(directory, stored)


def _carried(teacher: Any, translation: Translation, directory: Path, precision: Precision) -> Logits:
    """Logits of the student's windows from a teacher with another tokenizer."""
    ours, theirs = translation.student_windows, translation.windows
    said, logits = _said(teacher, theirs, directory, precision)
    name = fingerprint({"said": said, "windows": windows_fingerprint(ours), "tokenizers": translation.tokenizers})

    def stored(place: Path) -> Logits:
        path = place / f"carried-{name}.npy"
        if not path.exists():
            _carry(translation, logits, path)
        return _opened(path, _tokens(ours))

    return with_cache(directory, stored)


def _carry(translation: Translation, logits: Logits, path: Path) -> None:
    """Carry a teacher's logits over to the student's tokens, and store them."""
    ours, start = translation.student_windows, 0
    ends = np.cumsum([0, *(len(window.input_ids) for window in translation.windows)])
    with atomic_file(path) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=(2, _tokens(ours)))
        for number, window in enumerate(ours):
            parts = [logits[:, ends[place] : ends[place + 1]] for place in translation.span(number)]
            array[:, start : start + len(window.input_ids)] = translation.carried(number, parts)
            start += len(window.input_ids)
        array.flush()


def _opened(path: Path, total: int) -> Logits:
    try:
        array: Logits = np.load(path, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise UserError(str(path), f"is torn ({error})", "Delete it; it will be made again.") from error
    if array.shape != (2, total) or array.dtype != np.float32:
        problem = f"holds {array.dtype} of shape {array.shape}, not float32 of (2, {total})"
        raise UserError(str(path), problem, "Delete it; it will be made again.")
    return array


@torch.no_grad()
def _compute(teacher: Any, windows: Sequence[Window], path: Path, precision: Precision) -> None:
    """Run the teacher over all windows, longest first, and store its logits."""
    ends = np.cumsum([len(window.input_ids) for window in windows])
    progress = Progress(len(windows), what="asking the teacher", unit="window")
    teacher.eval()
    with atomic_file(path) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=(2, int(ends[-1])))
        for lot, *inputs in input_batches(teacher, windows, token_budget=TOKENS):
            with torch.autocast(teacher.device.type, NARROW.get(precision), enabled=precision in NARROW):
                logits = torch.stack(span_logits(teacher, *inputs)).float().cpu().numpy()  # (2, B, T)
            for row, place in enumerate(lot):
                tokens = len(windows[place].input_ids)
                array[:, ends[place] - tokens : ends[place]] = logits[:, row, :tokens]
            progress.advance(len(lot))
        array.flush()
        progress.close()
