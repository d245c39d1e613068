"""The layers of docs/architecture.md hold, and what must stay light stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "destila"

# From the bottom up; a module imports only from the rows below its own.
LAYERS = [
    ["errors"],
    ["records", "cores", "settings", "runs", "journal", "progress", "signals"],
    ["resolution"],
    ["squad", "repair", "fields", "windows", "streams", "spans", "metrics", "statistics", "predictions", "vocabulary"],
    [
        *("pairing", "alignment", "lexicon", "thesaurus", "interrogatives", "wordforms"),
        *("corpus", "phrases", "clauses", "asking", "clozes", "masking", "mixture", "unlabelled", "prefetch"),
    ],
    ["sources", "download", "hub", "recording", "documents", "augmentation"],
    ["provenance", "licences", "energy"],
    ["shapes", "relations"],
    ["models", "fingerprints", "trimming"],
    ["losses", "pretraining", "initialization", "tasks", "checkpoints", "optimization", "speed", "importance"],
    ["pruning", "growth", "distillation", "teacher_cache"],
    ["backends"],
    ["reader"],
    ["questions"],
    ["folders", "pipelines", "haystack", "ray", "serving", "web"],
    [
        *("reports", "reporting", "cards", "card_metadata", "snippets", "charts", "frontier", "measure"),
        *("tracking", "training", "quantize", "export"),
    ],
    ["commands"],
    ["cli"],
]
# Within these rows a module may use its neighbours, as long as there is no circle.
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}
HEAVY = {"torch", "transformers", "accelerate", "onnxruntime", "openvino", "pyarrow", "nncf", "onnx", "ray", "haystack"}
HEAVY |= {"bm25s", "Stemmer", "lxml", "docx", "pypdfium2"}


def modules() -> list[Path]:
    found = sorted(path for path in SOURCE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))
    assert len(found) > 15
    return found


def layer_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    own = layer_of(path)
    assert own in RANK, f"{own} stands in no layer: add it to LAYERS and to docs/architecture.md"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "destila" and len(parts) > 1 and parts[1] != own:
            assert RANK[parts[1]] <= RANK[own], f"{own} imports {parts[1]}, which lies above it"


def test_there_is_no_circle() -> None:
    edges: dict[str, set[str]] = {}
    for path in modules():
        used = {name.split(".")[1] for name in imported(path) if name.startswith("destila.")}
        edges.setdefault(layer_of(path), set()).update(used - {layer_of(path)})

    def reach(name: str, seen: tuple[str, ...]) -> None:
        assert name not in seen, " -> ".join([*seen, name])
        for other in edges.get(name, ()):
            reach(other, (*seen, name))

    for name in edges:
        reach(name, ())


def loaded_after(code: str) -> set[str]:
    program = f"{code}\nimport sys; print(' '.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in result.stdout.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import destila",
        "import destila.settings",
        "from destila import Reader",
        "import destila.cli",
        "import destila.commands.answer",
        "import destila.commands.evaluate",
        "import destila.commands.serve",
        "import destila.commands.export",
        "import destila.commands.data_check",
        "from destila.cli import dispatch; dispatch(['--help'])",
    ],
)
def test_light_imports_load_nothing_heavy(code: str) -> None:
    assert not loaded_after(code) & HEAVY
