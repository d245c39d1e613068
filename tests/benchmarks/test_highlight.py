"""How much may be cut out: what the texts are made of, what is counted, and the script from end to end."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from destila.data import squad
from scripts import load_script
from tiny import TEXTS, example, tiny_examples, tiny_reader

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "highlight.py"
SIZES = dict.fromkeys(TEXTS, 10)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("benchmarks/highlight.py")


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_text_holds_its_paragraph_once_among_others(script: ModuleType, same: bool, seed: int) -> None:
    titles = dict(zip(TEXTS, ("Lima", "Amazonas", "Lima", "María", "Lima", "Lluvia"), strict=True))
    asked = example("x", "¿Quién fundó Lima?", TEXTS[0], "Francisco Pizarro", title="Lima")
    text, shift = script.laid(asked, titles, SIZES, tokens=40, same=same, seed=seed)
    parts = text.split(script.BETWEEN)
    assert len(parts) == len(set(parts)) == 4
    assert text[shift : shift + len(TEXTS[0])] == TEXTS[0]
    assert sum(titles[part] == "Lima" for part in parts) == (3 if same else 1)
    assert script.laid(asked, titles, SIZES, tokens=40, same=same, seed=seed) == (text, shift)


def test_an_answer_stays_where_all_of_its_sentences_are_kept(script: ModuleType) -> None:
    shares = {"mass": np.array([0.6, 0.1, 0.3])}
    tokens = np.array([5, 10, 5])
    cases = [
        script.Case("a", shares, tokens, [0], [[0]]),
        script.Case("b", shares, tokens, [0], [[0, 1], [1]]),
        script.Case("c", shares, tokens, [1], [[0], [1, 2]]),
    ]
    found = script.row(cases, "mass", 0.6, seed=1)
    assert (found["n"], found["stays"]) == (3, pytest.approx(200 / 3))
    # Of the third, 0.1 is needed, and 0.6 more is more than enough.
    assert found["cut"] == pytest.approx(100 * (0.75 + 0.75 + 0.25) / 3)
    assert script.row(cases, "mass", 1.0, seed=1)["stays"] == 100
    assert script.row(cases, "mass", 1.0, seed=1)["cut"] == 0


def test_rare_words_of_the_question_point_at_their_sentences(script: ModuleType) -> None:
    text = "Lima está aquí. La fundó Pizarro. La fundación fue en 1535. Llueve en Lima."
    spans = [(0, 15), (16, 33), (34, 59), (60, 75)]
    assert [text[start:end][-1] for start, end in spans] == ["."] * 4
    found = script.pointing("¿Quién FUNDÓ Lima?", text, spans)
    assert found == pytest.approx([np.log(2), np.log(4), 0.0, np.log(2)])
    assert script.pointing("¿Fundaciones?", text, spans) == pytest.approx([0.0, 0.0, np.log(4), 0.0])


def test_the_script_says_what_highlight_does(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(tiny_reader(tmp_path / "model", seed=3, metadata={"window": {"length": 64, "stride": 16}}))
    squad.save(tiny_examples(), tmp_path / "data.json")
    arguments = ["--data", str(tmp_path / "data.json"), "--model", model, "--tokens", "120", "--questions", "4"]
    monkeypatch.setattr("sys.argv", [str(SCRIPT), *arguments])
    script.main()
    first, *_, last = capsys.readouterr().out.splitlines()
    said = json.loads(last)
    assert first.startswith("4 questions, ")
    rows = [row for row in said["rows"] if row["scoring"] == "mass"]
    assert [row["keep"] for row in rows] == list(script.KEEPS)
    assert [row["cut"] for row in rows] == sorted((row["cut"] for row in rows), reverse=True)
    assert [row["stays"] for row in rows] == sorted(row["stays"] for row in rows)

    reader = script.Reader.load(model)
    asked = next(one for one in tiny_examples() if one.id == "quijote")
    text, shift = script.laid(
        asked, {one.context: one.title for one in tiny_examples()}, SIZES, tokens=40, same=False, seed=1
    )
    case = script.ask(reader, asked, text, shift)
    found = reader.highlight(asked.question, text, keep=0.5, must_answer=True)
    row = script.row([case], "mass", 0.5, seed=1)
    assert row["cut"] == pytest.approx(100 * found.cut)
    gold = text.index("Miguel de Cervantes")
    assert row["stays"] == 100 * any(one.start <= gold < one.end for one in found.sentences)
