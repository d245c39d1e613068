"""Every snippet of both READMEs runs, and what they name exists."""

import re
from pathlib import Path
from typing import Any

import pytest

from destila.cli.verbs import VERBS
from destila.data.windows import WindowBuilder, collate
from destila.training.losses import to_tensors
from few_questions import few_questions
from tiny import tiny_examples, tiny_model, tiny_reader, tiny_tokenizer

ROOT = Path(__file__).parents[1]
READMES = ["README.md", "README.es.md"]


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(rf"```{language}\n(.*?)```", text, re.S)
    assert found
    return found


@pytest.mark.parametrize("name", READMES)
def test_python_snippets_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_reader(tmp_path / "runs" / "demo" / "student")
    monkeypatch.chdir(tmp_path)
    for code in blocks(name, "python"):
        exec(compile(code, name, "exec"), {})
    assert capsys.readouterr().out.count("\n") >= 2


def test_the_loss_of_ones_own_trains_a_student() -> None:
    namespace: dict[str, Any] = {}
    for code in blocks("docs/method.md", "python"):
        exec(compile(code, "docs/method.md", "exec"), namespace)
    tokenizer, model = tiny_tokenizer("roberta"), tiny_model("roberta")
    pad_id = int(model.config.pad_token_id)
    windows = WindowBuilder(tokenizer, length=64, stride=8, pad_id=pad_id).build(tiny_examples())
    loss = namespace["my_loss"](model.train(), to_tensors(collate(windows, pad_id=pad_id)))
    loss.total.backward()
    assert set(loss.parts) == {"task", "sparse"}
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", READMES)
def test_commands_and_targets_exist(name: str) -> None:
    shell = "\n".join(blocks(name, "sh") + blocks(name, "text"))
    verbs = re.findall(r"^destila ((?:data )?[a-z]+)", shell, re.M)
    assert set(verbs) <= set(VERBS)
    assert set(VERBS) <= set(verbs), f"{name} says nothing of {set(VERBS) - set(verbs)}"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([a-z]+)", shell, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for config in re.findall(r"configs/[\w./-]+\.toml", shell):
        assert (ROOT / config).exists(), config


@pytest.mark.parametrize("name", [*READMES, "docs/architecture.md", "docs/data.md", "docs/method.md"])
def test_links_lead_somewhere(name: str) -> None:
    path = ROOT / name
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, target


def test_the_library_as_its_page_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    few_questions(tmp_path)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("docs/python.md", "python")
    exec(compile(code, "docs/python.md", "exec"), {})
    assert re.fullmatch(r"[\d.]+ .*\n", capsys.readouterr().out)
