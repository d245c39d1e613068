"""Texts and settings of the pre-training that tests run."""

from dataclasses import replace
from pathlib import Path

import spanish
from destila.config import PretrainSettings
from destila.config.loader import read_toml, resolve

CONFIG = Path(__file__).parents[2] / "configs" / "tiny" / "pretrain.toml"


def write_sources(directory: Path) -> Path:
    """Write texts of three sources; returns the directory."""
    for seed, name in enumerate(("actas-00", "cartas-00", "leyes-00")):
        (directory / f"{name}.txt").write_text(spanish.text(seed, documents=4 + 8 * seed), encoding="utf-8")
    return directory


def settings_of(text: Path, output: Path, **training: object) -> PretrainSettings:
    """The tiny configuration on these texts, whose store lies beside them."""
    settings = resolve(PretrainSettings, read_toml(str(CONFIG)))
    reading = replace(settings.text, files=[str(text)], store=str(text.parent / "store"))
    changed = replace(settings.training, **training)  # type: ignore[arg-type]
    return replace(settings, text=reading, output=str(output), training=changed)
