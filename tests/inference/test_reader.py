"""The reader end to end on tiny random models of every family."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from destila.config import WindowSettings
from destila.core.errors import UserError
from destila.core.records import Answer
from destila.data import streaming
from destila.data.windows import WindowBuilder, collate
from destila.inference import reader as reader_module
from destila.inference.backends import load_backend
from destila.inference.backends.torch import TorchModel
from destila.inference.decoding import decode
from destila.inference.reader import Reader
from tiny import ARCHITECTURES, TEXTS, pad_token_id, tiny_examples, tiny_model, tiny_reader, tiny_tokenizer


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    root = tmp_path_factory.mktemp("readers")
    return {name: Reader.load(tiny_reader(root / name, name, seed=3), window_length=64) for name in ARCHITECTURES}


def alone(reader, examples):
    """Predictions the slow way: every window by itself, without padding."""
    predictions = {}
    for example in examples:
        windows = reader.builder.build([example])
        logits = []
        for window in windows:
            batch = collate([window], pad_id=reader.builder.pad_id)
            logits.append([array[0] for array in reader.model.logits(batch.input_ids, batch.attention_mask)])
        starts, ends = zip(*logits, strict=True)
        longest = reader.window.max_answer_tokens
        predictions[example.id], _ = decode(windows, starts, ends, example.context, max_answer_tokens=longest)
    return predictions


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_batches_change_no_answer(readers, architecture, monkeypatch):
    reader, examples = readers[architecture], tiny_examples()
    monkeypatch.setattr(streaming, "EXAMPLES_AT_ONCE", 4)
    monkeypatch.setattr(reader_module, "WORTH_A_THREAD", 100)
    monkeypatch.setattr(reader_module, "TOKENS_PER_BATCH", 200)
    expected, found = alone(reader, examples), reader.predict(examples)
    assert list(found) == [example.id for example in examples]
    for name, prediction in found.items():
        assert prediction.no_answer_score == pytest.approx(expected[name].no_answer_score, abs=1e-3)
        assert (prediction.best.start, prediction.best.end) == (expected[name].best.start, expected[name].best.end)
    pairs = [(example.question, example.context) for example in examples]
    assert reader.answer_batch(pairs) == [found[example.id].answer for example in examples]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_ways_of_asking_agree(readers, architecture):
    reader = readers[architecture]
    question, context = "¿Quién fundó Lima?", " ".join(TEXTS)
    best, *others = reader.answers(question, context, top_k=4)
    assert reader.answer(question, context) == best
    assert len(others) == 3
    assert [a.score for a in others] == sorted((a.score for a in others), reverse=True)
    assert all(answer.text == context[answer.start : answer.end] for answer in [best, *others])
    assert len({answer.text for answer in reader.answer_batch([(question, text) for text in TEXTS])}) > 3


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(ARCHITECTURES), st.text(min_size=1, max_size=12), st.text(st.characters(codec=None), max_size=150)
)
def test_any_unicode_gives_an_exact_answer(readers, architecture, question, context):
    if not question.strip():
        return
    answer = readers[architecture].answer(question, context)
    if answer.text is None:
        assert answer == Answer.none(1.0)
    else:
        assert answer.text == context[answer.start : answer.end] == answer.text.strip() != ""


def test_empty_contexts_have_no_answer_and_empty_questions_are_refused(readers):
    assert readers["roberta"].answer("¿Qué?", "") == Answer.none()
    assert readers["roberta"].rank([]) == []
    assert readers["roberta"].predict([]) == {}
    with pytest.raises(UserError, match="2 problems"):
        readers["roberta"].answer_batch([("¿Qué?", "a"), ("", "a"), (" \n", "a")])


def test_the_threshold_decides_about_no_answer(tmp_path):
    question, context = "¿Quién fundó Lima?", TEXTS[0]
    directory = tiny_reader(tmp_path / "model", metadata={"no_answer_threshold": None, "version": "0"})
    always = Reader.load(directory)
    assert always.answer(question, context).text
    (directory / "destila.json").write_text(json.dumps({"no_answer_threshold": -1000.0}))
    never = Reader.load(directory)
    none, best = never.answers(question, context, top_k=2)
    assert none.text is None
    assert best == always.answer(question, context)


def test_window_settings_come_from_the_model_and_its_limits(tmp_path, capsys):
    window = {"length": 100, "stride": 16, "max_answer_tokens": 3}
    directory = tiny_reader(tmp_path / "model", metadata={"window": window})
    assert Reader.load(directory).window == WindowSettings(length=100, stride=16, max_answer_tokens=3)
    assert Reader.load(directory, window_length=80).window.length == 80
    assert capsys.readouterr().err == ""
    (directory / "destila.json").unlink()
    assert Reader.load(directory).window == WindowSettings(length=128)  # 130 positions, two of them before the first
    assert "windows of 128 tokens" in capsys.readouterr().err
    with pytest.raises(UserError, match="more than the 128"):
        Reader.load(directory, window_length=129)
    with pytest.raises(UserError, match="length = 5"):
        Reader.load(directory, window_length=5)
    assert Reader.load(directory, window_length=128).answer("¿Qué?", " ".join(TEXTS)).text


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ([], "not a JSON object"),
        ({"window": {"lenght": 3}}, "did you mean"),
        ({"window": 3}, "window"),
        ({"no_answer_threshold": "0"}, "no_answer_threshold is '0'"),
    ],
)
def test_broken_metadata_is_refused(tmp_path, metadata, message):
    directory = tiny_reader(tmp_path / "model")
    (directory / "destila.json").write_text(json.dumps(metadata))
    with pytest.raises(UserError, match=message):
        Reader.load(directory)


def test_models_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(UserError, match="holds no model"):
        Reader.load(tmp_path)
    with pytest.raises(UserError, match="onnx"):
        Reader.load(tiny_reader(tmp_path / "model"), backend="onnx")


def test_scores_that_are_not_numbers_are_refused():
    class Broken:
        def logits(self, input_ids, attention_mask):
            return np.full(input_ids.shape, np.nan, np.float32), np.zeros(input_ids.shape, np.float32)

    reader = Reader(Broken(), tiny_tokenizer(), window=WindowSettings(), pad_id=1, name="roto")
    with pytest.raises(UserError, match="roto: gave scores that are not finite"):
        reader.answer("¿Qué?", TEXTS[0])


def test_without_torch_the_remedy_is_named(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from destila.inference.backends import load_backend\n"
        f"load_backend({str(tmp_path)!r})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'destila[train]'" in result.stderr


# ---------------------------------------------------------------------------------------------------- torch
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_running_a_live_model_changes_nothing(architecture):
    model = tiny_model(architecture).train()
    windows = WindowBuilder(tiny_tokenizer(architecture), length=64, pad_id=pad_token_id(architecture)).build(
        tiny_examples()
    )
    batch = collate(windows, pad_id=pad_token_id(architecture))
    state = torch.get_rng_state()
    first = TorchModel(model).logits(batch.input_ids, batch.attention_mask)
    second = TorchModel(model).logits(batch.input_ids, batch.attention_mask)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True)), "dropout was on"
    assert first[0].shape == batch.input_ids.shape
    assert first[0].dtype == np.float32
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    output = model(torch.from_numpy(batch.input_ids), attention_mask=torch.from_numpy(batch.attention_mask))
    output.start_logits.sum().backward()  # nothing that the evaluation cached is in the way


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_backend_gives_transformers_logits(tmp_path, architecture):
    loaded = load_backend(str(tiny_reader(tmp_path, architecture)))
    tokenizer = tiny_tokenizer(architecture)
    encoding = tokenizer.encode("¿Quién fundó Lima?", TEXTS[0][:40])
    ids = np.array([encoding.ids], np.int64)
    types = {"token_type_ids": torch.tensor([encoding.type_ids])} if architecture == "bert" else {}
    with torch.no_grad():
        expected = tiny_model(architecture)(
            torch.from_numpy(ids), attention_mask=torch.ones_like(torch.from_numpy(ids)), **types
        )
    start, end = loaded.model.logits(ids, np.ones_like(ids))
    np.testing.assert_allclose(start, expected.start_logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(end, expected.end_logits.numpy(), atol=1e-4)
