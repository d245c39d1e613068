"""What lies in an exported directory, and the checks that both run times make before they read it.

    export/
      model.onnx (model.onnx.data) | openvino.xml, openvino.bin
      config.json       of the reader that was exported: positions, padding
      tokenizer.json
      destila.json      the reader's own, plus "format", "precision", "files" (bytes of each), scores before and after

Invariant: a file of another length than destila.json says is refused, so that a cut-off download never answers. This
module runs no model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.model_config import read_config
from destila.core.model_files import refuse_pointers

INPUTS, OUTPUTS = ("input_ids", "attention_mask"), ("start_logits", "end_logits")
PRECISIONS = ("fp32", "bf16", "int8")
EXPORT_AGAIN = "Was it cut short? Copy the whole directory again, or make it again with destila export."


def read_export(directory: Path, file: str) -> ModelMetadata:
    """The destila.json of an exported directory, after checking that `file` and its neighbors are whole.

    Raises:
        UserError: a file is missing or has another size, or the precision is none that we know.
    """
    if not (directory / file).is_file():
        raise UserError(str(directory), f"has no {file}", "Make one with destila export.")
    refuse_pointers(directory)
    metadata = ModelMetadata.read(directory, required=True)
    if metadata.precision not in PRECISIONS:
        problem = f"precision is {metadata.get('precision')!r}, not one of {', '.join(PRECISIONS)}"
        raise UserError(metadata.where, problem, EXPORT_AGAIN)
    problems = []
    for name, size in metadata.files.items():
        path = directory / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif path.stat().st_size != size:
            problems.append(f"{name} has {path.stat().st_size:,} bytes instead of {size:,}")
    if problems:
        raise UserError.from_problems(str(directory), problems, EXPORT_AGAIN)
    return metadata


def read_export_config(directory: Path) -> Mapping[str, Any]:
    """The config.json of an exported directory, by which texts are cut into what its model can read."""
    return read_config(directory, required=("model_type", "max_position_embeddings"))


def check_names(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Refuse a model that is not a reader: its inputs and outputs have other names.

    Raises:
        UserError: it takes or gives something else.
    """
    if sorted(inputs) != sorted(INPUTS) or not set(OUTPUTS) <= set(outputs):
        problem = f"takes {', '.join(inputs)} and gives {', '.join(outputs)}, so it is no reader of ours"
        raise UserError(str(path), problem, f"It must take {', '.join(INPUTS)} and give {', '.join(OUTPUTS)}.")
