"""From fp32 to int8 after training: weights per channel, activations per tensor.

Two ways, one for each run time. onnxruntime: dynamic, activations are scaled anew in every call, so no data is needed.
OpenVINO: post-training quantization by NNCF, activation ranges come from calibration windows; it is faster, and costs
some F1, so there are three recipes from fastest to most careful and the caller tries them in order.

Invariant: nothing here judges the result: `destila.export` measures what was lost and refuses too much.
"""

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from destila.backends.files import INPUTS
from destila.windows import Batch

SINGLE_FILE = 100_000_000  # bytes in fp32; int8 weights of a larger model get a file of their own
# A paper-sized student on two cores took 36.4 ms with the first and 37.9 ms with the second, at 384 tokens.
RECIPES = ("plain", "SmoothQuant", "SmoothQuant, attention in bf16")


def quantize_onnx(source: Path, target: Path, *, masked: bool) -> None:
    """Write the model of `source` with dynamically quantized matrix products and int8 embeddings.

    Args:
        target: a file; large weights go into a second one beside it, which onnxruntime maps instead of copying.
        masked: keep the masks of attention. Without them rows must come without padding, as `OnnxModel` sends them in
            int8, and onnxruntime then runs attention in blocks that stay in the caches.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    for node in model.graph.node:
        if node.op_type == "MultiHeadAttention" and not masked:
            del node.input[3:]  # bias, padding mask, and the mask of (query, key) pairs: all that stands there
    with quiet():
        quantize_dynamic(
            model,
            target,
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=source.stat().st_size > SINGLE_FILE,
            # The fused attention is not a standard operator: the quantizer cannot infer what comes out of it.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    weights = target.with_name(f"{target.name}.data")
    if weights.exists():
        weights.chmod(target.stat().st_mode)  # onnx lets nobody else read it


def quantize_openvino(convert: Callable[[], Any], calibration: Sequence[Batch], *, recipe: str) -> Any:
    """Quantize an `openvino.Model`.

    Args:
        convert: makes a fresh fp32 model straight from torch; one that came by way of ONNX does not compile afterwards.
        calibration: what the ranges of the activations are measured on.
        recipe: one of RECIPES.
    """
    from destila.backends import openvino_backend  # noqa: F401  first: it switches reports to the makers off

    with quiet():
        import nncf

        advanced = nncf.AdvancedQuantizationParameters()
        if recipe == "plain":
            advanced.smooth_quant_alphas = nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)
        ignored = nncf.IgnoredScope(types=["ScaledDotProductAttention"]) if "bf16" in recipe else None
        rows = [dict(zip(INPUTS, (batch.input_ids, batch.attention_mask), strict=True)) for batch in calibration]
        return nncf.quantize(
            convert(),
            nncf.Dataset(rows),
            subset_size=len(rows),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=ignored,
            advanced_parameters=advanced,
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' warnings from the terminal and their bars from stdout, which carries results."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
