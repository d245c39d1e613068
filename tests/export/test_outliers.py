"""Channels that leave the int8 product: the same function, a smaller error."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destila.data.windows import Batch
from destila.export.outliers import OUTLIERS, outlier_channels, split_outliers
from destila.export.quantize import quantize_onnx
from destila.inference.backends.files import INPUTS

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

TOKENS, VOCABULARY, WIDTH, INNER = 12, 50, 64, 96
LARGE = (3, 40)


def model(*, large: float, bias: bool = True) -> Any:
    """ids -> embeddings, of which two channels become `large` -> two products that share them -> tanh -> a third."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    gain = np.ones(WIDTH, np.float32)
    gain[list(LARGE)] = large
    arrays = {
        "table": random.normal(size=(VOCABULARY, WIDTH)).astype(np.float32),
        "gain": gain,
        "first": random.normal(size=(WIDTH, INNER)).astype(np.float32) / 8,
        "second": random.normal(size=(WIDTH, INNER)).astype(np.float32) / 8,
        "bias": random.normal(size=INNER).astype(np.float32),
        "third": random.normal(size=(INNER, WIDTH)).astype(np.float32) / 8,
    }
    nodes = [
        helper.make_node("Gather", ["table", INPUTS[0]], ["rows"], "gather"),
        helper.make_node("Mul", ["rows", "gain"], ["x"], "gain"),
        helper.make_node("MatMul", ["x", "first"], ["a"], "first"),
        helper.make_node("Add", ["a", "bias"], ["b"], "bias") if bias else helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("MatMul", ["x", "second"], ["c"], "second"),
        helper.make_node("Mul", ["b", "c"], ["d"], "gate"),
        helper.make_node("Tanh", ["d"], ["e"], "tanh"),
        helper.make_node("MatMul", ["e", "third"], ["f"], "third"),
        helper.make_node("Cast", [INPUTS[1]], ["mask"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "axis"], ["column"], "column"),
        helper.make_node("Mul", ["f", "column"], ["out"], "masked"),
    ]
    shape: list[str] = ["B", "T"]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in INPUTS],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [*shape, WIDTH])],
        [
            *(numpy_helper.from_array(array, name) for name, array in arrays.items()),
            numpy_helper.from_array(np.array([2], np.int64), "axis"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def run(source: Any, batch: Batch) -> np.ndarray[Any, Any]:
    """The output of a model or a file for one batch."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    content = str(source) if isinstance(source, Path) else source.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, dict(zip(INPUTS, (batch.input_ids, batch.attention_mask), strict=True)))
    return np.asarray(found)


def batches(count: int, *, seed: int) -> list[Batch]:
    random = np.random.default_rng(seed)
    ones = np.ones((1, TOKENS), np.int64)
    marks = ones > 0
    return [Batch(random.integers(0, VOCABULARY, (1, TOKENS)), ones, marks, marks, marks) for _ in range(count)]


def weights_of(graph: Any) -> dict[str, Any]:
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return {name: arrays[name] for name in ("first", "second", "third")}


@pytest.mark.parametrize("bias", [True, False])
def test_the_function_stays_the_same(bias: bool) -> None:
    original, split = model(large=30.0, bias=bias), model(large=30.0, bias=bias)
    rest = split_outliers(split, weights_of(split.graph), batches(4, seed=1))
    onnx.checker.check_model(split)
    gone = {name: np.flatnonzero((weight == 0).all(axis=1)) for name, weight in rest.items()}
    assert set(LARGE) <= set(gone["first"])
    assert len(gone["first"]) == OUTLIERS
    np.testing.assert_array_equal(gone["first"], gone["second"])  # they share their input
    assert not len(gone["third"]), "its inputs are all of one size"
    np.testing.assert_array_equal(rest["first"], weights_of(split.graph)["first"])
    for batch in batches(3, seed=2):
        np.testing.assert_allclose(run(split, batch), run(original, batch), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("large", [1.0, 1.4])
def test_nothing_is_changed_where_no_channel_is_far_or_nothing_was_measured(large: float) -> None:
    for calibration in (batches(4, seed=1), []):
        split = model(large=large if calibration else 30.0)
        before = split.SerializeToString()
        split_outliers(split, weights_of(split.graph), calibration)
        assert split.SerializeToString() == before


def test_int8_with_outliers_apart_is_nearer_to_floats(tmp_path: Path) -> None:
    source = tmp_path / "fp32.onnx"
    onnx.save(model(large=30.0), source)
    errors = []
    for number, calibration in enumerate(([], batches(4, seed=1))):
        target = tmp_path / f"int8-{number}.onnx"
        quantize_onnx(source, target, masked=True, calibration=calibration)
        kinds = [node.op_type for node in onnx.load(target).graph.node]
        assert kinds.count("MatMulInteger") == 3
        assert kinds.count("MatMul") == (2 if calibration else 0)
        difference = [run(target, batch) - run(source, batch) for batch in batches(5, seed=2)]
        errors.append(float(np.sqrt(np.mean(np.square(difference)))))
    assert errors[1] < errors[0] / 2, errors


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=60))
def test_outlier_channels_are_the_largest_and_far_from_the_rest(values: list[float]) -> None:
    ranges = np.array(values, np.float32)
    found = outlier_channels(ranges)
    if found is None:
        ordered = np.sort(ranges)[::-1]
        assert len(ranges) <= 2 * OUTLIERS or ordered[0] <= 2 * ordered[OUTLIERS]
        return
    rest = np.delete(ranges, found)
    assert len(found) == OUTLIERS
    assert (np.diff(found) > 0).all()
    assert ranges[found].min() >= rest.max()
    assert ranges.max() > 2 * rest.max()
