"""The tokenizers of the page without a server equal Python's, string by string; those that would not are refused."""

import base64
import json
from itertools import pairwise

import pytest
from tokenizers import Regex, Tokenizer, pre_tokenizers, processors
from tokenizers import normalizers as library

from charsmaps import charsmap, nfkc_charsmap
from destila.core.errors import UserError
from destila.data.tokenizers import load_tokenizer, plain
from destila.export.web.tables import characters, tokenizer_tables
from destila.inference.places import place_of
from odd_texts import random_texts
from tiny import ARCHITECTURES, TEXTS, tiny_tokenizer

SURROGATES = range(0xD800, 0xE000)
EDGES = [
    "",
    " ",
    "  ",
    "\n",
    "\x01",
    "\x01\x01ab",
    "a\x01\x01b ",
    "\u3000a",
    "\u0301a",
    "▁",
    "a" * 3000,
    "<unk>\U0001f999<unk>",
]
LONG = ["ab" * 40_000, "¡" + "á😀" * 5_000, "hola, ¿qué tal? " * 6_000]


@pytest.fixture(scope="module")
def precompiled():
    return library.Precompiled(nfkc_charsmap())


def altered(architecture, normalizer=None, **fields):
    """A tiny tokenizer with another normalizer, and parts of its tokenizer.json replaced."""
    content = json.loads(tiny_tokenizer(architecture).to_str()) | {"normalizer": None}
    for name, value in fields.items():
        content[name] = (content[name] or {}) | value if isinstance(value, dict) else value
    tokenizer = Tokenizer.from_str(json.dumps(content))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    return plain(tokenizer)


def agree(page, tokenizer, texts):
    """The page gives the ids and offsets of Python, before anything is made of them."""
    page.evaluate(
        "tables => { window.subject = new Tokenizer(tables, known); }", tokenizer_tables(tokenizer, where="x")
    )
    found = page.evaluate(
        """texts => texts.map((text) => {
            const { ids, offsets } = subject.encode(codesOf(text));
            return [Array.from(ids), Array.from(offsets)];
        })""",
        texts,
    )
    for text, (ids, offsets), wanted in zip(
        texts, found, tokenizer.encode_batch(texts, add_special_tokens=False), strict=True
    ):
        assert ids == wanted.ids, ascii(text)
        assert list(zip(offsets[::2], offsets[1::2], strict=True)) == wanted.offsets, ascii(text)


# ---------------------------------------------------------------------------------------------- both kinds
@pytest.mark.parametrize("architecture", ["roberta", "xlm-roberta"])
@pytest.mark.parametrize(
    "normalizers",
    [
        [],
        [library.NFC()],
        [library.NFKC(), library.Replace("  ", " "), library.Replace("a", "bb"), library.Replace(" el", "")],
        [library.Strip(), library.Replace(Regex(" {2,}"), " ")],
    ],
    ids=["none", "nfc", "nfkc", "strip"],
)
def test_tokens_and_offsets_are_those_of_python(page, architecture, normalizers):
    normalizer = library.Sequence(normalizers) if normalizers else None
    cases = [*random_texts(600, seed=len(normalizers)), *TEXTS, *EDGES, *(LONG if normalizer is None else [])]
    agree(page, altered(architecture, normalizer), cases)


@pytest.mark.parametrize("architecture", ["roberta", "xlm-roberta"])
def test_a_charsmap_changes_texts_and_offsets_as_in_python(page, precompiled, architecture):
    spaces = library.Replace(Regex(" {2,}"), " ")
    for normalizer in (
        precompiled,
        library.Sequence([precompiled, spaces]),
        library.Sequence([library.NFC(), library.Sequence([precompiled, library.Strip(left=False, right=True)])]),
    ):
        agree(page, altered(architecture, normalizer), [*random_texts(500, seed=9), *EDGES])


def test_graphemes_of_every_character_are_those_of_python(page, precompiled):
    alike = {*range(0x3400, 0xA000), *range(0xAC80, 0xD780), *range(0xE000, 0xF900), *range(0x12000, 0x1CF00)}
    skipped = alike | {*SURROGATES}
    every = [chr(code) for code in [*range(0x20000), *range(0xE0000, 0xE0200)] if code not in skipped]
    # Behind a letter, before a mark, and between what joins Indic consonants and pictographs.
    around = [("a", ""), ("", "a\u0301"), ("\u0915\u094d", "\u0301"), ("", "\u094d\u0958\u0301")]
    around += [("\u0915", "\u0958\u0301"), ("😀\u200d", "\u0301"), ("😀", "\u200d™\u0301"), ("", "\u0340\u0301")]
    words = [f" {before}{letter}{after}" for before, after in around for letter in every]
    agree(page, altered("xlm-roberta", precompiled), ["".join(words[at : at + 50]) for at in range(0, len(words), 50)])


def test_the_bundled_tokenizer_is_read_as_in_python(page):
    agree(page, load_tokenizer(place_of(None)), [*random_texts(1000, seed=4), *TEXTS, *EDGES, *LONG])


# ---------------------------------------------------------------------------------------------- byte-level BPE
@pytest.mark.parametrize(
    ("prefix", "trims", "known"), [(False, False, False), (True, True, True), (True, False, True), (True, True, False)]
)
def test_spaces_before_texts_and_around_tokens_are_those_of_python(page, prefix, trims, known):
    for normalizer in (None, library.NFKC()):
        tokenizer = altered("roberta", normalizer)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
        tokenizer.post_processor = processors.RobertaProcessing(
            ("</s>", 2), ("<s>", 0), add_prefix_space=known, trim_offsets=trims
        )
        agree(page, plain(tokenizer), [*random_texts(600, seed=prefix + trims), *TEXTS, *EDGES])


def test_every_character_cuts_words_as_in_python(page):
    agree(page, altered("roberta"), ["a"])
    borders = sorted({code + near for flat in characters().values() for code in flat for near in (-1, 0)})
    letters = [chr(code) for code in borders if 0 <= code < 0x110000 and code not in SURROGATES]
    cases = [
        "".join(f"{before}{letter}{after}" for letter in letters)
        for before, after in (("x", "x"), (" ", "1"), ("  ", "!"))
    ]
    every = [code for code in range(0x110000) if code not in SURROGATES]
    cases += ["".join(map(chr, every[::step])) for step in (5, 7)] + list(random_texts(500, seed=3))
    found = page.evaluate(
        """texts => texts.map((text) => {
            const codes = codesOf(text), ends = [0];
            while (ends.at(-1) < codes.length) ends.push(subject.model.wordEnd(codes, ends.at(-1)));
            return ends;
        })""",
        cases,
    )
    cutter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for text, ends in zip(cases, found, strict=True):
        assert ends == [0, *(end for _, (_, end) in cutter.pre_tokenize_str(text))], repr(text[:40])


# ---------------------------------------------------------------------------------------------- Unigram
@pytest.mark.parametrize(
    "metaspace",
    [{"split": False}, {"prepend_scheme": "never"}, {"prepend_scheme": "first"}, {"replacement": "_"}],
    ids=str,
)
def test_metaspaces_are_those_of_python(page, metaspace):
    cases = [*random_texts(400, seed=1), *TEXTS, *EDGES]
    agree(page, altered("xlm-roberta", library.Replace(Regex(" {2,}"), "▁"), pre_tokenizer=metaspace), cases)


@pytest.mark.parametrize("digits", [None, 0])
def test_the_best_cut_is_that_of_python_also_where_sums_are_equal(page, digits):
    model = json.loads(tiny_tokenizer("xlm-roberta").to_str())["model"]
    letters = "abcdeñó"
    made = [first + second + third for first in ["", *letters] for second in letters for third in ["", *letters]]
    scores = dict(model["vocab"]) | {piece: -3.1 - 0.37 * (place % 11) * len(piece) for place, piece in enumerate(made)}
    vocab = [[piece, score if digits is None else round(score, digits)] for piece, score in scores.items()]
    assert len({score for _, score in vocab}) < len(vocab)
    tokenizer = altered("xlm-roberta", model={"vocab": vocab})
    agree(page, tokenizer, ["".join(pair) for pair in pairwise(random_texts(300, seed=8))])
    agree(
        page, tokenizer, [text.translate({place: letters[place % 7] for place in range(0x30, 0x300)}) for text in TEXTS]
    )


# ---------------------------------------------------------------------------------------------- refusals
def test_the_tiny_tokenizers_that_the_page_reads_are_not_refused():
    assert {"roberta", "xlm-roberta"} <= set(ARCHITECTURES)
    assert tokenizer_tables(altered("roberta"), where="x")["bpe"].keys() == {"vocab", "merges", "prefix", "trims"}
    assert tokenizer_tables(altered("xlm-roberta"), where="x")["normalizers"] == []


@pytest.mark.parametrize(
    ("architecture", "fields", "problem"),
    [
        ("bert", {}, "its model is WordPiece"),
        ("roberta", {"model": {"dropout": 0.5}}, "dropout = 0.5"),
        ("roberta", {"model": {"ignore_merges": True}}, "ignore_merges = True"),
        ("roberta", {"model": {"end_of_word_suffix": "</w>"}}, "end_of_word_suffix"),
        ("roberta", {"pre_tokenizer": {"use_regex": False}}, "words are cut by ByteLevel"),
        ("roberta", {"pre_tokenizer": None}, "words are cut by nothing"),
        ("xlm-roberta", {"pre_tokenizer": None}, "words are cut by nothing and not by Metaspace"),
        ("xlm-roberta", {"model": {"byte_fallback": True}}, "spells unknown characters as bytes"),
        ("xlm-roberta", {"model": {"unk_id": None}}, "has no unknown token"),
    ],
)
def test_variants_that_would_differ_are_refused(architecture, fields, problem):
    with pytest.raises(UserError, match=problem) as caught:
        tokenizer_tables(altered(architecture, **fields), where="my-reader")
    assert caught.value.where == "my-reader"
    assert "destila serve" in caught.value.remedy


@pytest.mark.parametrize(
    ("normalizer", "problem"),
    [
        (library.Lowercase(), r"not read here \(Lowercase\)"),
        (library.Sequence([library.NFC(), library.Sequence([library.Nmt()])]), r"\(Nmt\)"),
        (library.Replace(Regex("a|b"), ""), r"the regular expression 'a\|b'"),
        (library.Replace("", "x"), "replaces an empty text"),
        (library.Precompiled(charsmap({"가".encode(): "x"})), "begin with '가'"),
        (library.Precompiled(charsmap({"\u0600a".encode(): "x"})), r"U\+0600"),
    ],
    ids=str,
)
def test_normalizers_that_would_differ_are_refused(normalizer, problem):
    with pytest.raises(UserError, match=problem):
        tokenizer_tables(altered("xlm-roberta", normalizer), where="x")


def test_every_reason_is_told():
    tokenizer = altered("xlm-roberta", library.Sequence([library.Lowercase(), library.Nmt()]))
    tokenizer.add_tokens(["Lima"])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(UserError) as caught:
        tokenizer_tables(tokenizer, where="x")
    for reason in ("Lowercase", "Nmt", "'Lima' is cut out", "cut by Whitespace"):
        assert reason in str(caught.value)


def test_missing_bytes_are_refused():
    content = json.loads(tiny_tokenizer("roberta").to_str())
    del content["model"]["vocab"]["ð"]
    content["model"]["merges"] = [pair for pair in content["model"]["merges"] if "ð" not in "".join(pair)]
    content["model"]["vocab"] = {token: place for place, token in enumerate(content["model"]["vocab"])}
    with pytest.raises(UserError, match="lacks 1 of the 256 bytes"):
        tokenizer_tables(Tokenizer.from_str(json.dumps(content)), where="test")


def test_a_charsmap_whose_keys_are_not_text_is_refused():
    content = json.loads(altered("xlm-roberta", library.Precompiled(charsmap({b"\xc3": "x"}))).to_str())
    assert base64.b64decode(content["normalizer"]["precompiled_charsmap"])
    with pytest.raises(UserError, match="charsmap cannot be read"):
        tokenizer_tables(Tokenizer.from_str(json.dumps(content)), where="x")
