"""What the page without a server computes in JavaScript equals Python, string by string: characters, windows, spans.

tests/export/test_web_tokenizers.py compares tokenizers; tests/export/test_web_folder.py asks the whole page.
"""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from tokenizers import normalizers

from charsmaps import nfkc_charsmap
from destila.core.records import Example
from destila.data.reading_form import reading_form
from destila.data.tokenizers import train_tokenizer
from destila.data.windows import MIN_CONTEXT_TOKENS, WindowBuilder
from destila.export.web.tables import CLASSES, tokenizer_tables
from destila.inference.decoding import SHOWN_SHARE, decode
from odd_texts import random_texts
from tiny import TEXTS, tiny_tokenizer

NATIVA = Path(__file__).parents[2] / "data" / "nativa" / "dev.json"


@pytest.fixture(scope="module")
def texts():
    nativa = json.loads(NATIVA.read_text(encoding="utf-8"))["data"]
    return [paragraph["context"] for article in nativa for paragraph in article["paragraphs"]]


@pytest.fixture(scope="module")
def tokenizers(texts):
    unigram = tiny_tokenizer("xlm-roberta")
    unigram.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(nfkc_charsmap()), normalizers.Replace("  ", " ")]
    )
    return [train_tokenizer([*texts, *TEXTS], vocabulary_size=1500), unigram]


def teach(page, tokenizer):
    """Make the page use a tokenizer from now on."""
    page.evaluate(
        "tables => { window.subject = new Tokenizer(tables, known); }", tokenizer_tables(tokenizer, where="x")
    )


def test_every_character_is_known_as_in_python(page):
    every = [chr(code) for code in range(0x110000)]
    for name, belongs in CLASSES.items():
        found = page.evaluate("name => [...known.bits].map((bits) => (bits & known[name] ? 1 : 0)).join('')", name)
        wanted = "".join("1" if belongs(letter) else "0" for letter in every)
        assert found == wanted, [hex(code) for code in range(0x110000) if found[code] != wanted[code]][:20]


def odd_forms(texts):
    """Texts in capitals, with accents apart, and with all that composes."""
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    some = list(random_texts(1500, seed=2))
    cases = [*some, *texts[:20], *(text.upper() for text in [*some[:500], *texts[:20]])]
    cases += [unicodedata.normalize("NFD", text) for text in [*some[:500], *texts[:20], *map(str.upper, texts[:20])]]
    cases += [letter + "\u0323\u0301" for letter in every if unicodedata.decomposition(letter)]
    return [*cases, "", "\u0301", *("".join(every[start::3]) for start in range(3)), "".join(every).upper()]


def test_texts_are_read_in_the_form_that_python_gives_them(page, texts):
    cases = odd_forms(texts)
    found = page.evaluate(
        """texts => texts.map((text) => {
            const { codes, map } = asRead(codesOf(text), reading);
            return [Array.from(codes), map && Array.from(map)];
        })""",
        cases,
    )
    for text, (codes, spans) in zip(cases, found, strict=True):
        form, wanted = reading_form(text)
        assert codes == list(map(ord, form)), ascii(text[:50])
        own_places = [edge for place in range(len(text)) for edge in (place, place + 1)]
        assert (own_places if spans is None else spans) == (own_places if wanted is None else wanted.ravel().tolist())


@pytest.mark.parametrize("kind", [0, 1], ids=["bpe", "unigram"])
def test_tokens_stand_for_the_characters_that_they_do_in_python(page, tokenizers, texts, kind):
    teach(page, tokenizers[kind])
    cases = [text for text in odd_forms(texts) if len(text) < 20_000][::3]
    found = page.evaluate(
        "texts => texts.map(tokenize).map((text) => [Array.from(text.ids), Array.from(text.clean)])", cases
    )
    wanted = WindowBuilder(tokenizers[kind], pad_id=1).tokenize(cases, clean=True)
    for text, (ids, offsets) in zip(cases, found, strict=True):
        assert ids == wanted[text].ids.tolist(), ascii(text)
        spans, own = np.array(offsets).reshape(-1, 2), wanted[text].offsets
        # Where a token without width stands means nothing; which have none does.
        solid = own[:, 1] > own[:, 0]
        assert ((spans[:, 1] > spans[:, 0]) == solid).all(), ascii(text)
        assert (spans[solid] == own[solid]).all(), ascii(text)


def cut_and_decoded(page, question, context, builder, logits, **settings):
    """Windows and answers of the page, from given logits of (window, token)."""
    special = {name: getattr(builder.template, name).tolist() for name in ("front", "middle", "back")}
    special |= {"length": builder.length, "stride": builder.stride, "least": MIN_CONTEXT_TOKENS}
    return page.evaluate(
        """([question, context, special, logits, settings]) => {
            const text = tokenize(context), windows = cut(tokenize(question), text, special);
            windows.forEach((window, place) => Object.assign(window, logits[place]));
            const plain = windows.map((window) => [Array.from(window.ids), window.contextStart, window.firstToken]);
            return [plain, decode(windows, text.clean, text.codes, known, settings).answers];
        }""",
        [question, context, special, logits, settings],
    )


@pytest.mark.parametrize("seed", range(40))
def test_windows_and_answers_are_those_of_python(page, tokenizers, texts, seed):
    generator = np.random.default_rng(seed)
    tokenizer = tokenizers[seed % len(tokenizers)]
    teach(page, tokenizer)
    context = "".join([*random_texts(3, seed), texts[seed % len(texts)], *random_texts(2, seed)])[
        : generator.integers(0, 900)
    ]
    question = ("¿Quién lo dijo?", "¿QUIE\u0301N LO DIJO?")[seed % 5 == 0]
    example = Example(id="x", question=question, context=context if seed % 12 else " \n\u3000")
    length, stride = int(generator.integers(36, 90)), int(generator.integers(0, 40))
    builder = WindowBuilder(tokenizer, length=length, stride=stride, pad_id=1)
    windows = builder.build([example])
    scale = (1, 4)[seed % 2]  # whole numbers tie often
    starts, ends = (
        [np.rint(generator.normal(size=len(window.input_ids)) * scale).astype(np.float32) for window in windows]
        for _ in range(2)
    )
    longest, count, threshold = (
        int(generator.integers(1, 31)),
        int(generator.integers(1, 7)),
        (None, 0.5, -3.0)[seed % 3],
    )
    logits = [{"start": a.tolist(), "end": b.tolist()} for a, b in zip(starts, ends, strict=True)]
    settings = {"longest": longest, "count": count, "threshold": threshold, "share": SHOWN_SHARE}
    plain_windows, found = cut_and_decoded(page, example.question, example.context, builder, logits, **settings)
    assert plain_windows == [[w.input_ids.tolist(), w.context_start, w.first_token] for w in windows]
    _, wanted = decode(
        windows, starts, ends, example.context, max_answer_tokens=longest, top_k=count, no_answer_threshold=threshold
    )
    assert [(a["text"], a["start"], a["end"]) for a in found] == [(a.text, a.start, a.end) for a in wanted]
    np.testing.assert_allclose([a["score"] for a in found], [a.score for a in wanted], rtol=1e-5)
