"""Tokenizers: what is trained, what is loaded, and what is refused."""

import pytest

from destila.core.errors import UserError
from destila.data.tokenizers import SPECIAL_TOKENS, encodable, load_tokenizer, pad_id, plain, train_tokenizer
from tiny import ARCHITECTURES, TEXTS, pad_token_id, tiny_tokenizer


def test_training_gives_robertas_ids_and_template():
    tokenizer = train_tokenizer(TEXTS, vocabulary_size=400)
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
    assert tokenizer.get_vocab_size() == 400
    pair = tokenizer.encode("¿Qué?", "Lima")
    question, context = (tokenizer.encode(text, add_special_tokens=False).ids for text in ("¿Qué?", "Lima"))
    assert pair.ids == [0, *question, 2, 2, *context, 2]


def test_training_is_deterministic_and_takes_any_text():
    texts = [*TEXTS, "\ud83d", "😀 東京 \0", ""]
    first, second = (train_tokenizer(iter(texts), vocabulary_size=350).to_str() for _ in range(2))
    assert first == second
    tokenizer = train_tokenizer(texts, vocabulary_size=350)
    assert tokenizer.decode(tokenizer.encode("ñandú 北京 😀").ids) == "ñandú 北京 😀"


def test_a_trained_tokenizer_survives_saving(tmp_path):
    tokenizer = train_tokenizer(TEXTS, vocabulary_size=350)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).encode("El río", "Lima </s>").ids == tokenizer.encode("El río", "Lima </s>").ids


def test_loading_turns_truncation_and_padding_off(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=50)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(tmp_path)
    assert loaded.truncation is None
    assert loaded.padding is None
    assert 2 not in loaded.encode("</s>", add_special_tokens=False).ids


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(UserError) as missing:
        load_tokenizer(tmp_path)
    expected = (
        "has no tokenizer.json; expected config.json, model.safetensors, tokenizer.json. Was the run interrupted?"
    )
    assert str(missing.value) == f"{tmp_path}: {expected}"
    whole = tiny_tokenizer().to_str()
    for content in (b"", whole.encode()[: len(whole) // 2], b'{"version": "1.0"}', b"\xff\xfe"):
        (tmp_path / "tokenizer.json").write_bytes(content)
        with pytest.raises(UserError, match=r"tokenizer\.json: is not a tokenizer"):
            load_tokenizer(tmp_path)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_id_comes_from_the_model_then_the_tokenizer(architecture):
    tokenizer = tiny_tokenizer(architecture)
    assert pad_id(tokenizer, {"pad_token_id": 77}) == 77
    assert pad_id(tokenizer, {"pad_token_id": 0}) == 0
    assert pad_id(tokenizer, {"pad_token_id": None}) == pad_token_id(architecture)
    assert pad_id(tokenizer, {}) == pad_token_id(architecture)


def test_encodable_replaces_lone_surrogates_one_for_one():
    assert encodable("a\ud83d\ude00ñ\udfff") == "a\ufffd\ufffdñ\ufffd"
    assert encodable("año 😀") == "año 😀"
    assert plain(tiny_tokenizer()).encode(encodable("\ud800")).ids
