"""Where something is to be written: a file where a file is meant, a directory where a directory is, before any work."""

import os
from pathlib import Path

from destila.core.errors import UserError

# A directory of such a name is a mistake: a file was meant.
DATA = (".json", ".jsonl", ".parquet", ".csv", ".txt", ".md", ".toml", ".yaml")
PAGES = (".html", ".htm", ".pdf", ".svg", ".png")
WEIGHTS = (".safetensors", ".bin", ".pt", ".onnx", ".xml", ".gguf", ".zip", ".gz", ".tar")


def check_file(setting: str, value: str | Path | None) -> None:
    """Refuse a name under which no file can be made; None and "" are nobody's names.

    Raises:
        UserError: it is a directory, or is written as one.
    """
    if value and Path(value).is_dir():
        raise UserError(str(value), "is a directory", f"Give {setting} a file.")
    if value and _is_directory_name(value):
        raise UserError(str(value), "is the name of a directory", f"Give {setting} a file.")


def check_directory(setting: str, value: str | Path | None) -> None:
    """Refuse a name under which no directory can be made, or that means a file; None and "" are nobody's names.

    Raises:
        UserError: it is a file, or is named like one.
    """
    if not value or Path(value).is_dir():
        return
    if Path(value).exists():
        raise UserError(str(value), "is not a directory", f"Choose another {setting}.")
    ending = Path(value).suffix.lower()
    if ending in (*DATA, *PAGES, *WEIGHTS) and not _is_directory_name(value):
        problem = f"is named like a file ({ending}), and a directory is made there"
        raise UserError(str(value), problem, f"Give {setting} a directory.")


def _is_directory_name(value: str | Path) -> bool:
    return str(value).endswith(("/", os.sep))
