"""What the page without a server computes in JavaScript equals Python, string by string: tokens, windows, spans.

Run in Chromium without onnxruntime: tests/export/test_web_folder.py asks the whole page.
"""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, pre_tokenizers, processors

import destila.export.web
from browsing import static_server
from destila.core.errors import UserError
from destila.core.records import Example
from destila.data.tokenizers import plain, train_tokenizer
from destila.data.windows import MIN_CONTEXT_TOKENS, WindowBuilder
from destila.export.web.tables import CLASSES, characters, tokenizer_tables
from destila.inference.decoding import decode
from tiny import ARCHITECTURES, TEXTS, tiny_tokenizer

NATIVA = Path(__file__).parents[2] / "data" / "nativa" / "dev.json"
PAGE = Path(destila.export.web.__file__).parent / "page"
WORDS = (
    "bi\xadblio\u200bteca pingüino niño árbol Núñez que ción __init__ _ # 3º 1.234,56 x² ½ Ⅷ ١٢ ß ǆ ı <s> </s> <mask> "
    "<pad> 's 'll ' ''re"
)
SCRIPTS = "日本語 ไทย नमस्ते العربية \U0001e922 \U00011f02 \U0002ebf0 👩‍👩‍👧 🇪🇸 👍🏽 😀 n\u0303 e\u0301\u0328"
MARKS = [
    *"¿¡«»€\0\t\n\x1c\x85\u00a0\u0301\u200b\u200d\u2003\u2028\u202e\u3000\xad\ufe0f\x07\ufeff\ufffd\U000e0101\U0010fffd"
]
PIECES = [*WORDS.split(), *SCRIPTS.split(), *MARKS, " ", "  ", "   ", "\r\n", "a", " el", " la"]


@pytest.fixture(scope="module")
def texts():
    nativa = json.loads(NATIVA.read_text(encoding="utf-8"))["data"]
    return [paragraph["context"] for article in nativa for paragraph in article["paragraphs"]]


@pytest.fixture(scope="module")
def tokenizer(texts):
    return train_tokenizer([*texts, *TEXTS], vocabulary_size=1500)


@pytest.fixture(scope="module")
def page(browser):
    with static_server(PAGE) as address:
        page = browser.new_page()
        page.goto(f"{address}LICENSES.txt")
        page.evaluate(
            """async (ranges) => {
                for (const name of ["tokenizer", "windows", "spans"])
                    Object.assign(window, await import(`./${name}.js`));
                window.known = new Characters(ranges);
                window.tokenise = (text) => {
                    const codes = codesOf(text), encoded = subject.encode(codes);
                    return { codes, ids: encoded.ids, clean: cleanOffsets(encoded, codes, known) };
                };
            }""",
            characters(),
        )
        yield page
        page.close()


def teach(page, tokenizer):
    """Make the page use a tokenizer from now on."""
    model, flags = tokenizer_tables(tokenizer, where="test")
    page.evaluate("([model, flags]) => { window.subject = new Tokenizer(model, known, flags); }", [model, flags])


def tokenised(page, texts):
    """Ids and clean offsets of each text, as the page sees them."""
    found = page.evaluate(
        """texts => JSON.stringify(texts.map((text) => {
            const { ids, clean } = tokenise(text);
            return [Array.from(ids), Array.from(clean)];
        }))""",
        texts,
    )
    return [(ids, np.array(offsets).reshape(-1, 2)) for ids, offsets in json.loads(found)]


def expected(tokenizer, texts):
    found = WindowBuilder(tokenizer, pad_id=1).tokenise(texts, clean=True)
    return [(found[text].ids.tolist(), found[text].offsets) for text in texts]


def random_texts(count, seed):
    generator = random.Random(seed)
    for _ in range(count):
        pieces = generator.choices(PIECES, k=generator.randint(1, 12))
        pieces += [chr(code) for code in generator.choices([*range(0x3000), *range(0x1F000, 0x1FB00)], k=3)]
        generator.shuffle(pieces)
        yield "".join(pieces)


def variant(tokenizer, *, prefix, trims):
    """The same tokenizer, as other makers write it."""
    other = Tokenizer.from_str(tokenizer.to_str())
    other.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    other.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=prefix, trim_offsets=trims
    )
    return plain(other)


@pytest.mark.parametrize(("prefix", "trims"), [(False, True), (True, True), (True, False)])
def test_tokens_and_offsets_are_those_of_python(page, tokenizer, texts, prefix, trims):
    tokenizer = variant(tokenizer, prefix=prefix, trims=trims)
    teach(page, tokenizer)
    cases = [*dict.fromkeys(random_texts(1000, seed=prefix + trims)), *texts[:5], *TEXTS, "", " ", "\n", "a" * 3000]
    cases += ["ab" * 40_000, "¡" + "á😀" * 5_000]  # words that are long, and longer than any cache of words
    for text, found, wanted in zip(cases, tokenised(page, cases), expected(tokenizer, cases), strict=True):
        assert found[0] == wanted[0], repr(text)
        # Where a token without width stands means nothing; which have none does.
        solid = wanted[1][:, 1] > wanted[1][:, 0]
        assert ((found[1][:, 1] > found[1][:, 0]) == solid).all(), repr(text)
        assert (found[1][solid] == wanted[1][solid]).all(), repr(text)


def test_every_character_cuts_words_as_in_python(page, tokenizer):
    teach(page, tokenizer)
    ranges = characters()
    borders = sorted({code + near for flat in ranges.values() for code in flat for near in (-1, 0)})
    letters = [chr(code) for code in borders if 0 <= code < 0x110000 and not 0xD800 <= code < 0xE000]
    cases = [
        "".join(f"{before}{letter}{after}" for letter in letters)
        for before, after in (("x", "x"), (" ", "1"), ("  ", "!"))
    ]
    every = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    cases += ["".join(map(chr, every[::step])) for step in (5, 7)] + list(random_texts(500, seed=3))
    found = page.evaluate(
        """texts => JSON.stringify(texts.map((text) => {
            const codes = codesOf(text), ends = [0];
            while (ends.at(-1) < codes.length) ends.push(subject.wordEnd(codes, ends.at(-1)));
            return ends;
        }))""",
        cases,
    )
    cutter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for text, ends in zip(cases, json.loads(found), strict=True):
        assert ends == [0, *(end for _, (_, end) in cutter.pre_tokenize_str(text))], repr(text[:40])


def test_every_character_is_known_as_in_python(page):
    every = [chr(code) for code in range(0x110000)]
    for name, belongs in CLASSES.items():
        found = page.evaluate("name => [...known.bits].map((bits) => (bits & known[name] ? 1 : 0)).join('')", name)
        wanted = "".join("1" if belongs(letter) else "0" for letter in every)
        assert found == wanted, [hex(code) for code in range(0x110000) if found[code] != wanted[code]][:20]


def cut_and_decoded(page, question, context, builder, logits, **settings):
    """Windows and answers of the page, from given logits of (window, token)."""
    special = {name: getattr(builder, name).tolist() for name in ("front", "middle", "back")}
    special |= {"length": builder.length, "stride": builder.stride, "least": MIN_CONTEXT_TOKENS}
    return page.evaluate(
        """([question, context, special, logits, settings]) => {
            const text = tokenise(context), windows = cut(subject.encode(codesOf(question)), text, special);
            windows.forEach((window, place) => Object.assign(window, logits[place]));
            const plain = windows.map((window) => [Array.from(window.ids), window.contextStart, window.firstToken]);
            return [plain, decode(windows, text.clean, text.codes, known, settings)];
        }""",
        [question, context, special, logits, settings],
    )


@pytest.mark.parametrize("seed", range(40))
def test_windows_and_answers_are_those_of_python(page, tokenizer, texts, seed):
    generator = np.random.default_rng(seed)
    teach(page, tokenizer)
    context = "".join([*random_texts(3, seed), texts[seed % len(texts)], *random_texts(2, seed)])[
        : generator.integers(0, 900)
    ]
    example = Example(id="x", question="¿Quién lo dijo?", context=context if seed % 12 else " \n\u3000")
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
    plain_windows, found = cut_and_decoded(
        page, example.question, example.context, builder, logits, longest=longest, count=count, threshold=threshold
    )
    assert plain_windows == [[w.input_ids.tolist(), w.context_start, w.first_token] for w in windows]
    _, wanted = decode(
        windows, starts, ends, example.context, max_answer_tokens=longest, top_k=count, no_answer_threshold=threshold
    )
    assert [(a["text"], a["start"], a["end"]) for a in found] == [(a.text, a.start, a.end) for a in wanted]
    np.testing.assert_allclose([a["score"] for a in found], [a.score for a in wanted], rtol=1e-5)


# ---------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("architecture", "problem"), [("bert", "WordPiece"), ("xlm-roberta", "Unigram"), ("modernbert", "normalizes")]
)
def test_other_tokenizers_are_refused(architecture, problem):
    with pytest.raises(UserError, match=problem) as caught:
        tokenizer_tables(tiny_tokenizer(architecture), where="my-reader")
    assert caught.value.where == "my-reader"
    assert "destila serve" in caught.value.remedy


def changed(**fields):
    """The tiny byte-level BPE with parts of its tokenizer.json replaced."""
    content = json.loads(tiny_tokenizer("roberta").to_str())
    for name, value in fields.items():
        content[name] = content[name] | value if isinstance(value, dict) else value
    return Tokenizer.from_str(json.dumps(content))


def test_the_tiny_byte_level_tokenizer_is_not_refused():
    assert "roberta" in ARCHITECTURES
    model, flags = tokenizer_tables(changed(), where="test")
    assert len(model["vocab"]) == 400
    assert flags == {"prefix": False, "trims": True}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"model": {"dropout": 0.5}}, "dropout = 0.5"),
        ({"model": {"ignore_merges": True}}, "ignore_merges = True"),
        ({"model": {"end_of_word_suffix": "</w>"}}, "end_of_word_suffix"),
        ({"normalizer": {"type": "Lowercase"}}, "Lowercase"),
        ({"pre_tokenizer": {"add_prefix_space": True}}, "disagree on add_prefix_space"),
        ({"pre_tokenizer": {"use_regex": False}}, "words are cut by ByteLevel"),
        ({"pre_tokenizer": None}, "words are cut by nothing"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_variants_of_byte_level_bpe_that_would_differ_are_refused(fields, problem):
    if "normalizer" in fields:
        content = json.loads(tiny_tokenizer("roberta").to_str()) | fields
        tokenizer = Tokenizer.from_str(json.dumps(content))
    else:
        tokenizer = changed(**fields)
    with pytest.raises(UserError, match=problem):
        tokenizer_tables(tokenizer, where="test")


def test_added_tokens_that_are_cut_out_of_texts_and_missing_bytes_are_refused():
    tokenizer = changed()
    tokenizer.add_tokens(["Lima"])
    with pytest.raises(UserError, match="'Lima' is cut out"):
        tokenizer_tables(tokenizer, where="test")
    content = json.loads(tiny_tokenizer("roberta").to_str())
    del content["model"]["vocab"]["ð"]
    content["model"]["merges"] = [pair for pair in content["model"]["merges"] if "ð" not in "".join(pair)]
    content["model"]["vocab"] = {token: place for place, token in enumerate(content["model"]["vocab"])}
    with pytest.raises(UserError, match="lacks 1 of the 256 bytes"):
        tokenizer_tables(Tokenizer.from_str(json.dumps(content)), where="test")
