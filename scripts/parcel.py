"""Take an encoder and label files to a machine that has no network, in few megabytes.

    python scripts/parcel.py pack --model runs/reader/encoder --data "es.json en.json" build/parcel
    python scripts/parcel.py unpack build/parcel runs/reader

`pack` writes matrices in eight bits, each row with a scale of its own, and question files compressed; `unpack` writes
them as a model in single precision and as the files that they were. Eight bits are close to the weights and not equal:
what is trained from them mends that. Vectors (biases, normalization) keep half precision.
"""

import argparse
import json
import lzma
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from destila.core.errors import UserError

WEIGHTS, PACKED = "model.safetensors", "weights.safetensors"
STEPS = 127  # of eight bits with a sign
LIMIT = 64 * 2**20  # bytes


def pack(model: Path, files: list[Path], target: Path) -> int:
    """Write the parcel; returns its bytes.

    Raises:
        UserError: a file is missing, or the parcel is larger than 64 MiB.
    """
    if missing := [str(path) for path in (model / WEIGHTS, *files) if not path.is_file()]:
        raise UserError.from_problems("what to pack", [f"{path} is not there" for path in missing], "Check the names.")
    target.mkdir(parents=True, exist_ok=True)
    packed = dict[str, np.ndarray]()
    for name, values in load_file(model / WEIGHTS).items():
        if values.ndim < 2:
            packed[name] = values.astype(np.float16)
            continue
        scale = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / STEPS
        packed[name] = np.rint(values / scale).astype(np.int8)
        packed[f"{name}.scale"] = scale.astype(np.float32)
    save_file(packed, target / PACKED)
    for path in sorted(model.glob("*.json")):
        (target / f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes()))
    labels = target / "data"
    labels.mkdir(exist_ok=True)
    for path in files:
        (labels / f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes()))
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    if size > LIMIT:
        raise UserError(
            str(target), f"has {size / 2**20:.0f} MiB; 64 may travel", "Trim the encoder, or take fewer files."
        )
    return size


def unpack(parcel: Path, target: Path) -> None:
    """Write TARGET/encoder and TARGET/data/FILE as they were packed; what is there already stays."""
    encoder = target / "encoder"
    if not (encoder / WEIGHTS).exists():
        encoder.mkdir(parents=True, exist_ok=True)
        packed = load_file(parcel / PACKED)
        weights = {
            name: values.astype(np.float32) * packed.get(f"{name}.scale", np.float32(1))
            for name, values in packed.items()
            if not name.endswith(".scale")
        }
        for path in parcel.glob("*.json.xz"):
            (encoder / path.stem).write_bytes(lzma.decompress(path.read_bytes()))
        save_file(weights, encoder / "part", metadata={"format": "pt"})
        shutil.move(encoder / "part", encoder / WEIGHTS)  # whole or not at all
    (target / "data").mkdir(parents=True, exist_ok=True)
    for path in (parcel / "data").glob("*.xz"):
        (target / "data" / path.stem).write_bytes(lzma.decompress(path.read_bytes()))


def main() -> None:
    """Pack or unpack; one line of JSON comes last."""
    parser = argparse.ArgumentParser(description="Take an encoder and labels to a machine without a network.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack")
    packing.add_argument("--model", type=Path, required=True)
    packing.add_argument("--data", default="", help="question files, with spaces between")
    packing.add_argument("target", type=Path)
    unpacking = verbs.add_parser("unpack")
    unpacking.add_argument("parcel", type=Path)
    unpacking.add_argument("target", type=Path)
    given = parser.parse_args()
    if given.verb == "pack":
        size = pack(given.model, [Path(name) for name in given.data.split()], given.target)
        print(json.dumps({"parcel": str(given.target), "bytes": size}))
    else:
        unpack(given.parcel, given.target)
        print(json.dumps({"target": str(given.target)}))


if __name__ == "__main__":
    main()
