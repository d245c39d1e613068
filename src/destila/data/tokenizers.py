"""Tokenizers: load the one that lies beside a model, or train one on texts; find its special tokens.

A tokenizer is a `tokenizers.Tokenizer` everywhere. Invariant: one that comes from here neither truncates nor pads
(whatever its file says: `destila.data.windows` cuts texts, and must see all of them), reads a special token that is
spelled out in a user's text as plain text (but for Unigram models, whose pieces include their special tokens), and
gives offsets that cut no letter off a token. This module knows no model; which names exist on a hub is not its concern.

Special tokens are known by what the tokenizer does with a pair of texts, then by the names that files beside it give
them, then by the usual names; never by ids in a model's config.json, which many published encoders get wrong.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from destila.core.errors import UserError
from destila.core.model_files import (
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    TORCH_WEIGHTS,
)
from destila.core.runs import read_json
from destila.core.strict_json import dumps

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # ids 0 to 4, as in RoBERTa
USUAL_NAMES = {
    "cls": ("<s>", "[CLS]"),
    "sep": ("</s>", "[SEP]"),
    "pad": ("<pad>", "[PAD]"),
    "mask": ("<mask>", "[MASK]"),
    "unk": ("<unk>", "[UNK]"),
}

Ids = NDArray[np.int32]


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
        expected = f"expected {CONFIG_FILE}, {TORCH_WEIGHTS}, {TOKENIZER_FILE}"
        raise UserError(str(directory), f"has no {TOKENIZER_FILE}; {expected}", "Was the run interrupted?")
    try:
        return plain(Tokenizer.from_file(str(path)))
    except Exception as error:  # the library raises bare Exception, whatever is wrong
        raise UserError(
            str(path), f"is not a tokenizer ({error})", "Was it cut short? Make or download it again."
        ) from error


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer without truncation, padding, special tokens in users' texts, and shifted offsets; in place."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    _keep_letters(tokenizer)
    return tokenizer


def _keep_letters(tokenizer: Tokenizer) -> None:
    """Let no post-processor trim offsets where trimming may cut letters off.

    It takes each space at the front of a token for a character of the text, also one that was put there: by
    add_prefix_space, or by a normalizer. It does no harm where the one pre-tokenizer adds a space to the whole text
    alone, and the post-processor knows of it. `destila.data.windows` takes white space off the edges anyway.
    """
    if tokenizer.post_processor is None:
        return
    post = json.loads(tokenizer.post_processor.__getstate__())
    trimming = [part for part in post.get("processors", [post]) if part.get("trim_offsets")]
    if not trimming or (len(trimming) == 1 and _trims_well(tokenizer, prefix=bool(trimming[0]["add_prefix_space"]))):
        return
    for part in trimming:
        part["trim_offsets"] = False
    untrimmed = processors.ByteLevel()  # of whatever kind: the state says which
    untrimmed.__setstate__(dumps(post).encode())
    tokenizer.post_processor = untrimmed


def _trims_well(tokenizer: Tokenizer, *, prefix: bool) -> bool:
    first = tokenizer.pre_tokenizer
    if not isinstance(first, pre_tokenizers.ByteLevel) or first.add_prefix_space != prefix:
        return False
    # A space is put at the front of what follows an added token, too.
    in_texts = prefix and any(not token.special for token in tokenizer.get_added_tokens_decoder().values())
    return isinstance(tokenizer.normalizer, normalizers.NFC | normalizers.Lowercase | None) and not in_texts


def encodable(text: str) -> str:
    """The text with each lone surrogate replaced by U+FFFD, one for one, so that positions stay what they were."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)
    return text


# ---------------------------------------------------------------------------------------------------- special tokens
@dataclass(frozen=True)
class PairTemplate:
    """What a tokenizer's post-processor puts around a question and a context."""

    # front, middle, back: ids before the question, between the two, after the context
    front: Ids
    middle: Ids
    back: Ids
    # how many separators (the first id of `middle`) stand before the first token of type 1; 0: all tokens are of type
    # 0; None: no count of separators tells the types
    separators: int | None

    @property
    def parts(self) -> tuple[Ids, Ids, Ids]:
        """What stands before, between and behind."""
        return self.front, self.middle, self.back

    @property
    def size(self) -> int:
        """How many special tokens there are."""
        return sum(map(len, self.parts))

    def join(self, question: NDArray[Any], context: NDArray[Any]) -> tuple[NDArray[Any], int]:
        """The ids of a question and a context, and where the context begins."""
        ids = np.concatenate([self.front, question, self.middle, context, self.back])
        return ids, len(ids) - len(self.back) - len(context)


def pair_template(tokenizer: Tokenizer, *, where: str = "tokenizer") -> PairTemplate:
    """Read the template of pairs off a tokenizer.

    Args:
        where: what an error names.

    Raises:
        UserError: it puts no special token in front of a question.
    """
    encoding = tokenizer.encode("a", "a")
    ids, owner = np.array(encoding.ids, np.int32), encoding.sequence_ids
    question, context = [[place for place, who in enumerate(owner) if who == side] for side in (0, 1)]
    if not question or not context or question[0] == 0:
        remedy = "Add the post-processor that the model was trained with."
        raise UserError(where, "puts no special token in front of a question", remedy)
    middle = ids[question[-1] + 1 : context[0]]
    separators = _separators(ids, np.array(encoding.type_ids), middle)
    return PairTemplate(ids[: question[0]], middle, ids[context[-1] + 1 :], separators)


def _separators(ids: Ids, types: NDArray[Any], middle: Ids) -> int | None:
    """See `PairTemplate.separators`."""
    if not types.any():
        return 0
    if not len(middle):
        return None
    separator = ids == middle[0]
    before = separator.cumsum() - separator
    count = int(before[types.argmax()])
    return count if count and np.array_equal(types, before >= count) else None


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of special tokens by their role; None where a tokenizer has none."""

    cls: int | None
    sep: int | None
    pad: int | None
    mask: int | None
    unk: int | None


def special_tokens(tokenizer: Tokenizer, directory: Path | None = None) -> SpecialTokens:
    """The special tokens of a tokenizer.

    Args:
        directory: where its tokenizer_config.json and special_tokens_map.json lie, if it has any.

    Raises:
        UserError: one of these files is damaged.
    """
    files = [directory / name for name in (TOKENIZER_CONFIG_FILE, SPECIAL_TOKENS_FILE)] if directory else []
    named = [names for file in files if file.is_file() for names in [_special_names(file)]]
    found = {
        role: _first_id(tokenizer, [*(names[role] for names in named if role in names), *usual])
        for role, usual in USUAL_NAMES.items()
    }
    try:
        template = pair_template(tokenizer)
    except UserError:  # it cuts no windows, but may still lend its vocabulary
        return SpecialTokens(**found)
    found["cls"] = int(template.front[0])
    if len(template.middle):
        found["sep"] = int(template.middle[0])
    return SpecialTokens(**found)


def _special_names(path: Path) -> dict[str, str]:
    """The names that a file gives to roles: `"pad_token": "<pad>"`, or an object with the name as its content."""
    values = read_json(path)
    if not isinstance(values, dict):
        raise UserError(str(path), "is not a JSON object", "Make or download it again.")
    entries = {role: values.get(f"{role}_token") for role in USUAL_NAMES}
    names = {role: entry.get("content") if isinstance(entry, dict) else entry for role, entry in entries.items()}
    return {role: name for role, name in names.items() if isinstance(name, str)}


def _first_id(tokenizer: Tokenizer, names: Iterable[str]) -> int | None:
    return next((int(number) for name in names if (number := tokenizer.token_to_id(name)) is not None), None)


def pad_id(tokenizer: Tokenizer, config: Mapping[str, Any]) -> int:
    """The id that fills short rows: the model's own, else the tokenizer's padding token, else 0 (masked anyway)."""
    own = config.get("pad_token_id")
    return int(own if own is not None else special_tokens(tokenizer).pad or 0)
