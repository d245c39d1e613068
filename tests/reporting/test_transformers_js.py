"""The card's program for transformers.js, run by Node.js on the bundled model. Skipped where npm is not to be had."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from destila import Reader
from destila.core.model_files import find_files
from destila.data.sources import cache_directory
from destila.inference.places import SHIPPED
from destila.reporting.card import write_card
from destila.reporting.snippets import CONTEXT, PLACEHOLDER, QUESTION

ROOT = Path(__file__).parents[2]
PACKAGE, VERSION = "@huggingface/transformers", "4.3.2"


@pytest.fixture(scope="module")
def packages() -> Path:
    """A node_modules with transformers.js, kept in the cache."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("there is no npm")
    kept = cache_directory() / f"transformers.js-{VERSION}"
    if not (kept / "whole").exists():
        kept.mkdir(parents=True, exist_ok=True)
        install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(kept)]
        if subprocess.run([*install, f"{PACKAGE}@{VERSION}"], capture_output=True, timeout=600).returncode:
            pytest.skip(f"npm cannot install {PACKAGE} here")
        (kept / "whole").touch()
    return kept / "node_modules"


def said_by_node(directory: Path, packages: Path, place: Path) -> str:
    """What the program of a model's card prints, the model's name replaced by a local one."""
    write_card(directory, overwrite=True)
    (program,) = re.findall(r"```js\n(.*?)```", (directory / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    program = program.replace(PLACEHOLDER, directory.name)
    local = f'import {{ env }} from "{PACKAGE}";\nenv.allowRemoteModels = false;\n'
    local += f'env.localModelPath = "{directory.parent}/";\n'
    (place / "node_modules").symlink_to(packages)
    (place / "program.mjs").write_text(local + program, encoding="utf-8")
    done = subprocess.run(["node", "program.mjs"], cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_program_of_the_card_answers_as_the_reader_does(packages: Path, tmp_path: Path) -> None:
    export = tmp_path / "models" / "bundled"
    export.mkdir(parents=True)
    for path in [*find_files(SHIPPED), ROOT / "models" / "reader" / "tokenizer_config.json"]:
        shutil.copy(path, export)
    place = tmp_path / "place"
    place.mkdir()
    answer = Reader.load(export).answer(QUESTION, CONTEXT)
    assert answer.text is not None
    assert f"answer: '{answer.text}'" in said_by_node(export, packages, place)
