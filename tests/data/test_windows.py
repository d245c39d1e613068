"""Windows of real tokenizers: offsets, golds, cuts, batches."""

import itertools
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors

from destila.core.characters import is_idle
from destila.core.errors import UserError
from destila.core.records import Answer, Example
from destila.data.windows import WindowBuilder, longest_window
from tiny import ARCHITECTURES, TEXTS, example, pad_token_id, tiny_examples, tiny_tokenizer

UNICODE = st.text(
    st.one_of(
        st.sampled_from(
            "aeiou ñáéüÁ \n\t.,;¿¡0123\u00a0\u2003\u3000e\u0301عربية中文字😀👩🏽\u200d🚀️\u0000\ufffd\ud800ﬁİß"
        ),
        st.characters(codec=None),
    ),
    max_size=80,
)
FRONT = {"roberta": 1, "bert": 1, "xlm-roberta": 1, "modernbert": 1}
MIDDLE = {"roberta": 2, "bert": 1, "xlm-roberta": 2, "modernbert": 1}


def builder(architecture="roberta", *, length=48, stride=8):
    return WindowBuilder(tiny_tokenizer(architecture), length=length, stride=stride, pad_id=pad_token_id(architecture))


def whole(windows):
    """Ids and offsets of the whole context, put together from its windows."""
    ids, offsets = {}, {}
    for window in windows:
        for k in range(window.context_end - window.context_start):
            token = int(window.input_ids[window.context_start + k]), tuple(window.offsets[k].tolist())
            place = window.first_token + k
            assert ids.setdefault(place, token) == token, "windows disagree about a token that they share"
            offsets[place] = token[1]
    assert sorted(ids) == list(range(len(ids))), "a token of the context is in no window"
    return [ids[k][0] for k in range(len(ids))], [offsets[k] for k in range(len(ids))]


# ---------------------------------------------------------------------------------------------------- offsets
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=150, deadline=None)
@given(context=UNICODE)
def test_offsets_are_clean(architecture, context):
    windows = builder(architecture).build([Example(id="1", question="¿a?", context=context)])
    _, offsets = whole(windows)
    assert all(0 <= a <= b <= len(context) for a, b in offsets)
    assert offsets == sorted(offsets), "starts decrease"
    assert [b for _, b in offsets] == sorted(b for _, b in offsets), "ends decrease"
    assert all(context[a:b] == context[a:b].strip() for a, b in offsets)
    assert not any(map(is_idle, "".join(context[a] + context[b - 1] for a, b in offsets if b > a)))
    if architecture in ("roberta", "modernbert"):  # a byte-level model keeps every character that shows
        covered = {place for a, b in offsets for place in range(a, b)}
        assert {k for k, letter in enumerate(context) if not (letter.isspace() or is_idle(letter))} <= covered


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("context", [*TEXTS, "la   casa\n\n de\tEl   niño ", "pingüino 😀 ñandú", "Ｆｕｌｌ ﬁn ½ vez"])
def test_offsets_point_at_the_words(architecture, context):
    _, offsets = whole(builder(architecture).build([Example(id="1", question="¿a?", context=context)]))
    covered = {place for a, b in offsets for place in range(a, b)}
    assert covered == {k for k, letter in enumerate(context) if not letter.isspace()}


def test_lone_surrogates_keep_every_position():
    context = "uno \ud83d dos \udc00\udc00 tres"
    windows = builder().build([example("1", "¿\ud83d?", context, "tres")])
    (start,), (end,) = windows[0].starts, windows[0].ends
    offsets = windows[0].offsets
    assert context[offsets[start - windows[0].context_start, 0] : offsets[end - windows[0].context_start, 1]] == "tres"


# Each puts a space in front of words in its own way; each trims its offsets in its own way, or not at all.
SPLITTERS = {
    "plain": pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False),
    "prefix": pre_tokenizers.ByteLevel(add_prefix_space=True, trim_offsets=False),
    "prefix-trimmed": pre_tokenizers.ByteLevel(add_prefix_space=True),
    "prefix-of-words": pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    ),
    "prefix-of-parts": pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation(), pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    ),
}
TEMPLATE = processors.TemplateProcessing(
    single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
)
TRIMMERS = {
    "template": TEMPLATE,
    **{
        f"roberta-{trim:d}{prefix:d}": processors.RobertaProcessing(
            ("</s>", 2), ("<s>", 0), trim_offsets=trim, add_prefix_space=prefix
        )
        for trim in (False, True)
        for prefix in (False, True)
    },
    **{
        f"bytes-{trim:d}{prefix:d}": processors.Sequence(
            [processors.ByteLevel(trim_offsets=trim, add_prefix_space=prefix), TEMPLATE]
        )
        for trim in (False, True)
        for prefix in (False, True)
    },
    "twice": processors.Sequence(
        [processors.ByteLevel(), processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)]
    ),
}
NORMALIZERS = {
    "none": None,
    "nfc": normalizers.NFC(),
    "prepend": normalizers.Prepend(" "),
    "spaced": normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("ñ", " ñ")]),
}
WORDS = st.lists(
    st.sampled_from(["a", "1", "Lima", "año", "ñ", "😀", "1535,", "(y)", "e\u0301l", "--", "x2y"]), min_size=1
)


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("trimmer", TRIMMERS)
@pytest.mark.parametrize("splitter", SPLITTERS)
@settings(max_examples=8, deadline=None)
@given(words=WORDS, white=st.sampled_from([" ", "  ", "\n", " \t"]), front=st.sampled_from(["", " ", "\n"]))
def test_no_way_to_add_spaces_or_trim_offsets_cuts_a_word(splitter, trimmer, normalizer, words, white, front):
    tokenizer = Tokenizer.from_str(tiny_tokenizer().to_str())
    tokenizer.pre_tokenizer, tokenizer.post_processor = SPLITTERS[splitter], TRIMMERS[trimmer]
    tokenizer.normalizer = NORMALIZERS[normalizer]
    tokenizer.add_tokens(["(y)"])  # what follows it gets a space in front, too
    context = front + white.join(words)
    ends = list(itertools.accumulate(len(word) + len(white) for word in words))
    golds = [
        Answer.at(context, (last := len(front) + end - len(white)) - len(word), last)
        for word, end in zip(words, ends, strict=True)
    ]
    examples = [Example(str(k), "¿a?", context, (gold,)) for k, gold in enumerate(golds)]
    windows = WindowBuilder(tokenizer, pad_id=1).build(examples)
    for window, gold in zip(windows, golds, strict=True):
        (start,), (end,) = window.starts, window.ends
        first, last = window.offsets[start - window.context_start, 0], window.offsets[end - window.context_start, 1]
        assert context[first:last] == gold.text
        tokens = [tokenizer.id_to_token(int(token)) for token in window.input_ids[start : end + 1]]
        said = decoders.ByteLevel().decode(tokens)
        assert said.replace(" ", "") == unicodedata.normalize("NFC", gold.text)


# ---------------------------------------------------------------------------------------------------- golds
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=150, deadline=None)
@given(context=UNICODE, data=st.data())
def test_golds_are_the_smallest_covering_token_spans(architecture, context, data):
    start = data.draw(st.integers(0, len(context)))
    end = data.draw(st.integers(start, len(context)))
    gold = Answer.at(context, start, end)
    windows = builder(architecture).build([Example(id="1", question="¿a?", context=context, answers=(gold, gold))])
    _, offsets = whole(windows)
    over = [k for k, (a, b) in enumerate(offsets) if a < b and a < end and b > start]
    for window in windows:
        first, count = window.first_token, window.context_end - window.context_start
        inside = bool(over) and first <= over[0] and over[-1] < first + count
        shift = window.context_start - first
        expected = ((over[0] + shift,), (over[-1] + shift,)) if inside else ((), ())
        assert (window.starts, window.ends) == expected


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_window_knows_the_golds_that_lie_wholly_inside_it(architecture):
    context = TEXTS[1]
    spans = [(start, end) for start in range(len(context)) for end in range(start + 1, len(context) + 1, 7)]
    examples = [
        Example(id=str(n), question="¿a?", context=context, answers=(Answer.at(context, *span),))
        for n, span in enumerate(spans)
    ]
    windows = builder(architecture, length=32, stride=5).build(examples)
    offsets = np.array(whole([window for window in windows if window.example == 0])[1])  # (N, 2)
    seen = {True: 0, False: 0}
    for window in windows:
        start, end = spans[window.example]
        over = np.flatnonzero((offsets[:, 0] < end) & (offsets[:, 1] > start) & (offsets[:, 0] < offsets[:, 1]))
        count = window.context_end - window.context_start
        inside = over.size > 0 and window.first_token <= over[0] and over[-1] < window.first_token + count
        assert bool(window.starts) == bool(window.ends) == inside
        seen[bool(inside)] += 1
    assert min(seen.values()) > 100


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_golds_read_back(architecture):
    examples = tiny_examples()
    for window in builder(architecture, length=128).build(examples):
        context, golds = examples[window.example].context, examples[window.example].answers
        spans = {
            context[window.offsets[s - window.context_start, 0] : window.offsets[e - window.context_start, 1]]
            for s, e in zip(window.starts, window.ends, strict=True)
        }
        assert spans == {gold.text for gold in golds}


# ---------------------------------------------------------------------------------------------------- cuts
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("stride", [0, 4, 1000])
def test_windows_are_whole_pairs_that_overlap(architecture, stride):
    question, context = "¿Quién fundó Lima?", " ".join(TEXTS)
    tokenizer = tiny_tokenizer(architecture)
    windows = builder(architecture, length=48, stride=stride).build(
        [Example(id="1", question=question, context=context)]
    )
    assert len(windows) > 2
    assert whole(windows)[0] == tokenizer.encode(context, add_special_tokens=False).ids
    words = tokenizer.encode(question, add_special_tokens=False).ids
    room = 48 - FRONT[architecture] - 2 * MIDDLE[architecture] - len(words) + (MIDDLE[architecture] == 2)
    for window in windows:
        assert window.input_ids[FRONT[architecture] :][: len(words)].tolist() == words
        assert window.context_start == FRONT[architecture] + len(words) + MIDDLE[architecture]
        assert len(window.input_ids) == window.context_end + 1 <= 48
    for left, right in itertools.pairwise(windows):
        assert left.first_token + room - right.first_token == min(stride, room // 2)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_pair_that_fits_is_what_the_tokenizer_makes_of_it(architecture):
    question, context = "¿Dónde vive?", TEXTS[4]
    (window,) = builder(architecture, length=384).build([Example(id="1", question=question, context=context)])
    assert window.input_ids.tolist() == tiny_tokenizer(architecture).encode(question, context).ids


def test_saved_truncation_and_padding_do_no_harm():
    tokenizer = tiny_tokenizer()
    tokenizer.enable_truncation(10)
    tokenizer.enable_padding(length=500)
    pair = [Example(id="1", question="¿a?", context=" ".join(TEXTS))]
    cut = WindowBuilder(tokenizer, length=48, stride=8, pad_id=1).build(pair)
    assert [w.input_ids.tolist() for w in cut] == [w.input_ids.tolist() for w in builder().build(pair)]


@pytest.mark.parametrize("architecture", ["roberta", "bert", "modernbert"])
def test_special_tokens_in_a_text_are_plain_text(architecture):
    build = builder(architecture, length=128)
    specials = set(np.concatenate(build.template.parts).tolist())
    (window,) = build.build([Example(id="1", question="¿</s>?", context="a </s> <s> [SEP] [CLS] b")])
    inside = window.input_ids[window.context_start : window.context_end]
    assert not specials & set(inside.tolist())


def test_all_questions_that_are_too_long_are_named_at_once():
    long = "palabra " * 40
    examples = [
        Example(id="corta", question="¿a?", context=TEXTS[0]),
        Example(id="larga", question=long, context=TEXTS[0]),
        Example(id="otra", question=long, context=TEXTS[1]),
    ]
    with pytest.raises(UserError) as caught:
        builder(length=64).build(examples)
    message = str(caught.value)
    assert "2 problems" in message
    assert "'larga'" in message
    assert "'otra'" in message
    assert "corta" not in message
    assert "window length" in caught.value.remedy


def test_a_long_question_may_fill_the_window_beside_a_short_context():
    tokenizer = tiny_tokenizer()
    question = "x" * 40
    tokens = len(tokenizer.encode(question, add_special_tokens=False).ids)
    build = WindowBuilder(tokenizer, length=tokens + 4 + 2, stride=8, pad_id=1)
    assert len(build.build([Example(id="1", question=question, context="ab")])) == 1
    with pytest.raises(UserError, match="leaves 2 for the context; it needs 3"):
        build.build([Example(id="1", question=question, context="xyz")])


def test_a_tokenizer_without_template_is_refused():
    tokenizer = tiny_tokenizer()
    tokenizer.post_processor = processors.ByteLevel()
    with pytest.raises(UserError, match="no special token"):
        WindowBuilder(tokenizer, pad_id=1)


def test_roberta_positions_are_counted_from_the_padding_id():
    roberta = {"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}
    assert longest_window(roberta) == 512
    assert longest_window(roberta | {"model_type": "bert", "max_position_embeddings": 512}) == 512
