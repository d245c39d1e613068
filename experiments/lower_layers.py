"""The lowest layers of an encoder as an encoder of its own: where a baseline begins that has seen no teacher.

python experiments/lower_layers.py ENCODER LAYERS OUTPUT
"""

import shutil
import sys
from pathlib import Path

from transformers import AutoModel


def cut(encoder: Path, layers: int, output: Path) -> None:
    """Keep the embeddings and the first layers, and every other file."""
    shutil.copytree(encoder, output, ignore=shutil.ignore_patterns("*.safetensors", "*.bin"))
    model = AutoModel.from_pretrained(encoder)
    model.encoder.layer = model.encoder.layer[:layers]
    model.config.num_hidden_layers = layers
    model.save_pretrained(output)


if __name__ == "__main__":
    cut(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
