"""From a reader to files that run without torch, with proof that they still answer the same.

Mental model: convert -> check parity in fp32 -> lower the precision -> measure what it cost -> write. Invariant: what
is on the disk passed its checks: fp32 logits within 1e-4 of torch's over many shapes, and a lossy model within the
loss of F1 that the user allows, on the user's data. The directory appears whole or not at all.

Shape legend: B batch, T tokens, H heads, D hidden. This module runs no finished export: that is
`destila.inference.backends`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.model_files import (
    CONFIG_FILE,
    METADATA_FILE,
    ONNX_FILE,
    OPENVINO_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
)
from destila.core.records import Example
from destila.core.runs import destila_version, write_json
from destila.data.sources import spread
from destila.data.windows import Batch, collate, longest_window
from destila.evaluation.guarantees import TOLERANCE, difference
from destila.evaluation.metrics import score
from destila.export.quantize import RECIPES, quantize_onnx, quantize_openvino, quiet
from destila.inference.backends import Integers, LoadedBackend, load_backend
from destila.inference.backends.files import INPUTS, OUTPUTS
from destila.inference.reader import Reader
from destila.models.files import tokenizer_config
from destila.models.forward import ATTENTION, SpanModule

PARITY_SHAPES = ((1, 8), (32, 16), (3, 33), (2, 100), (1, 192), (1, 384), (1, 512))  # (B, T)
FUSED = "destila-onnx"


# ---------------------------------------------------------------------------------------------------- ONNX
def _fused_attention(
    module: Any,
    query: torch.Tensor,  # (B, H, T, D / H), as key and value
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # (B, 1, T, T) float, 0 where a query may look
    *,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """onnxruntime's fused attention as one node: 10 % off the time of the plain graph; only for export."""
    batch, heads, tokens, width = query.shape
    inputs = [tensor.transpose(1, 2).flatten(2) for tensor in (query, key, value)]  # (B, T, D)
    masked = [] if attention_mask is None else [None, None, attention_mask]
    output = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        [*inputs, *masked],
        attrs={"num_heads": heads, "scale": float(scaling)},
        dtype=query.dtype,
        shape=(batch, tokens, heads * width),
        version=1,
    )
    return output.view(batch, tokens, heads, width), None


AttentionInterface.register(FUSED, _fused_attention)
AttentionMaskInterface.register(FUSED, eager_mask)


def _write_onnx(model: Any, path: Path) -> None:
    """Write a transformers model as ONNX in fp32, for any batch and length."""
    dynamic = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
    model.set_attn_implementation(FUSED)
    try:
        with torch.inference_mode(), quiet():
            program = torch.onnx.export(
                SpanModule(model),
                _example_inputs(),
                dynamo=True,
                input_names=list(INPUTS),
                output_names=list(OUTPUTS),
                dynamic_shapes=(dynamic, dynamic),
                verbose=False,
            )
    finally:
        model.set_attn_implementation(ATTENTION)
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # where each was traced: lines of files of this machine
    program.save(path)


def _example_inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T) = (2, 32), of which some are padding, so that no tracer thinks the mask constant."""
    mask = torch.ones(2, 32, dtype=torch.int64)
    mask[1, 20:] = 0
    return torch.full((2, 32), 5), mask


# ---------------------------------------------------------------------------------------------------- OpenVINO
def openvino_model(model: Any) -> Any:
    """A transformers model as an `openvino.Model` in fp32, for any batch and length."""
    from destila.inference.backends import openvino as openvino_backend

    inputs = [(name, [-1, -1], openvino_backend.openvino.Type.i64) for name in INPUTS]
    with quiet():
        converted = openvino_backend.openvino.convert_model(
            SpanModule(model), example_input=_example_inputs(), input=inputs
        )
    for port, name in zip([*converted.inputs, *converted.outputs], INPUTS + OUTPUTS, strict=True):
        port.get_tensor().set_names({name})
    return converted


# ---------------------------------------------------------------------------------------------------- directories
def write_fp32(loaded: LoadedBackend, directory: Path, *, format: str, name: str) -> None:
    """Write a whole exported directory in fp32.

    Args:
        loaded: a reader that torch runs; `name`: where it came from.
        format: "onnx" or "openvino".
    """
    model = _torch_model(loaded)
    if format == "onnx":
        _write_onnx(model, directory / ONNX_FILE)
    else:
        _save_openvino(openvino_model(model), directory, half=False)
    loaded.tokenizer.save(str(directory / TOKENIZER_FILE))
    # Where it was loaded from is nobody's business who gets the export.
    config = {name: value for name, value in loaded.config.items() if name != "_name_or_path"}
    write_json(directory / CONFIG_FILE, config)
    # transformers.js wants it beside the tokenizer.
    write_json(directory / TOKENIZER_CONFIG_FILE, tokenizer_config(model.config, loaded.tokenizer))
    source = {"model": name, **{key: loaded.metadata[key] for key in ("source", "version") if key in loaded.metadata}}
    if loaded.location.commit:
        source["commits"] = {loaded.location.name: loaded.location.commit}
    about = {"format": format, "parameters": sum(weight.numel() for weight in model.parameters())}
    loaded.metadata.without("certificates").changed(source=source, version=destila_version(), **about).write(directory)
    write_metadata(directory, precision="fp32")


def write_lower(
    loaded: LoadedBackend, directory: Path, calibration: Sequence[Batch], *, precision: str, recipe: str
) -> None:
    """Replace the model of an exported directory by one of a lower precision."""
    model = _torch_model(loaded)
    path = directory / ONNX_FILE
    if (fp32 := directory / "fp32.onnx").exists() or path.exists():
        path.rename(fp32)
        # ModernBERT's masks also say which neighbors a token sees; all others only hide padding.
        quantize_onnx(fp32, path, masked="local_attention" in loaded.config, calibration=calibration)
        fp32.unlink()
    elif precision == "bf16":
        _save_openvino(openvino_model(model), directory, half=True)
    else:
        convert: Callable[[], Any] = lambda: openvino_model(model)  # noqa: E731
        _save_openvino(quantize_openvino(convert, calibration, recipe=recipe), directory, half=False)
    write_metadata(directory, precision=precision)


def recipes(format: str, precision: str) -> tuple[str, ...]:
    """The ways to lower the precision, in the order in which to try them."""
    return RECIPES if (format, precision) == ("openvino", "int8") else ("default",)


def write_metadata(directory: Path, **fields: Any) -> None:
    """Change destila.json, and note the size of every file beside it. Other arithmetic needs another calibration."""
    others = (file for file in sorted(directory.iterdir()) if file.name != METADATA_FILE)
    files = {file.name: file.stat().st_size for file in others}
    metadata = ModelMetadata.read(directory)
    if fields.get("precision") != "fp32":
        metadata = metadata.without("calibration")
    metadata.changed(**fields, files=files).write(directory)


def _torch_model(loaded: LoadedBackend) -> Any:
    """The transformers model behind a torch backend, where exporters can trace it: on the CPU."""
    return loaded.model.model.to("cpu")  # type: ignore[attr-defined]


def _save_openvino(model: Any, directory: Path, *, half: bool) -> None:
    from destila.inference.backends import openvino as openvino_backend

    openvino_backend.openvino.save_model(model, directory / OPENVINO_FILE, compress_to_fp16=half)


# ---------------------------------------------------------------------------------------------------- checks
def check_parity(reference: LoadedBackend, directory: Path, *, name: str) -> float:
    """The largest difference of a logit from torch's, over lengths 8 to 512 and batches 1 to 32, padded and not.

    Raises:
        UserError: it is above the tolerance.
    """
    exported, generator, worst = load_backend(str(directory)), np.random.default_rng(0), 0.0
    longest = longest_window(reference.config)
    for batch, tokens in [*PARITY_SHAPES, (1, longest)]:
        if tokens > min(longest, 512):
            continue
        ids, mask = _random_rows(reference.config, generator, shape=(batch, tokens))
        wanted, found = (np.stack(side.model.logits(ids, mask))[:, mask > 0] for side in (reference, exported))
        far = difference(found, wanted)
        if not far <= TOLERANCE:  # also when it is not a number
            problem = f"the exported logits are {far:.1e} off at {batch} x {tokens} tokens, above {TOLERANCE}"
            raise UserError(name, problem, "Try the other --format, and report this reader as a bug.")
        worst = max(worst, far)
    return worst


def _random_rows(
    config: Mapping[str, Any], generator: np.random.Generator, *, shape: tuple[int, int]
) -> tuple[Integers, Integers]:
    """Random ids and masks (B, T); the first row is full, the others end somewhere."""
    batch, tokens = shape
    ids = generator.integers(0, config["vocab_size"], shape)
    lengths = np.append(tokens, generator.integers(1, tokens + 1, batch - 1))
    mask = (np.arange(tokens) < lengths[:, None]).astype(np.int64)
    # A padding token inside of a text has no position in RoBERTa: it never occurs there.
    ids[ids == config["pad_token_id"]] = (config["pad_token_id"] + 1) % config["vocab_size"]
    return np.where(mask, ids, config["pad_token_id"]), mask


def f1_of(reader: Reader, examples: Sequence[Example]) -> dict[str, float]:
    """F1 and exact match in percent by the SQuAD rules."""
    texts = {name: prediction.answer.text for name, prediction in reader.predict(examples).items()}
    scores = score(examples, texts, normalizer="squad")
    return {"f1": 100 * float(scores.f1.mean()), "em": 100 * float(scores.em.mean())}


def calibration_batches(reader: Reader, examples: Sequence[Example], *, count: int) -> list[Batch]:
    """`count` windows, spread evenly over the examples, one in each batch."""
    windows = reader.builder.build(spread(examples, count))
    return [collate([window], pad_id=reader.builder.pad_id) for window in spread(windows, count)]
