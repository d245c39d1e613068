"""The rooms of docs/architecture.md hold, files and functions stay short, and what must stay light stays light."""

import ast
import re
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "destila"
WRITTEN = {".py", ".js", ".css", ".html"}
MOST_LINES, MOST_OF_A_FUNCTION, MOST_OF_A_VERB = 350, 60, 79

# room -> the rooms that it may import; there are no others.
ROOMS = {
    "core": "",
    "config": "core",
    "data": "core config",
    "models": "core config data",
    "inference": "core config data models",
    "evaluation": "core config data inference",
    "integrations": "core config inference",
    "serving": "core config data inference",
    "export": "core config data models inference evaluation",
    "training": "core config data models inference evaluation",
    "reporting": "core config data models inference evaluation",
    "cli": "core config data models inference evaluation integrations serving export training reporting",
}
ROOT = {"__init__.py", "__main__.py", "py.typed"}
HEAVY = {"torch", "transformers", "accelerate", "onnxruntime", "openvino", "pyarrow", "nncf", "onnx", "ray", "haystack"}
HEAVY |= {
    "langchain_core",
    "llama_index",
    "txtai",
    "spacy",
    "narwhals",
    "pandas",
    "polars",
    "bm25s",
    "Stemmer",
    "lxml",
    "docx",
    "pypdfium2",
}


def modules() -> list[Path]:
    found = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE)
    assert len(found) > 15
    return found


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in modules()}


def imported(path: Path) -> set[str]:
    """Our modules that one imports, at its head, inside of functions or for type checking."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else str(node.module) for name in whole}
    return {name for name in names if name.partition(".")[0] == "destila"}


def test_the_package_holds_the_rooms_and_nothing_else() -> None:
    entries = {path.name for path in SOURCE.iterdir()} - {"__pycache__"}
    assert entries == {*ROOMS, *ROOT}
    assert len(entries) <= 15


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_stay_within_what_the_room_may_import(path: Path) -> None:
    own = path.relative_to(SOURCE).parts[0]
    for name in imported(path):
        room = name.split(".")[1] if "." in name else "destila itself"
        assert room == own or room in ROOMS[own].split(), f"{own} imports {name}: {room} is none of: {ROOMS[own]}"


def test_files_and_functions_are_short() -> None:
    """What is longer does several things, and a reader has to find out which lines belong to which."""
    long = []
    for path in (path for root in (SOURCE, TESTS) for path in root.rglob("*") if path.suffix in WRITTEN):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(TESTS.parent)
        most = MOST_OF_A_VERB if path.parent == SOURCE / "cli" else MOST_LINES
        if (lines := len(text.splitlines())) > most:
            long.append(f"{name}: {lines} lines, at most {most}")
        for node in ast.walk(ast.parse(text)) if path.suffix == ".py" else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if (lines := node.end_lineno - node.lineno + 1) > MOST_OF_A_FUNCTION:
                    long.append(f"{name}, {node.name}: {lines} lines, at most {MOST_OF_A_FUNCTION}")
    assert not long, "\n".join(long)


def test_what_one_module_alone_uses_begins_with_an_underscore() -> None:
    """Tests and scripts count as users: what they look at is an inside that they rely on."""
    root, users = TESTS.parent, Counter[str]()
    written = [path for name in ("src", "tests", "scripts", "benchmarks") for path in root.glob(f"{name}/**/*.py")]
    for path in [*written, *root.glob("docs/*.md")]:
        users.update(set(re.findall(r"\w+", path.read_text(encoding="utf-8"))))
    for name, path in MODULES.items():
        functions = (
            each for each in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(each, ast.FunctionDef)
        )
        alone = [each.name for each in functions if users[each.name] == 1 and not each.name.startswith("_")]
        assert not alone, name


def test_there_is_no_circle() -> None:
    """`static_order` raises where one is."""
    rooms = TopologicalSorter({room: allowed.split() for room, allowed in ROOMS.items()})
    assert set(rooms.static_order()) >= ROOMS.keys()
    alone = {name: path for name, path in MODULES.items() if path.name != "__init__.py"}  # a package may load its own
    modules = TopologicalSorter({name: imported(path) & alone.keys() for name, path in alone.items()})
    assert set(modules.static_order()) == alone.keys()


def loaded_after(code: str) -> set[str]:
    program = f"{code}\nimport sys; print(' '.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in result.stdout.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import destila",
        "import destila.config",
        "from destila import Reader",
        "import destila.cli.main",
        "import destila.cli.answer",
        "import destila.cli.evaluate",
        "import destila.cli.serve",
        "import destila.cli.export",
        "import destila.cli.data_check",
        "from destila.cli.main import dispatch; dispatch(['--help'])",
    ],
)
def test_light_imports_load_nothing_heavy(code: str) -> None:
    assert not loaded_after(code) & HEAVY
