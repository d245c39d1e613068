"""From fp32 to int8 after training: weights per channel, activations per tensor, embeddings per row.

Two ways, one for each run time. onnxruntime: dynamic, activations are scaled anew in every call; calibration windows
only show which of their channels are too large for int8. OpenVINO: post-training quantization by NNCF, activation
ranges come from the windows; it is faster, and costs some F1, so there are two recipes, the fastest first, and the
caller tries them in order.

The same answer on every processor: x86 without VNNI multiplies unsigned activations by signed weights with VPMADDUBSW,
which adds two neighboring products in 16 bits and saturates. So two neighbors among the weights of an output are
never further from zero than 128 together (255 x 128 < 2^15), and products of two activations stay in floating point.

Invariant: nothing here judges the result: `destila.export.convert` measures what was lost and refuses too much.
"""

import contextlib
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from destila.data.windows import Batch
from destila.export.outliers import split_outliers
from destila.inference.backends.files import INPUTS

SINGLE_FILE = 100_000_000  # bytes in fp32; int8 weights of a larger model get a file of their own
SMALLEST = 1024  # bytes of a tensor that goes there
RECIPES = ("plain", "SmoothQuant")
LARGEST = 127  # of an int8 weight, and of two neighbors before they are rounded
# The span head has two outputs: in int8 there is nothing to win, and a sixth of the squared error came from there.
NARROW = 16


def quantize_onnx(source: Path, target: Path, *, masked: bool, calibration: Sequence[Batch] = ()) -> None:
    """Write the model of `source` with dynamically quantized matrix products and int8 embeddings.

    Args:
        target: a file; large weights go into a second one beside it, which onnxruntime maps instead of copying.
        masked: keep the masks of attention. Without them rows must come without padding, as `OnnxModel` sends them in
            int8, and onnxruntime then runs attention in blocks that stay in the caches.
        calibration: windows that show which channels of the inputs are outliers; none: all are taken as equals.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    for node in model.graph.node:
        if node.op_type == "MultiHeadAttention" and not masked:
            del node.input[3:]  # bias, padding mask, and the mask of (query, key) pairs: all that stands there
    _quantize_embeddings(model.graph)
    weights = {name: each for name, each in _weights(model.graph, "MatMul", 1).items() if each.shape[1] >= NARROW}
    weights = {name: each for name, each in weights.items() if name not in _first_comparison(model.graph, weights)}
    weights = split_outliers(model, weights, calibration)
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    with quiet(), tempfile.TemporaryDirectory() as temporary:
        quantize_dynamic(
            model,
            path := Path(temporary, target.name),
            per_channel=True,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=[node.name for node in products if weights.keys() & set(node.input)],
            # The fused attention is not a standard operator: the quantizer cannot infer what comes out of it.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        model = onnx.load(path)
    _replace_weights(model.graph, weights)
    beside, large = target.with_name(f"{target.name}.data"), source.stat().st_size > SINGLE_FILE
    beside.unlink(missing_ok=True)  # onnx would append to it
    onnx.save(model, target, save_as_external_data=large, location=beside.name, size_threshold=SMALLEST)
    if large:
        beside.chmod(target.stat().st_mode)  # onnx lets nobody else read it


def without_overflow(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """The int8 weights (inputs, outputs) and scales (outputs,) of a matrix product.

    Seven bits for every weight would do as well, and are half as fine; two neighbors are seldom both large. Which two
    are added depends on where a block of the input begins, so all neighbors count.
    """
    two = np.stack([weight[:-1], weight[1:]])
    sums = np.maximum(two.clip(min=0).sum(axis=0), (-two).clip(min=0).sum(axis=0))  # of those that pull the same way
    scale = _nonzero(np.maximum(sums.max(axis=0, initial=0), np.abs(weight).max(axis=0)) / LARGEST)
    return np.round(weight / scale).astype(np.int8), scale


def _replace_weights(graph: Any, weights: dict[str, NDArray[np.float32]]) -> None:
    """Put weights that cannot overflow in the place of onnxruntime's own."""
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for name, weight in weights.items():
        quantized, scale = without_overflow(weight)
        tensors[f"{name}_quantized"].CopyFrom(numpy_helper.from_array(quantized, f"{name}_quantized"))
        tensors[f"{name}_scale"].CopyFrom(numpy_helper.from_array(scale, f"{name}_scale"))


def _quantize_embeddings(graph: Any) -> None:
    """Look rows up in int8, each with a scale of its own: onnxruntime's quantizer has one scale for the whole table."""
    from onnx import TensorProto, helper, numpy_helper

    columns = {node.input[0] for node in graph.node if any(each.name == "axis" and each.i for each in node.attribute)}
    tables = {name: table for name, table in _weights(graph, "Gather", 0).items() if name not in columns}
    nodes = list(graph.node)
    for name, table in tables.items():
        scale = _nonzero(np.abs(table).max(axis=1, keepdims=True) / LARGEST)
        quantized = np.round(table / scale).astype(np.int8)
        graph.initializer.append(numpy_helper.from_array(quantized, f"{name}_quantized"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
    kept = [tensor for tensor in graph.initializer if tensor.name not in tables]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    for node in nodes:
        if node.op_type != "Gather" or node.input[0] not in tables:
            graph.node.append(node)
            continue
        (table_name, places), (output,) = node.input, node.output
        rows, real, scales = (f"{output}_{ending}" for ending in ("rows", "real", "scales"))
        graph.node.append(helper.make_node("Gather", [f"{table_name}_quantized", places], [rows], rows))
        graph.node.append(helper.make_node("Gather", [f"{table_name}_scale", places], [scales], scales))
        graph.node.append(helper.make_node("Cast", [rows], [real], real, to=TensorProto.FLOAT))
        graph.node.append(helper.make_node("Mul", [real, scales], [output], node.name))


def _first_comparison(graph: Any, weights: Container[str]) -> set[str]:
    """Those of `weights` that make the queries and keys of the first attention: whatever is wrong there grows most.

    With them in floating point a reader of 4 layers gave torch's answer to 98.1 % of the questions of dev, and without
    to 97.6 %, at 4 % of its products; all queries and keys (98.8 %) would be 17 %, and cost a sixth of the speed of a
    paper-sized student.
    """
    makers = {output: node for node in graph.node for output in node.output}

    def before(name: str) -> list[str]:
        node = makers.get(name)
        sources = list(node.input) if node is not None else []
        return [source for source in sources if source in weights] or sources

    first = next((node for node in graph.node if node.op_type == "MultiHeadAttention"), None)
    return _nearest(first.input[:2] if first else [], before, lambda name: name in weights)


def _nearest(names: Iterable[str], before: Callable[[str], Sequence[str]], wanted: Callable[[str], bool]) -> set[str]:
    """The first wanted names on all ways upstream from `names`."""
    left, found, seen = list(names), set[str](), set[str]()
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        if wanted(name):
            found.add(name)
        else:
            left += before(name)
    return found


def _weights(graph: Any, operator: str, place: int) -> dict[str, NDArray[np.float32]]:
    """The matrices of floats that every node which takes them takes as this input of this operator, by name."""
    from onnx import TensorProto, numpy_helper

    uses = [(name, node.op_type, at) for node in graph.node for at, name in enumerate(node.input)]
    names = {name for name, *_ in uses} - {name for name, *use in uses if use != [operator, place]}
    found = [tensor for tensor in graph.initializer if tensor.name in names and len(tensor.dims) == 2]
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in found if tensor.data_type == TensorProto.FLOAT}


def _nonzero(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Any scale does for weights that are all zero."""
    return np.where(scale > 0, scale, 1).astype(np.float32)


def quantize_openvino(convert: Callable[[], Any], calibration: Sequence[Batch], *, recipe: str) -> Any:
    """Quantize an `openvino.Model`.

    Args:
        convert: makes a fresh fp32 model straight from torch; one that came by way of ONNX does not compile afterwards.
        calibration: what the ranges of the activations are measured on.
        recipe: one of RECIPES.
    """
    from destila.inference.backends import openvino as openvino_backend  # noqa: F401  first: it switches reports to the makers off

    with quiet():
        import nncf

        advanced = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)  # weights of 7 bits
        if recipe == "plain":
            advanced.smooth_quant_alphas = nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)
        model = convert()
        # Attention multiplies activations by activations, 8 bits each: no weights that could be kept small.
        ignored = nncf.IgnoredScope(types=["ScaledDotProductAttention"], names=_sensitive(model))
        rows = [dict(zip(INPUTS, (batch.input_ids, batch.attention_mask), strict=True)) for batch in calibration]
        return nncf.quantize(
            model,
            nncf.Dataset(rows),
            subset_size=len(rows),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=ignored,
            advanced_parameters=advanced,
        )


def _sensitive(model: Any) -> list[str]:
    """The names of an OpenVINO model's products that stay in floating point: narrow ones, and all queries and keys.

    Ranges of activations are fixed here, so more is lost than in onnxruntime, and the products cost no time that could
    be measured (a paper-sized student on a processor with AMX).
    """
    nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    products = {name for name, node in nodes.items() if node.get_type_name() == "MatMul"}
    last = {name: nodes[name].get_output_partial_shape(0)[-1] for name in products}
    narrow = {name for name, size in last.items() if size.is_static and size.get_length() < NARROW}

    def before(name: str) -> list[str]:
        return [port.get_source_output().get_node().get_friendly_name() for port in nodes[name].inputs()]

    attention = [name for name, node in nodes.items() if node.get_type_name() == "ScaledDotProductAttention"]
    compared = [made for name in attention for made in before(name)[:2]]
    return sorted(narrow | _nearest(compared, before, products.__contains__))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' warnings from the terminal and their bars from stdout, which carries results."""
    before = logging.root.manager.disable  # one of these blocks may stand in another
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        logging.disable(max(before, logging.WARNING))
        try:
            yield
        finally:
            logging.disable(before)
