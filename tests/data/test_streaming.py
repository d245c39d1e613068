"""Streamed windows are those of the whole text; memory is flat, time is linear, work is done ahead."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from destila.core.errors import UserError
from destila.core.records import Example
from destila.data import streaming
from destila.data.streaming import ahead, pieces, stream
from destila.data.windows import WindowBuilder
from tiny import ARCHITECTURES, TEXTS, pad_token_id, tiny_examples, tiny_tokenizer

WORDS = st.sampled_from(
    [
        *" ".join(TEXTS).split(),
        "\n",
        "  ",
        "\t",
        "😀👩🏽\u200d🚀",
        "中文字",
        "e\u0301",
        "\u0301",
        "</s>",
        "½ﬁ",
        "\ud800",
    ]
)


def builder(architecture="roberta", *, length=48, tokenizer=None):
    tokenizer = tokenizer or tiny_tokenizer(architecture)
    return WindowBuilder(tokenizer, length=length, stride=8, pad_id=pad_token_id(architecture))


def plain_form(windows):
    return [
        (w.example, w.input_ids.tolist(), w.context_start, w.context_end, w.offsets.tolist(), w.first_token)
        for w in windows
    ]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(streaming, "PIECE", 40)
    monkeypatch.setattr(streaming, "LONG_TEXT", 80)
    monkeypatch.setattr(streaming, "EXAMPLES_AT_ONCE", 2)


# ---------------------------------------------------------------------------------------------------- equality
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contexts=st.lists(st.lists(st.one_of(WORDS, WORDS, st.text(max_size=6)), max_size=60), max_size=4))
def test_streamed_windows_are_those_of_the_whole_text(small, architecture, contexts):
    build = builder(architecture)
    examples = [Example(f"{n}", "¿a?", " ".join(words)) for n, words in enumerate(contexts)]
    streamed = [window for part in stream(build, examples) for window in part]
    assert plain_form(streamed) == plain_form(build.build(examples))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_long_texts_come_in_many_bounded_parts(small, architecture):
    build = builder(architecture)
    text = " ".join(TEXTS * 8)
    cuts = list(pieces(text, build.tokenizer))
    assert [start for start, _ in cuts] == [0, *(end for _, end in cuts[:-1])]
    assert cuts[-1][1] == len(text)
    assert max(end - start for start, end in cuts) <= 2 * streaming.PIECE
    assert (
        max(map(len, stream(build, [Example("1", "¿a?", text)]))) < len(build.build([Example("1", "¿a?", text)])) / 10
    )


def across_words():
    """A tokenizer whose tokens run across spaces, so that hardly any place may be cut."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    tokenizer.post_processor = tiny_tokenizer().post_processor
    return tokenizer


def test_a_tokenizer_that_reads_across_spaces_is_not_cut_inside_of_its_tokens(small):
    tokenizer = across_words()
    build = builder(tokenizer=tokenizer)
    text = " ".join(TEXTS * 4)
    assert any(" " in text[a:b].strip() for a, b in tokenizer.encode(text).offsets), "no token runs across a space"
    streamed = [window for part in stream(build, [Example("1", "¿a?", text)]) for window in part]
    assert plain_form(streamed) == plain_form(build.build([Example("1", "¿a?", text)]))


@pytest.mark.parametrize("text", ["x" * 500, "中文字。" * 100, "\n" * 400, " " * 300 + "a" + " " * 300])
def test_texts_without_words_stay_whole(small, text):
    build = builder()
    assert list(pieces(text, build.tokenizer)) == [(0, len(text))]
    streamed = [window for part in stream(build, [Example("1", "¿a?", text)]) for window in part]
    assert plain_form(streamed) == plain_form(build.build([Example("1", "¿a?", text)]))


def test_a_question_that_leaves_no_room_is_refused(small):
    with pytest.raises(UserError, match="the question of 'larga'"):
        list(stream(builder(), [*tiny_examples(), Example("larga", "palabra " * 40, " ".join(TEXTS * 9))]))


# ---------------------------------------------------------------------------------------------------- ahead
def test_one_item_is_made_ahead_and_no_more():
    made = []

    def items():
        for number in range(5):
            made.append((number, threading.current_thread().name))
            yield number

    found = []
    for number in ahead(items()):
        time.sleep(0.02)
        found.append(number)
        assert len(made) <= number + 2
    assert found == [0, 1, 2, 3, 4]
    assert all(name.startswith("destila-ahead") for _, name in made)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("destila-ahead")]


def test_errors_come_through_and_leaving_early_ends_the_thread():
    def items():
        yield 1
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(ahead(items()))
    left = ahead(iter(range(10**9)))
    assert next(left) == 0
    left.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("destila-ahead")]


# ---------------------------------------------------------------------------------------------------- hot path
PROGRAM = """
import json, sys, time
sys.path.insert(0, {tests!r})
import numpy as np
from destila.evaluation.benchmark import _peak_bytes
from destila.inference.reader import Reader
from destila.config import WindowSettings
from tiny import TEXTS, tiny_tokenizer

class Network:
    def logits(self, ids, mask):
        return np.sin(ids * 7.0).astype(np.float32), np.cos(ids * 3.0).astype(np.float32)

reader = Reader(Network(), tiny_tokenizer(), window=WindowSettings(), pad_id=1)
passage = " ".join(TEXTS) + "\\n"
for size in {sizes}:
    text = passage * (size // len(passage))
    started, rows = time.process_time(), []
    answer = reader.answers("¿Qué?", text, top_k=3)[0]
    assert answer.text == text[answer.start : answer.end]
    print(json.dumps([len(text), time.process_time() - started, _peak_bytes()]), flush=True)
"""


def test_memory_is_flat_and_time_linear_in_the_length_of_a_document():
    program = PROGRAM.format(tests=str(Path(__file__).parents[1] / "support"), sizes=(200_000, 400_000, 1_600_000))
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    _, short, long = (json.loads(line) for line in result.stdout.splitlines())
    assert long[2] - short[2] < 16 * (long[0] - short[0]), "a tenth of what whole texts took"
    assert long[1] < 2 * short[1] * long[0] / short[0], "time grows faster than the text"
