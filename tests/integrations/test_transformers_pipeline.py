"""The drop-in pipeline: every form of input, every argument, the keys of old."""

from types import SimpleNamespace

import pytest

import destila
from destila.config import WindowSettings
from destila.core.errors import UserError
from destila.inference.reader import Reader
from destila.integrations.transformers_pipeline import pipeline
from tiny import TEXTS, tiny_reader

QUESTION, CONTEXT = "¿Quién fundó Lima?", " ".join(TEXTS)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    metadata = {"window": {"length": 64, "stride": 16, "max_answer_tokens": 10}, "no_answer_threshold": -1e9}
    return Reader.load(tiny_reader(tmp_path_factory.mktemp("model"), seed=3, metadata=metadata))


@pytest.fixture(scope="module")
def ask(reader):
    return pipeline("question-answering", model=reader)


def like(reader, *, threshold=None, length=128, stride=64, longest_answer=15):
    window = WindowSettings(length=length, stride=stride, max_answer_tokens=longest_answer)
    pad_id = reader.builder.pad_id
    return Reader(reader.model, reader.tokenizer, window=window, pad_id=pad_id, no_answer_threshold=threshold)


def as_results(answers):
    return [{"score": a.score, "start": a.start, "end": a.end, "answer": a.text} for a in answers]


def test_it_is_found_where_it_is_promised(tmp_path):
    assert destila.pipeline is pipeline
    directory = tiny_reader(tmp_path, seed=3)
    result = pipeline(model=str(directory), top_k=2)(question=QUESTION, context=CONTEXT)
    assert [list(answer) for answer in result] == [["score", "start", "end", "answer"]] * 2


def test_one_question_gives_one_dict_with_the_old_keys(ask, reader):
    result = ask(question=QUESTION, context=CONTEXT)
    assert list(result) == ["score", "start", "end", "answer"]
    assert result["answer"] == CONTEXT[result["start"] : result["end"]]
    # The model reads 128 tokens; the defaults of old are 384, 128 and 15, and never more than the model can.
    assert result == as_results(like(reader).answers(QUESTION, CONTEXT, top_k=1))[0]


def test_top_k_gives_a_list(ask, reader):
    assert ask(question=QUESTION, context=CONTEXT, top_k=3) == as_results(
        like(reader).answers(QUESTION, CONTEXT, top_k=3)
    )


def test_every_form_of_input_means_the_same(ask):
    one = {"question": QUESTION, "context": TEXTS[0]}
    two = {"question": "¿Dónde?", "context": TEXTS[1]}
    first, second = ask(one), ask(**two)
    assert first != second
    pairs = [
        ask([one, two]),
        ask(one, two),
        ask(iter([one, two])),
        ask(question=[QUESTION, "¿Dónde?"], context=[TEXTS[0], TEXTS[1]]),
        ask(SimpleNamespace(question_text=QUESTION, context_text=TEXTS[0]), two),
    ]
    for results in pairs:
        for result, expected in zip(results, [first, second], strict=True):
            assert {k: result[k] for k in ("start", "end", "answer")} == {
                k: expected[k] for k in ("start", "end", "answer")
            }
            assert result["score"] == pytest.approx(expected["score"], rel=1e-3)
    assert ask([one]) == first
    assert len(ask(question=[QUESTION, "¿Dónde?", "¿Qué?"], context=TEXTS[0])) == 3


def test_every_argument_does_what_it_did(ask, reader):
    for options, other in [
        ({"max_seq_len": 48}, {"length": 48, "stride": 24}),
        ({"max_seq_len": 48, "doc_stride": 4}, {"length": 48, "stride": 4}),
        ({"max_answer_len": 2}, {"longest_answer": 2}),
    ]:
        expected = as_results(like(reader, **other).answers(QUESTION, CONTEXT, top_k=4))
        assert ask(question=QUESTION, context=CONTEXT, top_k=4, **options) == expected
        assert ask(question=QUESTION, context=CONTEXT, top_k=4) != expected
    tokens = reader.tokenizer.encode(QUESTION, add_special_tokens=False).offsets
    cut = ask(question=QUESTION, context=CONTEXT, max_question_len=3)
    assert cut == as_results(like(reader).answers(QUESTION[: tokens[2][1]], CONTEXT, top_k=1))[0]
    assert ask(question=QUESTION, context=CONTEXT, max_seq_len=None, align_to_words=True) == ask(
        question=QUESTION, context=CONTEXT
    )


def test_impossible_answers_are_ranked_among_the_others(ask, reader):
    none = like(reader, threshold=-1e9).answers(QUESTION, CONTEXT, top_k=1)[0]
    assert none.text is None
    results = ask(question=QUESTION, context=CONTEXT, top_k=1000, handle_impossible_answer=True)
    (found,) = [result for result in results if result["answer"] == ""]
    assert (found["start"], found["end"]) == (0, 0)
    assert found["score"] == pytest.approx(none.score, rel=1e-6)
    scores = [result["score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    plain = ask(question=QUESTION, context=CONTEXT, top_k=1000)
    assert [result for result in results if result["answer"]] == plain[: len(results) - 1]


@pytest.mark.parametrize(
    ("inputs", "options", "expected"),
    [
        ((), {}, "0 questions do not go with 0 contexts"),
        ((), {"question": ["a", "b"], "context": ["c"]}, "2 questions do not go with 1 contexts"),
        ((), {"question": " ", "context": "c"}, "question is ' '"),
        ((), {"question": "a", "context": ""}, "context is ''"),
        (({"question": "a"},), {}, "context is None"),
        ((5,), {}, "question is None"),
        (({"question": "a", "context": "b"},), {"question": "a"}, "one way"),
        ((), {"question": "a", "context": "b", "topk": 2}, "'topk' is no option"),
        ((), {"question": "a", "context": "b", "top_k": 0, "doc_stride": -1}, "top_k = 0 is no whole number"),
        ((), {"question": "a", "context": "b", "max_seq_len": 129}, "can read 128 tokens"),
        ((), {"question": "a", "context": "b", "align_to_words": False}, "answers are whole words"),
    ],
)
def test_what_cannot_be_done_is_said(ask, inputs, options, expected):
    with pytest.raises(UserError, match=expected):
        ask(*inputs, **options)


def test_only_its_own_task_is_known(reader):
    with pytest.raises(UserError, match="translation"):
        pipeline("translation", model=reader)
