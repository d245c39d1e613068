"""Masked words: whole, at most the share asked for, never special or closed tokens, and with the right labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spanish
from destila.config import MaskingSettings
from destila.data.synthetic.masking import IGNORED, Masked, mask_words, place_count
from destila.data.synthetic.token_table import MASK, SPECIAL_COUNT, Lexicon
from destila.data.tokenizers import train_tokenizer

TOKENIZER = train_tokenizer([spanish.text(7)], vocabulary_size=600)
LEXICON = Lexicon(TOKENIZER)
BOS, EOS = 0, 2
TEXT = spanish.text(11, documents=1)


def row(length: int = 128, *, offset: int = 0) -> np.ndarray:
    ids = TOKENIZER.encode(TEXT[offset:], add_special_tokens=False).ids
    half = length // 3
    return np.array([BOS, *ids[:half], MASK, EOS, EOS, *ids[half : length - 5], EOS], np.int64)


def masked(ids: np.ndarray, seed: int, settings: MaskingSettings, openable: np.ndarray | None = None) -> Masked:
    openable = np.ones(len(ids), np.bool_) if openable is None else openable
    return mask_words(ids, openable, lexicon=LEXICON, settings=settings, generator=np.random.default_rng(seed))


@given(seed=st.integers(0, 2**32), offset=st.integers(0, 400), share=st.floats(0.01, 0.9), closed=st.integers(5, 100))
def test_what_is_hidden_is_whole_open_and_labeled(seed: int, offset: int, share: float, closed: int) -> None:
    ids, settings = row(offset=offset), MaskingSettings(share=share)
    openable = np.ones(len(ids), np.bool_)
    openable[closed : closed + 9] = False
    before = ids.copy()
    result = masked(ids, seed, settings, openable)
    assert (ids == before).all()
    used = result.labels != IGNORED
    places = result.places[used]
    assert len(result.places) == place_count(len(ids), settings)
    assert (np.diff(places) > 0).all()
    assert (result.labels[used] == ids[places]).all()
    assert openable[places].all()
    assert (ids[places] >= SPECIAL_COUNT).all()
    untouched = np.setdiff1d(np.arange(len(ids)), places)
    assert (result.ids[untouched] == ids[untouched]).all()
    assert not ((result.ids != ids) & (result.ids < SPECIAL_COUNT) & (result.ids != MASK)).any()
    words = np.cumsum(LEXICON.word_starts(ids))
    chosen = set(places.tolist())
    for word in set(words[places].tolist()):
        assert set(np.flatnonzero(words == word).tolist()) <= chosen
    again = masked(ids, seed, settings, openable)
    assert all((one == other).all() for one, other in zip(result, again, strict=True))


def test_the_shares_are_those_of_the_settings() -> None:
    settings, ids = MaskingSettings(), row(256)
    counts = dict.fromkeys(("used", "mask", "kept", "random"), 0)
    for seed in range(300):
        result = masked(ids, seed, settings)
        places = result.places[result.labels != IGNORED]
        seen = result.ids[places]
        counts["used"] += len(places)
        counts["mask"] += int((seen == MASK).sum())
        counts["kept"] += int((seen == ids[places]).sum())
        counts["random"] += int(((seen != MASK) & (seen != ids[places])).sum())
    assert counts["used"] / (300 * 256) == pytest.approx(0.15, abs=0.01)
    assert counts["mask"] / counts["used"] == pytest.approx(0.8, abs=0.02)
    assert counts["kept"] / counts["used"] == pytest.approx(0.1, abs=0.02)
    assert counts["random"] / counts["used"] == pytest.approx(0.1, abs=0.02)


def test_every_open_word_is_hidden_now_and_then() -> None:
    ids = row(64)
    touched = np.zeros(len(ids), np.bool_)
    for seed in range(200):
        result = masked(ids, seed, MaskingSettings(share=0.3))
        touched[result.places[result.labels != IGNORED]] = True
    assert (touched == (ids >= SPECIAL_COUNT)).all()


def test_a_row_without_open_words_stays_as_it_is() -> None:
    ids = row(64)
    result = masked(ids, 1, MaskingSettings(), np.zeros(len(ids), np.bool_))
    assert (result.ids == ids).all()
    assert (result.labels == IGNORED).all()
