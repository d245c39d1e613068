"""The decoder against a slow reference written from its description, and against hand-made cases in many scripts."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destila.core.characters import is_hidden
from destila.core.records import Answer, Example
from destila.data.windows import Window, WindowBuilder
from destila.inference import decoding as spans_module
from destila.inference.decoding import decode
from tiny import ARCHITECTURES, pad_token_id, tiny_tokenizer

LETTERS = "ab1ñé \n.,¿-ع中のไ่́😀👩‍\u200d️\xad\u200b\ufeff\u202e"


# ---------------------------------------------------------------------------------------------------- reference
def shows(piece):
    return any(not letter.isspace() and not is_hidden(letter) for letter in piece)


def pieces(offsets, context):
    return [context[start:end] for start, end in offsets.tolist()]


def reference_spans(windows, starts, ends, max_answer_tokens, context):
    """{(first token, last token): best score} of all legal spans, by the definition."""
    spans = {}
    for window, start, end in zip(windows, starts, ends, strict=True):
        count = len(window.offsets)
        for i in range(count):
            for j in range(i, min(count, i + max_answer_tokens)):
                if not any(map(shows, pieces(window.offsets[i : j + 1], context))):
                    continue  # stands for no character that shows
                score = start[window.context_start + i] + end[window.context_start + j]
                key = (window.first_token + i, window.first_token + j)
                spans[key] = max(spans.get(key, -math.inf), score)
    return spans


def characters(windows, span, context):
    """The first and the last character of a span that show."""
    offsets = {w.first_token + k: tuple(pair) for w in windows for k, pair in enumerate(w.offsets.tolist())}
    solid = [offsets[k] for k in range(span[0], span[1] + 1) if offsets[k][1] > offsets[k][0]]
    shown = [place for a, b in solid for place in range(a, b) if shows(context[place])]
    return min(shown), max(shown) + 1


def one_token_per_letter(context, groups, first_token=0, front=3):
    """A window whose tokens are runs of a context: every (start, end) in groups."""
    offsets = np.array(groups, np.int32).reshape(-1, 2)
    return Window(
        example=0,
        input_ids=np.zeros(front + len(groups) + 1, np.int32),
        context_start=front,
        context_end=front + len(groups),
        offsets=offsets,
        first_token=first_token,
    )


@st.composite
def cases(draw):
    context = draw(st.text(LETTERS, max_size=14))
    groups, place = [], 0
    while place < len(context):
        size = draw(st.integers(1, 3))
        chunk = context[place : place + size]
        start = place + len(chunk) - len(chunk.lstrip())
        stop = start + len(chunk.strip())
        groups += [(start, stop)] * draw(st.sampled_from([1, 1, 1, 2]))  # an emoji may be several tokens
        place += size
    room = draw(st.integers(2, 6))
    step = draw(st.integers(1, room))
    firsts = range(0, max(1, len(groups) - room + step), step) if len(groups) > room else range(1)
    windows = [one_token_per_letter(context, groups[f : f + room], f) for f in firsts]
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    logits = [[generator.normal(0, 3, len(w.input_ids)).astype(np.float32) for w in windows] for _ in range(2)]
    return context, windows, *logits, draw(st.integers(1, 5)), draw(st.integers(1, 4))


@settings(max_examples=300, deadline=None)
@given(cases(), st.one_of(st.none(), st.floats(-5, 5)), st.sampled_from([1, 2, 1024]))
def test_decoder_equals_the_slow_reference(case, threshold, rows_at_once):
    context, windows, starts, ends, longest, top_k = case
    with pytest.MonkeyPatch.context() as patch:  # settled row by row, or all at the end
        patch.setattr(spans_module, "ROWS_AT_ONCE", rows_at_once)
        prediction, answers = decode(
            windows, starts, ends, context, max_answer_tokens=longest, top_k=top_k, no_answer_threshold=threshold
        )
    spans = reference_spans(windows, starts, ends, longest, context)
    null = min(s[0] + e[0] for s, e in zip(starts, ends, strict=True))
    total = math.log(sum(math.exp(score) for score in [*spans.values(), null]))
    found = [answer for answer in answers if answer.text is not None]

    if not spans:
        assert prediction.best is None
        assert prediction.answer.text is None
        assert [answer.text for answer in answers] == [None]
        return
    best_span = max(spans, key=lambda span: (spans[span], -span[0], -span[1]))
    assert prediction.no_answer_score == pytest.approx(null - spans[best_span], abs=1e-4)
    says_none = threshold is not None and null - spans[best_span] > threshold
    assert (prediction.answer.text is None) == says_none
    assert answers[0] == prediction.answer
    assert len(answers) <= top_k

    taken, floor = [], spans[best_span] + math.log(0.1)

    def best_new():
        """The best span that is left, and says what no better one said."""
        while spans:
            best = max(spans, key=lambda span: (spans[span], -span[0], -span[1]))
            start, end = spans_module._whole_words(context, *characters(windows, best, context))
            if not any(" ".join(context[start:end].lower().split()) == said for said, *_ in taken):
                return best
            drop(start, end)
        return None

    def drop(left, right):
        for span in list(spans):
            start, end = characters(windows, span, context)
            if start < right and end > left:
                del spans[span]

    for answer in [prediction.best, *[a for a in found if a != prediction.best]]:
        best = best_new()
        assert spans[best] >= floor
        start, end = characters(windows, best, context)
        assert answer.start <= start
        assert answer.end >= end
        assert answer.text == context[answer.start : answer.end] == answer.text.strip()
        assert answer.score == pytest.approx(math.exp(spans[best] - total), rel=1e-3)
        assert all(answer.end <= start or end <= answer.start for _, start, end in taken)
        taken.append((" ".join(answer.text.lower().split()), answer.start, answer.end))
        drop(answer.start, answer.end)
    if len(answers) < top_k:
        best = best_new()
        assert best is None or spans[best] < floor, "an answer was left out"


def test_probabilities_of_all_spans_and_no_answer_sum_to_one():
    context = "uno dos tres"
    windows = [one_token_per_letter(context, [(0, 3), (4, 7), (8, 12)])]
    logits = [[np.array([0.5, 9, 9, 1.0, 0.2, 0.25, 9], np.float32)]] * 2
    _, answers = decode(windows, *logits, context, max_answer_tokens=1, top_k=3)
    none = decode(windows, *logits, context, max_answer_tokens=1, no_answer_threshold=-100.0)[0].answer
    assert sum(answer.score for answer in [*answers, none]) == pytest.approx(1.0, abs=1e-6)


def shown(context, *values, top_k=9):
    """Texts of the answers where each word of a context has a value, in logits, as an answer of one word."""
    words = [(m.start(), m.end()) for m in re.finditer(r"\S+", context)]
    window = one_token_per_letter(context, words)
    logits = np.array([-20, 0, 0, *values, 0], np.float32) / 2
    return [a.text for a in decode([window], [logits], [logits], context, max_answer_tokens=1, top_k=top_k)[1]]


def test_alternatives_that_hardly_any_probability_is_left_for_are_hidden():
    near, far = math.log(0.11), math.log(0.09)
    assert shown("uno dos tres cuatro", 5, 5 + far, 5 + near, 4) == ["uno", "cuatro", "tres"]
    assert shown("uno dos tres", -90, -90 + near, -90 + far) == ["uno", "dos"], "the share is of the best, not of all"
    assert shown("uno dos tres", 5, 4, 3, top_k=2) == ["uno", "dos"]


def test_alternatives_that_say_the_same_are_one():
    assert shown("Lima Cuzco LIMA lima Tacna", 5, 4.5, 4.9, 4.8, 4) == ["Lima", "Cuzco", "Tacna"]
    assert shown("Lima Cuzco lima", 4, 5, 4.9) == ["Cuzco", "lima"], "the best place stands for all"
    assert shown("año Año ano", 5, 5, 5) == ["año", "ano"], "accents tell words apart"


def test_overlapping_windows_count_a_span_once():
    context = "uno dos tres"
    groups = [(0, 3), (4, 7), (8, 12)]
    logits = np.array([0, 9, 9, 1, -2, 0.25, 9], np.float32)
    one = [one_token_per_letter(context, groups)]
    two = [*one, one_token_per_letter(context, groups[1:], first_token=1)]
    second = np.array([1, 9, 9, -2, 0.25, 9], np.float32)
    once = decode(one, [logits], [logits], context, top_k=3)
    twice = decode(two, [logits, second], [logits, second], context, top_k=3)
    assert twice == once


# ---------------------------------------------------------------------------------------------------- by hand
def decode_piece(context, piece_start, piece_end):
    """What comes back when the model points at exactly these characters, one token a character."""
    window = one_token_per_letter(
        context, [(i, i + (not letter.isspace())) for i, letter in enumerate(context)], front=1
    )
    start, end = np.full(len(window.input_ids), -9, np.float32), np.full(len(window.input_ids), -9, np.float32)
    start[1 + piece_start] = end[piece_end] = 9
    return decode([window], [start], [end], context)[0].answer.text


@pytest.mark.parametrize(
    ("context", "piece", "expected"),
    [
        ("El señor Núñez vive.", "Nú", "Núñez"),
        ("El señor Núñez vive.", "ñez vi", "Núñez vive"),
        ("El señor Núñez vive.", "vive", "vive"),
        ("en 1535.", "53", "1535"),
        ("cafe\u0301 y te\u0301.", "caf", "cafe\u0301"),
        ("cafe\u0301 y te\u0301.", "te", "te\u0301"),
        ("un 👍🏽 bien", "👍", "👍🏽"),
        ("la 👩\u200d🚀 sube", "👩", "👩\u200d🚀"),
        ("la 👩\u200d🚀 sube", "🚀", "👩\u200d🚀"),
        ("un ❤\ufe0f rojo", "❤", "❤\ufe0f"),
        ("ولد في القاهرة عام", "قاهر", "القاهرة"),
        ("مُحَمَّد هنا", "مُحَ", "مُحَمَّد"),
        ("東京は日本の首都です", "日本", "日本"),
        ("กรุงเทพเป็นเมือง", "เป", "เป็"),
        ("Пушкин родился", "ушк", "Пушкин"),
        ("12.5 km", "5 k", "5 km"),
        ("la biblio\xadteca abre", "biblio", "biblio\xadteca"),
        ("la biblio\xadteca abre", "teca", "biblio\xadteca"),
        ("la bi\xadblio\xad\u200bteca abre", "blio", "bi\xadblio\xad\u200bteca"),
        ("ca\ufeffsa", "ca", "ca\ufeffsa"),
        ("\ufeffMadrid es", "\ufeffMadrid", "Madrid"),
        ("\ufeff\u200b Madrid es", "\ufeff\u200b Madrid", "Madrid"),
        ("Madrid\u200b\u200d, Lima", "Madrid\u200b\u200d", "Madrid"),
        ("\u202bMadrid\u202c es", "\u202bMadrid\u202c", "Madrid"),
        ("en \u200eMadrid\u200f.", "Mad", "Madrid"),
        ("«\u200dLima\u200d»", "\u200dLi", "Lima"),
        ("caf\xade\u0301 y", "caf", "caf\xade\u0301"),
        ("uno\xad dos", "uno\xad d", "uno\xad dos"),
        ("n\x00m", "n", "n\x00m"),
        ("la ❤\ufe0f\u200d🔥 arde", "🔥", "❤\ufe0f\u200d🔥"),
        ("la 🏴\U000e0067\U000e0062\U000e007f ondea", "🏴", "🏴\U000e0067\U000e0062\U000e007f"),
        ("نمی\u200cخواهم برو", "نمی", "نمی\u200cخواهم"),
        ("(Lima)", "Lim", "Lima"),
    ],
)
def test_answers_are_whole_words(context, piece, expected):
    start = context.index(piece)
    assert decode_piece(context, start, start + len(piece)) == expected


HIDDEN = "\ufeff\u200b\u200d\xad\u202e\u2066\ufe0f\x07\u3164"


@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_shows_nothing_is_no_answer(hidden):
    assert decode_piece(f"a {hidden} b", 2, 3) != hidden
    window = one_token_per_letter(f" {hidden}{hidden} ", [(1, 2), (2, 3)])
    logits = np.array([0, 0, 0, 9, 9, 0], np.float32)
    assert decode([window], [logits], [logits], f" {hidden}{hidden} ", top_k=3)[1] == [Answer.none()]


@pytest.mark.parametrize("context", ["", " ", " \n\t\u2003 ", HIDDEN, f" {HIDDEN} "])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_contexts_without_text_have_no_answer(context, architecture):
    builder = WindowBuilder(tiny_tokenizer(architecture), length=64, stride=8, pad_id=pad_token_id(architecture))
    windows = builder.build([Example(id="1", question="¿Qué?", context=context)])
    logits = [np.zeros(len(window.input_ids), np.float32) for window in windows]
    prediction, answers = decode(windows, logits, logits, context, top_k=3)
    assert (prediction.best, prediction.answer, prediction.no_answer_score) == (None, Answer.none(), math.inf)
    assert answers == [Answer.none()]


def test_no_answer_score_is_the_lowest_over_the_windows():
    context = "uno dos"
    windows = [one_token_per_letter(context, [(0, 3)]), one_token_per_letter(context, [(4, 7)], first_token=1)]
    starts = [np.array(row, np.float32) for row in ([5, 0, 0, 1, 0], [2, 0, 0, 3, 0])]
    prediction, _ = decode(windows, starts, starts, context, no_answer_threshold=-2.0)
    assert prediction.no_answer_score == pytest.approx(4 - 6)
    assert prediction.answer.text == "dos", "a threshold that is met exactly still answers"
    assert decode(windows, starts, starts, context, no_answer_threshold=-2.5)[0].answer.text is None


@pytest.mark.parametrize("top_k", [1, 7])
def test_few_rows_are_kept_of_a_long_context_and_no_answer_is_lost(top_k, monkeypatch):
    words = [f"p{'x' * (n % 9)}" for n in range(6000)]
    context = " ".join(words)
    builder = WindowBuilder(tiny_tokenizer(), length=96, stride=32, pad_id=1)
    windows = builder.build([Example(id="1", question="¿a?", context=context)])
    generator = np.random.default_rng(top_k)
    logits = [[generator.normal(0, 3, len(w.input_ids)).astype(np.float32) for w in windows] for _ in range(2)]
    kept = []
    joined = spans_module._joined
    monkeypatch.setattr(
        spans_module, "_joined", lambda parts: kept.append(sum(len(p.scores) for p in parts)) or joined(parts)
    )
    found = decode(windows, *logits, context, top_k=top_k)
    assert max(kept) <= 2 * top_k * spans_module.ROWS_PER_ANSWER + spans_module.ROWS_AT_ONCE + 96
    monkeypatch.setattr(spans_module, "ROWS_PER_ANSWER", 10**9)
    everything = decode(windows, *logits, context, top_k=top_k)
    assert found == everything
    assert max(kept) > 12_000, "the context was not long"


def test_logits_may_be_padded_and_huge():
    context = "uno dos"
    window = one_token_per_letter(context, [(0, 3), (4, 7)])
    logits = np.array([0, 0, 0, 9e4, -9e4, 0, 1e6, 1e6], np.float32)
    prediction, _ = decode([window], [logits], [logits], context)
    assert prediction.answer == Answer("uno", 0, 3, 1.0)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(ARCHITECTURES),
    st.text(st.one_of(st.sampled_from(LETTERS), st.characters()), max_size=120),
    st.integers(0, 2**32 - 1),
)
def test_answers_of_real_tokenizers_are_exact(architecture, context, seed):
    builder = WindowBuilder(tiny_tokenizer(architecture), length=40, stride=8, pad_id=pad_token_id(architecture))
    windows = builder.build([Example(id="1", question="¿a?", context=context)])
    generator = np.random.default_rng(seed)
    logits = [[generator.normal(0, 3, len(w.input_ids)).astype(np.float32) for w in windows] for _ in range(2)]
    prediction, answers = decode(windows, *logits, context, top_k=5)
    for answer in answers:
        if answer.text is not None:
            assert answer.text == context[answer.start : answer.end] == answer.text.strip()
            assert shows(answer.text[0])
            assert any(map(shows, answer.text))
    assert sum(answer.score for answer in answers) <= 1 + 1e-6
    assert (prediction.best is None) == (answers[0].text is None)
