"""A trimmed vocabulary cuts its corpus as before, still writes every other text, and the logits are the same."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from destila.core.errors import UserError
from destila.data.windows import WindowBuilder, collate
from destila.models.files import forward
from destila.models.vocabulary_trimming import trim_embeddings, trim_tokenizer
from tiny import ARCHITECTURES, TEXTS, pad_token_id, tiny_examples, tiny_model, tiny_tokenizer

WORDS = sorted({word for text in TEXTS for word in text.split()})
corpora = st.lists(
    st.one_of(
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join),
        st.text(st.sampled_from("aábcdeñ ¿?¡!.,19«»ü"), max_size=12),
        st.text(max_size=8),
    ),
    min_size=1,
    max_size=5,
)


def tokens(tokenizer: Tokenizer, text: str) -> tuple[list[str], list[tuple[int, int]]]:
    encoding = tokenizer.encode(text, "y", add_special_tokens=True)
    return encoding.tokens, encoding.offsets


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=60, deadline=None)
@given(corpus=corpora)
def test_the_corpus_is_cut_as_before(architecture: str, corpus: list[str]) -> None:
    old = tiny_tokenizer(architecture)
    trimmed = trim_tokenizer(old, [*corpus, "y"])
    new, size = trimmed.tokenizer, len(trimmed.old_ids)
    assert new.get_vocab_size() == size < old.get_vocab_size()
    assert trimmed.old_ids == sorted(set(trimmed.old_ids))
    for number, former in enumerate(trimmed.old_ids):
        assert new.id_to_token(number) == old.id_to_token(former)
    for text in corpus:
        text = text.encode("utf-8", "replace").decode()
        assert tokens(new, text) == tokens(old, text)
        ids = new.encode(text, "y").ids
        assert [trimmed.old_ids[number] for number in ids] == old.encode(text, "y").ids


@pytest.mark.parametrize("architecture", ["roberta", "modernbert"])
@given(text=st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_other_texts_can_still_be_written(architecture: str, text: str) -> None:
    new = trim_tokenizer(tiny_tokenizer(architecture), [TEXTS[0]]).tokenizer
    text = text.encode("utf-8", "replace").decode()
    if architecture == "modernbert":
        text = new.normalizer.normalize_str(text)
    assert new.decode(new.encode(text).ids, skip_special_tokens=True) == text


def test_a_dead_end_stays_a_dead_end() -> None:
    """'abcx' takes 'abc', then finds nothing; without 'abc' it would be 'ab', '##cx'."""
    vocabulary = {"[UNK]": 0, "ab": 1, "abc": 2, "##cx": 3, "##d": 4}
    old = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    old.pre_tokenizer = pre_tokenizers.Whitespace()
    corpus = ["abcx", "abd", "abcxabcx"]
    new = trim_tokenizer(old, corpus).tokenizer
    assert [new.encode(text).tokens for text in corpus] == [["[UNK]"], ["ab", "##d"], ["[UNK]"]]
    assert "abc" in new.get_vocab()


def test_merges_that_no_text_applies_go() -> None:
    old = tiny_tokenizer("roberta")
    new = trim_tokenizer(old, ["Lima"]).tokenizer
    merges = [json.loads(tokenizer.to_str())["model"]["merges"] for tokenizer in (old, new)]
    assert 0 < len(merges[1]) < 6 < len(merges[0])
    assert [merge for merge in merges[0] if merge in merges[1]] == merges[1]  # in the old order


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_stay(architecture: str) -> None:
    old, model, pad = tiny_tokenizer(architecture), tiny_model(architecture), pad_token_id(architecture)
    model.set_attn_implementation("destila")
    examples = tiny_examples()[:3]
    texts = [text for example in examples for text in (example.question, example.context)]
    trimmed = trim_tokenizer(old, texts)

    def logits(tokenizer: Tokenizer, network: Any) -> torch.Tensor:
        pad_id = network.config.pad_token_id
        windows = WindowBuilder(tokenizer, length=100, stride=10, pad_id=pad_id).build(examples)
        batch = collate(windows, pad_id=pad_id)
        with torch.no_grad():
            outputs = forward(network, torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask))
        return outputs.start_logits

    before, size = logits(old, model), sum(p.numel() for p in model.parameters())
    trim_embeddings(model, trimmed)
    assert torch.equal(logits(trimmed.tokenizer, model), before)
    assert size - sum(p.numel() for p in model.parameters()) == 16 * (old.get_vocab_size() - len(trimmed.old_ids))
    assert trimmed.tokenizer.id_to_token(model.config.pad_token_id) == old.id_to_token(pad)


def test_other_kinds_are_refused() -> None:
    word_level = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(UserError, match="is a WordLevel, which cannot be trimmed"):
        trim_tokenizer(word_level, ["a"])
