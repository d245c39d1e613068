"""Outputs that are no place to write to, for every verb that writes: refused, and nothing is touched."""

import json
from pathlib import Path

import pytest

from destila import Reader
from mistakes import GOOD, run
from tiny import tiny_reader


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_reader(tmp_path_factory.mktemp("models") / "reader")


def writing_to(output: str, reader: Path, data: Path) -> dict[str, tuple[str, ...]]:
    """A command line for every verb that writes, short of `push` and those that write into what is there."""
    lines = data.with_name("lines.jsonl")
    lines.write_text('{"question": "¿Cuándo?", "context": "Lima se fundó en 1535."}\n')
    (texts := data.with_name("texts")).mkdir(exist_ok=True)
    (texts / "a.txt").write_text(
        "Lima fue fundada por Francisco Pizarro el 18 de enero de 1535. Hoy es la capital del Perú."
    )
    few = ("--per-passage", "4", "--filters.overlap", "1", "--filters.agreement", "0", "--cache", str(texts / ".cache"))
    configs = Path(__file__).parents[2] / "configs" / "tiny"
    train = ("--data.train", str(data), "--data.dev", str(data), "--training.steps", "1", "--output", output)
    return {
        "answer": ("answer", "--input", str(lines), "--model", str(reader), "--output", output, "--overwrite"),
        "evaluate": ("evaluate", "--model", str(reader), "--data", str(data), "--predictions", output),
        "bench": (
            "bench",
            "--model",
            str(reader),
            "--lengths",
            "64",
            "--rounds",
            "1",
            "--cold=false",
            "--plot",
            output,
        ),
        "convert": ("data", "convert", str(data), output, "--overwrite"),
        "augment": ("data", "augment", str(data), "--output", output, "--overwrite"),
        "generate": ("data", "generate", str(texts), "--output", output, "--overwrite", *few),
        "fetch": ("data", "fetch", "sqac/dev", "--cache", output),
        "report": ("report", str(reader), "--data", str(data), "--output", output, "--overwrite"),
        "export": ("export", "--model", str(reader), "--output", output, "--overwrite"),
        "trim": ("trim", str(reader), "--data", str(data), "--output", output),
        "finetune": ("finetune", "--config", str(configs / "finetune.toml"), *train),
        "adapt": ("adapt", str(texts), "--model", str(reader), "--teacher", str(reader), "--output", output),
        "distill": ("distill", "--config", str(configs / "distill.toml"), "--teacher", str(reader), *train),
    }


VERBS = (
    "answer",
    "evaluate",
    "bench",
    "convert",
    "augment",
    "generate",
    "fetch",
    "report",
    "export",
    "trim",
    "finetune",
    "distill",
    "adapt",
)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "fetch"])
def test_an_output_of_the_other_sort_is_refused_before_any_work(
    verb: str, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.json"
    data.write_text(json.dumps(GOOD))
    monkeypatch.chdir(tmp_path)
    Path("folder.json").mkdir()
    Path("file.txt").write_text("mine")
    monkeypatch.setattr(Reader, "predict", None)  # it would fail
    is_file = verb in ("answer", "evaluate", "bench", "convert", "augment", "generate")
    for output in ("folder.json", "new.json/") if is_file else ("file.txt", "new.html"):
        arguments = writing_to(output, reader, data)[verb]
        before = sorted(tmp_path.iterdir())
        code, out, err = run(*arguments, monkeypatch=monkeypatch, capsys=capsys)
        assert code == 2, err
        assert f"{output}: is" in err
        assert ("Give" in err and "a file." in err) if is_file else "directory" in err
        assert "Traceback" not in err
        assert out == ""
        assert sorted(tmp_path.iterdir()) == before
        assert list(Path("folder.json").iterdir()) == []
        assert Path("file.txt").read_text() == "mine"


@pytest.mark.parametrize("verb", VERBS)
def test_a_device_in_the_place_of_an_output(
    verb: str, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, output = tmp_path / "data.json", tmp_path / "full.json"
    data.write_text(json.dumps(GOOD))
    output.symlink_to("/dev/full")
    monkeypatch.chdir(tmp_path)
    arguments = writing_to(str(output), reader, data)[verb]
    code, _, err = run(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2, err
    problem = err.splitlines()[-1]
    assert "full.json" in problem, err
    assert "Traceback" not in err
    assert Path("/dev/full").is_char_device()
    assert output.is_symlink()
