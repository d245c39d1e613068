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
from destila.inference.questions import examples_of
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
    if not question.strip() or not context.strip():
        with pytest.raises(UserError, match=r"is empty|problems"):
            readers[architecture].answer(question, context)
        return
    answer = readers[architecture].answer(question, context)
    if answer.text is None:  # there are no tokens that stand for a character
        assert answer == Answer.none(1.0)
    else:
        assert answer.text == context[answer.start : answer.end] == answer.text.strip() != ""


def test_what_is_no_text_or_says_nothing_is_refused(readers):
    reader = readers["roberta"]
    assert reader.rank([]) == []
    assert reader.predict([]) == {}
    for pair, problem in [
        (("¿Qué?", ""), "question 1: the context is empty"),
        (("¿Qué?", " \n\u3000"), "question 1: the context is empty"),
        (("", "a"), "question 1: the question is empty"),
        ((None, "a"), "question 1: the question is None, which is no text"),
        (("¿Qué?", None), "the context is None"),
        ((b"Que?", "a"), "the question is b'Que\\?', which is no text"),
        (("¿Qué?", b"\xff" * 500), r"the context is b'\\xff.{0,60}\.\.\., which is no text"),
        ((5, ["a"]), "2 problems"),
    ]:
        for ask in (reader.answer, reader.answers, lambda *pair: reader.answer_batch([pair])):
            with pytest.raises(UserError, match=problem) as caught:
                ask(*pair)
            assert caught.value.remedy
    with pytest.raises(UserError, match=r"2 problems:\n  - question 2: the question is empty\n  - question 3: the con"):
        reader.answer_batch([("¿Qué?", "a"), ("", "a"), ("¿Qué?", " ")])
    for pair in ("ab", None, ("a",), ("a", "b", "c"), {"question": "a", "context": "b"}):
        with pytest.raises(UserError, match=r"question 1: is .*Give a pair"):
            reader.rank([pair])
    for pairs in (None, 5, 1.5):
        with pytest.raises(UserError, match=f"questions: are {pairs}"):
            reader.answer_batch(pairs)
    for examples in (None, "ab", 5, ["ab"], [None]):
        with pytest.raises(UserError, match="examples: are"):
            reader.predict(examples)


@pytest.mark.parametrize("wrong", [-1, "2", 2.5, True, None, float("nan")])
@pytest.mark.parametrize("setting", ["threads", "window_length"])
def test_numbers_of_loading_are_checked(readers, setting, wrong, tmp_path):
    with pytest.raises(UserError, match=f"{setting}: is {wrong!r}. Make it a whole number"):
        Reader.load(tiny_reader(tmp_path / "model"), **{setting: wrong})


@pytest.mark.parametrize("model", [5, b"reader", ["reader"], {}, 1.5])
def test_a_model_is_named_by_a_text_or_a_path(model):
    with pytest.raises(UserError, match=r"model: is .*Give a directory or a hub id"):
        Reader.load(model)


@pytest.mark.parametrize("backend", ["tf", "", None, 3])
def test_an_unknown_backend_lists_those_that_there_are(backend, tmp_path):
    with pytest.raises(UserError, match=r"backend: is .*Choose one of auto, openvino, onnx, torch"):
        Reader.load(tiny_reader(tmp_path / "model"), backend=backend)


@pytest.mark.parametrize("top_k", [0, -1, "3", None, 2.0, True])
def test_how_many_answers_must_be_a_number_of_at_least_one(readers, top_k):
    reader = readers["roberta"]
    with pytest.raises(UserError, match=f"top_k: is {top_k!r}"):
        reader.answers("¿Qué?", "Lima", top_k=top_k)
    with pytest.raises(UserError, match=f"top_k: is {top_k!r}"):
        reader.rank([("¿Qué?", "Lima")], top_k=top_k)


@pytest.mark.parametrize(
    ("refusing", "problem"),
    [
        ({"must_answer": True, "no_answer_threshold": 1.0}, "Give one of the two"),
        ({"must_answer": "no"}, "must_answer: is 'no'"),
        ({"no_answer_threshold": "1"}, "no_answer_threshold: is '1'"),
        ({"no_answer_threshold": float("nan")}, "no_answer_threshold: is nan"),
        ({"no_answer_threshold": True}, "no_answer_threshold: is True"),
        ({"no_answer_threshold": -float("inf")}, "no_answer_threshold: is -inf"),
        ({"no_answer_threshold": 10**400}, "no_answer_threshold: is 1000"),
    ],
)
def test_contradictions_about_refusing_are_told(readers, tmp_path, refusing, problem):
    with pytest.raises(UserError, match=problem):
        readers["roberta"].answer("¿Qué?", TEXTS[0], **refusing)
    with pytest.raises(UserError, match=problem):
        Reader.load(tiny_reader(tmp_path), **refusing)


def test_people_may_insist_on_an_answer_or_choose_the_threshold(tmp_path):
    question, context = "¿Quién fundó Lima?", TEXTS[0]
    directory = tiny_reader(tmp_path / "model", metadata={"no_answer_threshold": -1000.0})
    shy = Reader.load(directory)
    ((prediction, answers),) = shy.read(examples_of([(question, context)]), top_k=1)
    assert answers == [prediction.answer] == [prediction.no_answer]
    best, score = prediction.best, prediction.no_answer_score
    assert prediction.guess is best is not None
    assert shy.answer(question, context, must_answer=True) == best
    assert shy.answer(question, context, no_answer_threshold=score) == best, "a threshold that is met still answers"
    assert shy.answer(question, context, no_answer_threshold=score - 0.01).text is None
    assert shy.answer_batch([(question, context)], must_answer=True) == [best]
    bold = Reader.load(directory, must_answer=True)
    assert bold.answer(question, context) == best
    assert bold.answer(question, context, no_answer_threshold=score - 0.01).text is None
    assert Reader.load(directory, no_answer_threshold=score).answer(question, context) == best
    refused = shy.answers(question, context, top_k=3)
    assert refused[1:] == shy.answers(question, context, top_k=2, must_answer=True), "the guess comes next"


def test_any_way_to_the_logits_gives_the_same_and_sees_bounded_parts(readers, monkeypatch):
    reader, seen = readers["roberta"], []
    monkeypatch.setattr(streaming, "EXAMPLES_AT_ONCE", 5)
    monkeypatch.setattr(streaming, "CHARACTERS_AT_ONCE", 300)
    monkeypatch.setattr(streaming, "LONG_TEXT", 2_000)
    monkeypatch.setattr(streaming, "PIECE", 500)
    texts = [*TEXTS, " ".join(TEXTS) * 4, *TEXTS]
    examples = examples_of([("¿Quién?", text) for text in texts])

    def logits(windows):
        seen.append(sum(len(window.offsets) for window in windows))
        return reader.logits(windows)

    found = list(reader.read(examples, top_k=3, logits=logits))
    assert len(seen) > 6
    assert max(seen) < 1_000
    assert found == list(reader.read(examples, top_k=3))
    alone = [next(reader.read([example], top_k=3)) for example in examples]
    for (_, answers), (_, same) in zip(found, alone, strict=True):
        assert [(a.start, a.end) for a in answers] == [(a.start, a.end) for a in same]


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


def test_window_settings_come_from_the_model_and_its_limits(tmp_path, caplog):
    caplog.set_level("INFO", logger="destila")
    window = {"length": 100, "stride": 16, "max_answer_tokens": 3}
    directory = tiny_reader(tmp_path / "model", metadata={"window": window})
    assert Reader.load(directory).window == WindowSettings(length=100, stride=16, max_answer_tokens=3)
    assert Reader.load(directory, window_length=80).window.length == 80
    assert caplog.text == ""
    (directory / "destila.json").unlink()
    assert Reader.load(directory).window == WindowSettings(length=128)  # 130 positions, two of them before the first
    assert "windows of 128 tokens" in caplog.text
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
    tiny_reader(tmp_path / "reader")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from destila.inference.backends import load_backend\n"
        f"load_backend({str(tmp_path / 'reader')!r})"
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
