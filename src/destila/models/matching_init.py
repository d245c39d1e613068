"""A start for pre-training on little compute: an encoder that matches words before its first step.

Shape legend: V vocabulary, D hidden, P hidden channels of positions, D - P of words, d channels of a head.

Mental model: extractive question answering is finding the place of the text where the question's words stand, and what
stands beside it. A random transformer needs many millions of tokens until its attention compares tokens at all. Here
it begins with three things that cost a few minutes of one core:

- word embeddings from word2vec (Mikolov et al. 2013) over the same tokens, in channels of their own;
- position embeddings of sines and cosines (Vaswani et al. 2017, section 3.5) in the other channels, so
  that near places look alike;
- in every layer, a third of the heads compare words and a third compare places: their query and key matrices begin as
  one projection of those channels (near the identity, after Trockman and Kolter 2023). The others begin at random.

Everything is trained on from there, and the model is a plain RoBERTa. Invariant: the same tokens and the same seed
give the same weights, whatever the state of the global generator. This module reads no text and trains no encoder.
"""

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from destila.core.errors import UserError
from destila.data.tokenizers import SPECIAL_TOKENS

CHUNK = 1000  # tokens of a line; word2vec sees no context across lines
EMBEDDING_SCALE = (
    0.05  # standard deviation of a channel: normalization takes it away, but the step size is felt against it
)
RANDOM_SHARE = 0.5  # of the usual random start that stays under the projections
POSITION_CHANNELS = 4  # one in so many
LONGEST_WAVE = 100.0  # radians per token: from 1 down to one in so many


def word_vectors(tokens: NDArray[Any], *, vocabulary_size: int, width: int, passes: int, seed: int) -> NDArray[Any]:
    """Vectors of tokens from the company they keep: word2vec, continuous bag of words, eight negative samples.

    Args:
        tokens: (N,) ids of a text, perhaps mapped from the disk.
        width: channels of a vector.
        passes: over the text.

    Returns:
        (V, width) float32 of unit length about their mean; zero for tokens that the text lacks.

    Raises:
        UserError: gensim is not installed.
    """
    try:
        from gensim.models import Word2Vec
    except ImportError as error:
        raise UserError(
            "model.initial", "'matching' needs gensim", "Install it: pip install 'destila[pretrain]'"
        ) from error
    with tempfile.TemporaryDirectory() as directory:
        corpus = Path(directory, "ids.txt")
        corpus.write_text("".join(_lines(tokens)), encoding="ascii")
        # One worker: with more, the order of updates would depend on the machine.
        model = Word2Vec(
            corpus_file=str(corpus), vector_size=width, window=5, negative=8, sample=1e-4, workers=1,
            epochs=passes, min_count=1, seed=seed,
        )  # fmt: skip
    vectors = np.zeros((vocabulary_size, width), np.float32)
    known = np.array([int(word) for word in model.wv.index_to_key])
    vectors[known] = model.wv.vectors - model.wv.vectors.mean(axis=0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return vectors


def _lines(tokens: NDArray[Any]) -> Iterator[str]:
    for first in range(0, len(tokens), CHUNK):
        yield " ".join(map(str, np.asarray(tokens[first : first + CHUNK]).tolist())) + "\n"


def position_width(hidden: int) -> int:
    """P: an even number of channels."""
    return 2 * (hidden // (2 * POSITION_CHANNELS))


@torch.no_grad()
def start_matching(model: Any, vectors: NDArray[Any], *, seed: int) -> None:
    """Make a random RoBERTa one that matches words and places; changes it in place.

    Args:
        model: a transformers RoBERTa with a span head.
        vectors: (V, D - P) of `word_vectors`.
    """
    generator = torch.Generator().manual_seed(seed)
    encoder, hidden = getattr(model, model.base_model_prefix), model.config.hidden_size
    places = position_width(hidden)
    embeddings = encoder.embeddings
    words = embeddings.word_embeddings.weight
    words.zero_()
    # Principal directions differ much in size; turned at random, every head sees its share of each.
    turned = torch.from_numpy(vectors) @ _orthonormal(hidden - places, hidden - places, generator)  # (V, D - P)
    words[:, places:] = turned * (EMBEDDING_SCALE * math.sqrt(hidden - places))
    special = len(SPECIAL_TOKENS)
    words[:special, places:] = torch.randn(special, hidden - places, generator=generator) * EMBEDDING_SCALE
    positions = embeddings.position_embeddings.weight
    positions.zero_()
    positions[:, :places] = _waves(len(positions), places) * (EMBEDDING_SCALE * math.sqrt(2))
    embeddings.token_type_embeddings.weight.zero_()
    for layer in encoder.encoder.layer:
        _match(layer.attention.self, places, model.config.num_attention_heads, generator)


def _waves(count: int, width: int) -> Tensor:
    """(count, width) sines and cosines of places at wave lengths that grow geometrically."""
    rates = torch.exp(torch.linspace(0.0, -math.log(LONGEST_WAVE), width // 2))
    angles = torch.arange(count)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _match(attention: Any, places: int, heads: int, generator: torch.Generator) -> None:
    """Heads 0, 3, 6, ... compare places, heads 1, 4, 7, ... words; query and key share one projection."""
    query, key = attention.query.weight, attention.key.weight  # (D, D)
    hidden, size = query.shape[1], query.shape[0] // heads
    query.mul_(RANDOM_SHARE)
    key.mul_(RANDOM_SHARE)
    for head in range(heads):
        rows = slice(head * size, (head + 1) * size)
        if head % 3 == 0:
            shared = _orthonormal(size, places, generator)
            columns = slice(0, places)
        elif head % 3 == 1:
            shared = _orthonormal(size, hidden - places, generator)
            columns = slice(places, hidden)
        else:
            continue
        query[rows, columns] += shared
        key[rows, columns] += shared


def _orthonormal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """(rows, columns) with orthonormal rows, or columns where there are fewer of them; drawn at random."""
    tall: Tensor = torch.linalg.qr(torch.randn(max(rows, columns), min(rows, columns), generator=generator))[0]
    return tall.T if rows <= columns else tall
