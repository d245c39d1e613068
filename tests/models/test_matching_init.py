"""The start that matches: word vectors know company, heads compare words or places, and one seed gives one model."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import spanish
from destila.config import PretrainSettings, ShapeSettings
from destila.config.loader import read_toml, resolve
from destila.core.errors import UserError
from destila.models.files import load_reader, random_model
from destila.models.matching_init import position_width, start_matching, word_vectors
from destila.training.pretrain import pretrain

HIDDEN, HEADS, VOCABULARY = 96, 3, 200
CONFIG = Path(__file__).parents[2] / "configs" / "tiny" / "pretrain.toml"
needs_gensim = pytest.mark.skipif(importlib.util.find_spec("gensim") is None, reason="needs gensim")


def matching(seed: int = 3) -> Any:
    model = random_model(
        ShapeSettings(layers=2, heads=HEADS, hidden=HIDDEN, feed_forward=64),
        architecture="roberta",
        vocabulary_size=VOCABULARY,
        pad_id=1,
        longest=64,
        dropout=0.0,
        seed=seed,
    )
    vectors = np.random.default_rng(0).normal(size=(VOCABULARY, HIDDEN - position_width(HIDDEN))).astype(np.float32)
    start_matching(model, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), seed=seed)
    return model


def attention(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """(H, T, T) probabilities of the first layer, from the definition."""
    encoder = model.roberta
    with torch.no_grad():
        states = encoder.embeddings(input_ids=ids[None])[0]  # (T, D)
        own = encoder.encoder.layer[0].attention.self
        heads = [layer(states).view(len(ids), HEADS, -1).transpose(0, 1) for layer in (own.query, own.key)]
        scores: torch.Tensor = heads[0] @ heads[1].transpose(1, 2) / (HIDDEN // HEADS) ** 0.5
        return scores.softmax(dim=-1)


def test_one_head_looks_near_and_one_at_the_same_word() -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randperm(VOCABULARY - 10, generator=generator)[:60] + 10
    ids[47] = ids[5]  # one word stands twice
    near, same, free = attention(matching(), ids)
    places = torch.arange(60)
    distance = (places[:, None] - places).abs()
    # Of 60 places, one looked at by chance is 20 away.
    assert (near * distance).sum(dim=1).mean() < 10
    assert (free * distance).sum(dim=1).mean() > 17
    without_itself = same[5].clone()
    without_itself[5] = 0
    assert int(without_itself.argmax()) == 47
    assert without_itself[47] > 3 * without_itself.topk(2).values[1]


def test_the_seed_alone_decides() -> None:
    torch.manual_seed(1)
    first = matching().state_dict()
    torch.manual_seed(2)
    again, other = matching().state_dict(), matching(seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    key = "roberta.encoder.layer.1.attention.self.query.weight"
    assert not torch.equal(first[key], other[key])


@needs_gensim
def test_tokens_in_the_same_company_get_near_vectors() -> None:
    generator = np.random.default_rng(5)
    # Two topics of 20 tokens each that never meet; token 50 is never seen.
    lines = [generator.integers(0, 20, 40) + 20 * (number % 2) for number in range(400)]
    tokens = np.concatenate([np.pad(line, (0, 960), constant_values=45) for line in lines])
    vectors = word_vectors(tokens, vocabulary_size=51, width=16, passes=4, seed=1)
    assert (vectors[50] == 0).all()
    assert np.linalg.norm(vectors[:40], axis=1) == pytest.approx(1.0, abs=1e-5)
    similarity = vectors[:40] @ vectors[:40].T
    inside = (similarity[:20, :20].sum() - 20) / 380
    assert inside > similarity[:20, 20:].mean() + 0.2
    assert (vectors == word_vectors(tokens, vocabulary_size=51, width=16, passes=4, seed=1)).all()


@needs_gensim
def test_pretraining_can_start_so_and_read_longer_windows_later(tmp_path: Path) -> None:
    (tmp_path / "actas-00.txt").write_text(spanish.text(0, documents=12), encoding="utf-8")
    settings = resolve(PretrainSettings, read_toml(str(CONFIG)))
    text = replace(settings.text, files=[str(tmp_path / "actas-00.txt")], store=str(tmp_path / "store"))
    model = replace(settings.model, initial="matching", positions=160)
    settings = replace(
        settings,
        text=text,
        model=model,
        cloze=replace(settings.cloze, keep_answer_sentence=0.9, dropped=0.5),
        masking=replace(settings.masking, share=0.0),
        output=str(tmp_path / "encoder"),
    )
    pretrain(settings)
    loaded = load_reader(str(tmp_path / "encoder"))
    assert loaded.model.config.max_position_embeddings == 160 + loaded.model.config.pad_token_id + 1
    first = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    pretrain(replace(settings, overwrite=True))  # the vectors that are stored by now
    again = load_reader(str(tmp_path / "encoder")).model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_without_gensim_the_line_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(UserError, match=r"pip install 'destila\[pretrain\]'"):
        word_vectors(np.arange(10), vocabulary_size=10, width=4, passes=1, seed=0)
