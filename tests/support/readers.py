"""Readers of four layers, rows of different lengths, and a wrapper: what the tests of models share."""

import json
from pathlib import Path

import torch

import tiny
from destila.config import ShapeSettings
from destila.models.files import LoadedModel, load_reader

SMALL = ShapeSettings(layers=2, heads=2, hidden=8, feed_forward=16)
TOKENS = 12
REAL = (TOKENS, 7, 3)  # real tokens of each row


def four_layers(directory: Path, architecture: str) -> LoadedModel:
    """A reader of a family; a ModernBERT's sliding windows are narrower than the rows, so that their mask matters."""
    directory = tiny.tiny_reader(directory, architecture, layers=4, hidden=16)
    if architecture == "modernbert":
        change_config(directory, local_attention=6)
    return load_reader(str(directory), dropout=0.1)


def change_config(directory: Path, **fields: object) -> None:
    """Change fields of a config.json."""
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, **fields}))


def inputs(model: object, *, separator: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Random rows of different lengths, padded on the right."""
    config = model.config
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(5, config.vocab_size, (len(REAL), TOKENS), generator=generator)
    mask = (torch.arange(TOKENS) < torch.tensor(REAL)[:, None]).long()
    if separator is not None:
        ids[:, 1] = separator
        ids[range(len(REAL)), [real - 1 for real in REAL]] = separator
    return ids.masked_fill(mask == 0, config.pad_token_id), mask


class Wrapper(torch.nn.Module):
    """Wraps as DistributedDataParallel does."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module, self.calls = module, 0

    def forward(self, *arguments: object, **keywords: object) -> object:
        self.calls += 1
        return self.module(*arguments, **keywords)
