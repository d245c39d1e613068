"""Every example runs as a user runs it, offline, on tiny models."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

import forked
from destila.data.squad import save
from tiny import tiny_examples, tiny_reader

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: object, cwd: Path) -> str:
    done = forked.script(EXAMPLES / name, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two tiny readers and questions."""
    top = tmp_path_factory.mktemp("examples")
    for seed in (1, 2):
        tiny_reader(top / f"reader{seed}", seed=seed)
    save(tiny_examples(), top / "questions.json")
    return top


def test_a_test_runs_every_example() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py"))
    names = [path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")]
    assert len(names) >= 4
    assert not [name for name in names if f'"{name}"' not in tests]


@pytest.mark.parametrize("arguments", [[], ["¿Qué hay?", "text.txt"]])
def test_answer(place: Path, arguments: Sequence[str]) -> None:
    (place / "text.txt").write_text("Hay un río y una montaña.", encoding="utf-8")
    out = run("answer.py", "--model", "reader1", *arguments, cwd=place)
    assert "The best three" in out
    assert out.count("\n") >= 4


def test_own_documents(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bm25s", reason="the documents extra is not installed")
    monkeypatch.setenv("DESTILA_CACHE", str(place / "cache"))
    out = run("own_documents.py", "--model", "reader1", cwd=place)
    assert 1 <= out.count("\n") <= 3


def test_evaluate_your_reader(place: Path) -> None:
    out = run(
        "evaluate_your_reader.py", "--data", "questions.json", "--model", "reader1", "--model", "reader2", cwd=place
    )
    assert out.count("quote it with normalizer:squad|n:7|") == 2
    assert "reader2 against reader1: F1 " in out


def test_the_notebook_runs_cell_by_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 4
    namespace: dict[str, object] = {}
    for number, code in enumerate(cells):
        exec(compile(code, f"cell {number}", "exec"), namespace)
    assert "normalizer:squad" in capsys.readouterr().out
    assert all(not cell.get("outputs") for cell in notebook["cells"]), "outputs are made by who runs it"
