"""How alike the layers of two readers are: by hand, by words, and why they are not compared."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from destila.core.records import Example, Missing
from destila.reporting import layer_similarity
from destila.reporting.facts import LayerAgreement
from destila.reporting.provenance import trace
from report_case import onnx_reader
from tiny import tiny_examples, tiny_reader


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("family")
    return {
        "teacher": tiny_reader(directory / "teacher", seed=0, layers=4, hidden=32),
        "student": tiny_reader(directory / "student", seed=1, layers=2),
        "bert": tiny_reader(directory / "bert", "bert"),
    }


def compared(family: dict[str, Path], student: str, teacher: str, **options: int) -> LayerAgreement | Missing:
    pairs = [(name, trace(str(family[name]))) for name in (student, teacher)]
    return layer_similarity.compare_layers(*pairs, tiny_examples(), **{"windows": 4, **options})


def test_layers_agree_as_by_hand(family: dict[str, Path]) -> None:
    import transformers

    found = compared(family, "student", "teacher")
    assert isinstance(found, LayerAgreement)
    assert (found.windows, found.mapping, found.trained) == (4, (0, 2, 4), False)
    states, maps = [], []
    for name in ("student", "teacher"):
        model = transformers.AutoModelForQuestionAnswering.from_pretrained(family[name], attn_implementation="eager")
        reader = inside_windows(family)
        rows = [model.eval()(input_ids=ids, output_hidden_states=True, output_attentions=True) for ids in reader]
        layers = range(len(rows[0].hidden_states))
        states.append([np.concatenate([row.hidden_states[n][0].detach().numpy() for row in rows]) for n in layers])
        maps.append([[row.attentions[n - 1][0].mean(0).detach().numpy() for row in rows] for n in layers[1:]])
    for (i, x), (j, y) in itertools.product(enumerate(states[0]), enumerate(states[1])):
        grams = [side - side.mean(axis=0) for side in (x.astype(float), y.astype(float))]
        left, right = (side @ side.T for side in grams)  # CKA from the (N, N) Gram matrices: the other formula
        assert found.hidden[i][j] == pytest.approx(
            np.sum(left * right) / np.sqrt(np.sum(left**2) * np.sum(right**2)), abs=1e-4
        )
    for (i, ours), (j, theirs) in itertools.product(enumerate(maps[0]), enumerate(maps[1])):
        values = [1 - shannon(p, q) for a, b in zip(ours, theirs, strict=True) for p, q in zip(a, b, strict=True)]
        assert found.attention[i][j] == pytest.approx(np.mean(values), abs=1e-4)
    assert found.tokens == len(states[0][0])


def test_models_with_other_tokenizers_are_compared_by_words(family: dict[str, Path]) -> None:
    found = compared(family, "bert", "teacher")
    assert isinstance(found, LayerAgreement)
    examples = tiny_examples()
    chosen = [examples[place * len(examples) // 4] for place in range(4)]
    assert (found.unit, found.windows) == ("words", 4)
    assert found.tokens == sum(len(one.context.split()) + 2 for one in chosen)
    ours, theirs = (by_words(family[name], chosen) for name in ("bert", "teacher"))
    for (i, x), (j, y) in itertools.product(enumerate(ours[0]), enumerate(theirs[0])):
        x, y = (side - side.mean(axis=0) for side in (x, y))
        left, right = x @ x.T, y @ y.T
        expected = np.sum(left * right) / np.sqrt(np.sum(left**2) * np.sum(right**2))
        assert found.hidden[i][j] == pytest.approx(expected, abs=1e-4)
    for (i, p), (j, q) in itertools.product(enumerate(ours[1]), enumerate(theirs[1])):
        values = [1 - shannon(*rows) for maps in zip(p, q, strict=True) for rows in zip(*maps, strict=True)]
        assert found.attention[i][j] == pytest.approx(np.mean(values), abs=1e-4)


def by_words(directory: Path, examples: list[Example]) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """Hidden states (N, D) of each layer, and attention (words, words) of each layer and example, in plain loops."""
    import torch
    import transformers
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(directory, attn_implementation="eager").eval()
    states, maps = [], []
    for one in examples:
        encoded = tokenizer.encode(one.question, one.context)
        places = [(one.context + "x").index(one.context[start:end].strip(), start) for start, end in encoded.offsets]
        units, last = [], len(one.context.split()) + 1
        for part, place in zip(encoded.sequence_ids, places, strict=True):
            before = len((one.context[:place] + "x").split())
            units.append(before if part == 1 else last if units and units[-1] else 0)
        row = model(
            input_ids=torch.tensor([encoded.ids]),
            token_type_ids=torch.tensor([encoded.type_ids]) if model.config.model_type == "bert" else None,
            output_hidden_states=True,
            output_attentions=True,
        )
        groups = [[token for token, unit in enumerate(units) if unit == number] for number in range(last + 1)]
        states.append([[layer[0, own].mean(0).detach().numpy() for own in groups] for layer in row.hidden_states])
        means = [[layer[0].mean(0)[own].mean(0).detach().numpy() for own in groups] for layer in row.attentions]
        maps.append([np.array([[line[own].sum() for own in groups] for line in layer]) for layer in means])
    joined = [np.concatenate([np.array(one[layer], float) for one in states]) for layer in range(len(states[0]))]
    return joined, [[one[layer] for one in maps] for layer in range(len(maps[0]))]


def inside_windows(family: dict[str, Path]) -> list:
    import torch

    from destila.models.files import load_reader

    loaded = load_reader(str(family["student"]))
    pairs = layer_similarity.same_windows(loaded, loaded, tiny_examples(), 4)
    return [torch.tensor(left.window.input_ids[None].astype(np.int64)) for left, _ in pairs]


def shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence in bits, as the mean of two Kullback-Leibler divergences to the middle."""
    middle = (p + q) / 2
    parts = [np.sum(side[side > 0] * np.log2(side[side > 0] / middle[side > 0])) for side in (p, q)]
    return float(sum(parts) / 2)


def test_a_model_agrees_with_itself(family: dict[str, Path]) -> None:
    found = compared(family, "student", "student")
    assert isinstance(found, LayerAgreement)
    assert [found.hidden[n][n] for n in range(3)] == pytest.approx([1, 1, 1])
    assert [found.attention[n][n] for n in range(2)] == pytest.approx([1, 1])


def test_why_layers_are_not_compared_is_said(
    family: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "switched off" in compared(family, "student", "teacher", windows=0).reason  # type: ignore[union-attr]
    monkeypatch.setattr(layer_similarity, "same_words", lambda *_: [])
    assert "other words" in compared(family, "bert", "teacher").reason  # type: ignore[union-attr]
    export = onnx_reader(tmp_path / "export")
    gone = compared({**family, "export": export}, "export", "teacher")
    assert "weights that torch needs are not here for export" in gone.reason  # type: ignore[union-attr]
    torn = tmp_path / "torn"
    torn.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (torn / name).write_bytes((family["student"] / name).read_bytes())
    (torn / "model.safetensors").write_bytes(b"torn")
    assert "cannot be loaded" in compared({**family, "torn": torn}, "torn", "teacher").reason  # type: ignore[union-attr]


def test_an_export_is_compared_by_what_it_was_exported_from(family: dict[str, Path], tmp_path: Path) -> None:
    export = onnx_reader(tmp_path / "export", source={"model": str(family["student"])})
    found = compared({**family, "export": export}, "export", "teacher")
    direct = compared(family, "student", "teacher")
    assert isinstance(found, LayerAgreement)
    assert found.hidden == direct.hidden  # type: ignore[union-attr]
