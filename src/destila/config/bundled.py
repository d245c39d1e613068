"""The configurations that come with Destila, by name: `--config paper` works in any directory.

The recipes in configs/paper/ go by their own name (paper, best, general), all others by folder and name, such as
baselines/beto. A wheel carries the files as package data; a checkout has them in configs/. The settings of the runs
behind a bundled model stand in its lineage.json: `--config models/reader/lineage.json:teacher`.
"""

from pathlib import Path

from destila.core.errors import UserError
from destila.core.runs import LINEAGE_FILE, read_json
from destila.core.suggestions import nearest, nearest_path

ENDING, RECIPES = ".toml", "paper/"
PACKAGED = Path(__file__).parent / "files"  # pyproject.toml puts configs/ there in a wheel
CHECKOUT = Path(__file__).parents[3] / "configs"


def bundled() -> dict[str, Path]:
    """The file of every bundled configuration, by its name; the recipes first."""
    folder = PACKAGED if PACKAGED.is_dir() else CHECKOUT
    names = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob(f"*{ENDING}")}
    ordered = sorted(names, key=lambda name: (not name.startswith(RECIPES), name.count("/"), name))
    return {name.removeprefix(RECIPES): names[name] for name in ordered}


def config_text(name: str) -> str:
    """The TOML text of a `--config`: a file, a bundled configuration, or a run in a lineage.json (`FILE:RUN`).

    Raises:
        UserError: there is nothing of that name.
        OSError, UnicodeDecodeError: the file cannot be read as UTF-8.
    """
    file, _, run = name.rpartition(":")
    if Path(file).name != LINEAGE_FILE:
        return find_config(name).read_text(encoding="utf-8-sig")
    found = {str(one["name"]): str(one["settings"]) for one in read_json(Path(file))["runs"] if one["settings"]}
    if run not in found:
        raise UserError(file, f"has no settings of a run {run!r}", f"It has those of {', '.join(found)}.")
    return found[run]


def find_config(name: str) -> Path:
    """The file that a `--config` means: a path, or the name of a bundled configuration.

    A name that ends in .toml is a path, and a file of the name in the working directory comes before a bundled one.

    Raises:
        UserError: there is neither.
    """
    if name.endswith(ENDING) or Path(name).is_file():
        return Path(name)
    known = bundled()
    if name in known:
        return known[name]
    hint = nearest(name, list(known)) or nearest_path(name)
    remedy = f"Give the path of a TOML settings file, or one of these: {listed()}."
    raise UserError(name, f"is neither a file nor the name of a bundled configuration{hint}", remedy)


def listed() -> str:
    """The names of all bundled configurations, for a message."""
    return ", ".join(bundled())
