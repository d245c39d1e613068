"""Tokenizers: load the one that lies beside a model, or train one on texts.

A tokenizer is a `tokenizers.Tokenizer` everywhere. Invariant: one that comes from here neither truncates nor pads
(whatever its file says: `destila.data.windows` cuts texts, and must see all of them), and reads a special token that is
spelled out in a user's text as plain text (but for Unigram models, whose pieces include their special tokens). This
module knows no model; which names exist on a hub is not its concern.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from destila.core.errors import UserError

TOKENIZER_FILE = "tokenizer.json"
MODEL_FILES = "config.json, model.safetensors, tokenizer.json"
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # ids 0 to 4, as in RoBERTa
PAD_NAMES = ("<pad>", "[PAD]")


def train_tokenizer(texts: Iterable[str], *, vocabulary_size: int) -> Tokenizer:
    """Train a byte-level BPE with RoBERTa's special tokens and template; the same texts give the same tokenizer.

    Args:
        texts: what to learn from.
        vocabulary_size: tokens, special ones included; the 256 bytes and 5 special tokens are always there.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[AddedToken(token, lstrip=token == "<mask>", special=True) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((encodable(text) for text in texts), trainer=trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return plain(tokenizer)


def load_tokenizer(directory: str | Path) -> Tokenizer:
    """Read the tokenizer of a model directory.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    path = Path(directory) / TOKENIZER_FILE
    if not path.is_file():
        raise UserError(str(directory), f"has no {TOKENIZER_FILE}; expected {MODEL_FILES}", "Was the run interrupted?")
    try:
        return plain(Tokenizer.from_file(str(path)))
    except Exception as error:  # the library raises bare Exception, whatever is wrong
        raise UserError(
            str(path), f"is not a tokenizer ({error})", "Was it cut short? Make or download it again."
        ) from error


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer without truncation, padding, and special tokens in users' texts; changes it in place."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def encodable(text: str) -> str:
    """The text with each lone surrogate replaced by U+FFFD, one for one, so that positions stay what they were."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)
    return text


def pad_id(tokenizer: Tokenizer, config: Mapping[str, Any]) -> int:
    """The id that fills short rows: the model's own, else the tokenizer's padding token, else 0 (masked anyway)."""
    if config.get("pad_token_id") is not None:
        return int(config["pad_token_id"])
    found = [tokenizer.token_to_id(name) for name in PAD_NAMES]
    return next((int(number) for number in found if number is not None), 0)
