"""Input channels of matrix products that are far larger than the others: multiplied apart, in floating point.

int8 scales a whole input by its largest number. In encoders of the BERT kind a few channels are five to ten times as
large as all others, at every token or at some, so most of the 256 steps are spent on them. Those channels leave the
int8 product and have one of their own, eight columns wide (the decomposition of LLM.int8(), Dettmers et al., 2022,
arXiv 2208.07339, with channels fixed by calibration instead of found in every call).

Shape legend: T tokens, K inputs, N outputs.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from destila.data.windows import Batch
from destila.inference.backends.files import INPUTS

Floats = NDArray[np.float32]
OUTLIERS = 8  # channels that leave; sixteen gave no more
FAR = 2.0  # times the largest of the channels that stay: below, leaving gains less than a bit


def split_outliers(model: Any, weights: Mapping[str, Floats], calibration: Sequence[Batch]) -> dict[str, Floats]:
    """Rewrite an onnx model so that outlier channels bypass the products of `weights`, which are to be quantized.

    Args:
        model: an `onnx.ModelProto`, changed in place.
        weights: (K, N) by the name of their initializer.
        calibration: windows on which inputs are measured; none: nothing is changed.

    Returns:
        The weights as they are now: rows of the channels that left are zero.
    """
    products = _products(model.graph, weights)
    ranges = _ranges(model, {node.input[0] for node in products.values()}, calibration) if calibration else {}
    outliers = {name: found for name, each in ranges.items() if (found := outlier_channels(each)) is not None}
    changed = {name: node for name, node in products.items() if node.input[0] in outliers}
    split = dict(weights)
    for name, node in changed.items():
        split[name] = _bypass(model.graph, node, weights[name], outliers[node.input[0]])
    for source, channels in outliers.items():
        _divide(model.graph, source, channels, width=len(ranges[source]), products=list(changed.values()))
    return split


def outlier_channels(ranges: Floats) -> NDArray[np.int64] | None:
    """The channels that leave, ascending; None: none is far from the others.

    Args:
        ranges: (K,) the largest absolute value of each channel.
    """
    if len(ranges) <= 2 * OUTLIERS:
        return None
    order = np.argsort(-ranges, kind="stable")
    if ranges[order[0]] <= FAR * ranges[order[OUTLIERS]]:
        return None
    return np.sort(order[:OUTLIERS]).astype(np.int64)


def _products(graph: Any, weights: Mapping[str, Floats]) -> dict[str, Any]:
    """The one node that multiplies by each weight; weights of several nodes are left as they are."""
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in weights.keys() & set(node.input):
            users.setdefault(name, []).append(node)
    return {name: nodes[0] for name, nodes in users.items() if len(nodes) == 1}


def _ranges(model: Any, names: set[str], calibration: Sequence[Batch]) -> dict[str, Floats]:
    """The largest absolute value of each channel (K,) of tensors (..., K), over all windows."""
    import onnx
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    wanted = sorted(names)
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    found: dict[str, Floats] = {}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "watched.onnx")
        onnx.save(watched, path, save_as_external_data=True, location="weights")  # a large model fits no single message
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for batch in calibration:
            inputs = dict(zip(INPUTS, (batch.input_ids, batch.attention_mask), strict=True))
            for name, values in zip(wanted, session.run(wanted, inputs), strict=True):
                largest = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
                found[name] = np.maximum(found.get(name, largest), largest)
    return found


def _bypass(graph: Any, node: Any, weight: Floats, channels: NDArray[np.int64]) -> Floats:
    """Add the product of the outlier channels behind `node`; returns the weight (K, N) without their rows."""
    from onnx import helper, numpy_helper

    name = node.input[1]
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weight[channels]), f"{name}_outliers"))
    rest = weight.copy()
    rest[channels] = 0
    tensor = next(each for each in graph.initializer if each.name == name)
    tensor.CopyFrom(numpy_helper.from_array(rest, name))
    last = _with_bias(graph, node)  # the run time fuses a product with the bias behind it
    output, place = last.output[0], list(graph.node).index(last)
    last.output[0] = f"{output}_inside"
    product = helper.make_node("MatMul", [f"{node.input[0]}_outliers", f"{name}_outliers"], [f"{output}_outside"])
    total = helper.make_node("Add", [last.output[0], product.output[0]], [output])
    graph.node.insert(place + 1, product)
    graph.node.insert(place + 2, total)
    return rest


def _with_bias(graph: Any, node: Any) -> Any:
    """The node that adds a bias to the output of `node`, if that is all that reads it; else `node`."""
    readers = [each for each in graph.node if node.output[0] in each.input]
    vectors = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 1}
    biased = len(readers) == 1 and readers[0].op_type == "Add" and vectors & set(readers[0].input)
    return readers[0] if biased else node


def _divide(graph: Any, source: str, channels: NDArray[np.int64], *, width: int, products: Sequence[Any]) -> None:
    """Make two of the tensor `source` (..., K): without outlier channels, for the products, and only them."""
    from onnx import helper, numpy_helper

    kept = np.ones(width, np.float32)
    kept[channels] = 0
    graph.initializer.append(numpy_helper.from_array(kept, f"{source}_kept"))
    graph.initializer.append(numpy_helper.from_array(channels, f"{source}_channels"))
    place = min(place for place, node in enumerate(graph.node) if source in node.input)
    inside = helper.make_node("Mul", [source, f"{source}_kept"], [f"{source}_inside"])
    outside = helper.make_node("Gather", [source, f"{source}_channels"], [f"{source}_outliers"], axis=-1)
    graph.node.insert(place, inside)
    graph.node.insert(place + 1, outside)
    for node in products:
        if node.input[0] == source:
            node.input[0] = inside.output[0]
