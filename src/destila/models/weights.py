"""A model's weights as tensors, as they lie on the disk: out of safetensors, or out of a pickle without running it.

A pickle is a program. torch can read one with an unpickler that makes tensors, numbers and containers of them and
nothing else (`weights_only`): what asks for more is refused here, whatever it is. Invariant: no code of a file runs.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file

from destila.core.errors import UserError
from destila.core.runs import read_json
from destila.models.hub import PICKLE, PICKLE_INDEX, torch_weights

CONVERT = "Where you trust it, save it anew with transformers' save_pretrained, which writes model.safetensors."

State = dict[str, torch.Tensor]


def weight_files(directory: Path) -> list[Path]:
    """The files with a model's weights for torch, safetensors rather than pickles; empty: it has none.

    Raises:
        UserError: the index of a pickle in several files is damaged.
    """
    if safe := [path for path in torch_weights(directory) if path.suffix == ".safetensors"]:
        return safe
    if (whole := directory / PICKLE).is_file():
        return [whole]
    return _shards(directory / PICKLE_INDEX) if (directory / PICKLE_INDEX).is_file() else []


def _shards(index: Path) -> list[Path]:
    content = read_json(index)
    names = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise UserError(str(index), "has no weight_map of names and files", "Make or download it again.")
    return [index.with_name(Path(name).name) for name in sorted(set(names.values()))]  # nothing outside is read


def read_weights(directory: Path) -> State:
    """All weights of a model, on the CPU; one that is stored under several names is there once.

    Raises:
        UserError: a file is missing, truncated, or would have to be run to be read.
    """
    state = State()
    for path in weight_files(directory):
        state |= _of_safetensors(path) if path.suffix == ".safetensors" else dict(_of_pickle(path))
    return state


def _of_safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own kind, and OSError for a missing shard
        problem = f"is truncated or not a safetensors file ({error})"
        raise UserError(str(path), problem, "Make or download it again.") from error


def _of_pickle(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    try:
        with warnings.catch_warnings(action="ignore"):  # of what it may not support: it says so where it does not
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for what is no plain table of tensors
        problem = "cannot be read without running code that it holds, or is truncated"
        raise UserError(str(path), problem, CONVERT) from error
    tensors = state if isinstance(state, dict) else {}
    if not tensors or not all(isinstance(name, str) and _is_plain(tensor) for name, tensor in tensors.items()):
        raise UserError(str(path), "is no table of names and weights", CONVERT)
    seen = set[tuple[int, torch.Size]]()
    for name, tensor in tensors.items():
        place = tensor.data_ptr(), tensor.shape
        if place not in seen or not tensor.numel():  # those without numbers all lie nowhere
            seen.add(place)
            yield name, tensor.detach().clone()  # of its own: several may lie in one block of memory


def _is_plain(tensor: object) -> bool:
    return isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided and not tensor.is_quantized
