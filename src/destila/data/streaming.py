"""The windows of many examples and of texts of any length, a bounded number at a time, made ahead of their use.

Mental model: short contexts are cut together, as `WindowBuilder.build` does it. A long one is tokenized in pieces, and
a piece ends where the tokenizer would have ended a token anyway, before a space between two words, so that the tokens
of the pieces, one after the other, are the tokens of the text. No list of tokenizers says where that is so: each cut is
tried on the text around it, and a text without such a place stays whole.

Invariants: windows are those that `build` makes, in the same order, without labels; memory depends on the length of no
text that has words; at most one part is made ahead of the one in hand. This module runs no model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from tokenizers import Tokenizer

from destila.core.records import Example
from destila.data.reading_form import in_original, reading_form
from destila.data.tokenizers import encodable
from destila.data.windows import Tokenized, Window, WindowBuilder

EXAMPLES_AT_ONCE = 512  # sorted by length together: enough that hardly anything is padding
CHARACTERS_AT_ONCE = 4_000_000  # some million tokens: 30 MB with their offsets and logits
LONG_TEXT = 131_072  # characters; a longer context is read in pieces
PIECE = 65_536  # characters: some 15,000 tokens, whose encodings take 3 MB
AROUND = 64  # characters on each side of a cut that are tokenized to try it
TRIES = 4  # places that are tried for each kind of white space before a piece grows

Item = TypeVar("Item")


def stream(builder: WindowBuilder, examples: Sequence[Example]) -> Iterator[list[Window]]:
    """The windows of the examples, in order; those of an example may be spread over several lists."""
    short, characters = list[Example](), 0
    for index, example in enumerate(examples):
        is_long = len(example.context) > LONG_TEXT
        if short and (is_long or len(short) == EXAMPLES_AT_ONCE or characters > CHARACTERS_AT_ONCE):
            yield _renumbered(builder.build(short), index - len(short))
            short, characters = [], 0
        if is_long:
            yield from _of_long_text(builder, index, example)
        else:
            short.append(replace(example, answers=(), labeled=False))
            characters += len(example.context)
    if short:
        yield _renumbered(builder.build(short), len(examples) - len(short))


def _renumbered(windows: list[Window], first: int) -> list[Window]:
    return [replace(window, example=first + window.example) for window in windows] if first else windows


def _of_long_text(builder: WindowBuilder, index: int, example: Example) -> Iterator[list[Window]]:
    questions = builder.tokenize([example.question], clean=False)
    question = questions[example.question].ids
    rest, first = Tokenized(np.zeros(0, np.int32), np.zeros((0, 2), np.int32)), 0  # tokens from the `first` on
    windows = list[Window]()
    form, spans = reading_form(example.context)  # of the whole: a piece in capitals does not make a text in capitals
    for start, end in pieces(form, builder.tokenizer):
        part = form[start:end]
        text = builder.tokenize([part], clean=True, as_it_is=True)[part]
        offsets = in_original(text.offsets + np.int32(start), spans)
        rest = Tokenized(np.append(rest.ids, text.ids), np.concatenate([rest.offsets, offsets]))
        builder.refuse_long_questions([example], questions, {example.context: rest})
        *whole, last = builder.cut(index, replace(example, answers=(), labeled=False), question, rest)
        # The last window may still grow: the next piece begins with its tokens.
        yield [replace(window, first_token=first + window.first_token) for window in whole]
        windows = [replace(last, first_token=first + last.first_token)]
        rest = Tokenized(rest.ids[last.first_token :], rest.offsets[last.first_token :])
        first += last.first_token
    yield windows


def pieces(text: str, tokenizer: Tokenizer) -> Iterator[tuple[int, int]]:
    """First character and one past the last of each piece, in order; one empty piece of an empty text.

    A piece has about PIECE characters, or more where nothing shorter can be cut off.
    """
    start = 0
    while len(text) - start > 2 * PIECE:
        lowest = start + PIECE // 2
        while (cut := _cut(text, tokenizer, lowest=lowest, highest=lowest + PIECE // 2)) is None:
            lowest += PIECE // 2
            if lowest >= len(text) - AROUND:
                break
        if cut is None:
            break
        yield start, cut
        start = cut
    yield start, len(text)


def _cut(text: str, tokenizer: Tokenizer, *, lowest: int, highest: int) -> int | None:
    """The last place in [lowest, highest) where the text may be cut; None if none of those tried is one."""
    for space in " \n":
        place = highest
        for _ in range(TRIES):
            place = text.rfind(space, lowest, place)
            if place < 1:
                break
            alone = not text[place - 1].isspace() and not text[place + 1 : place + 2].isspace()
            if alone and _may_cut(text, tokenizer, place):
                return place
    return None


def _may_cut(text: str, tokenizer: Tokenizer, place: int) -> bool:
    """Whether the text around reads the same in two parts: a prefix or a merge across the cut would show."""
    left, right = encodable(text[max(0, place - AROUND) : place]), encodable(text[place : place + AROUND])
    whole, *parts = tokenizer.encode_batch([left + right, left, right], add_special_tokens=False)
    return bool(whole.ids == parts[0].ids + parts[1].ids)


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each made on another thread while the one before it is in use."""
    from concurrent.futures import ThreadPoolExecutor  # its import takes longer than a short answer

    done = object()
    with ThreadPoolExecutor(1, thread_name_prefix="destila-ahead") as maker:
        coming = maker.submit(next, items, done)
        while (item := coming.result()) is not done:
            coming = maker.submit(next, items, done)
            yield item  # type: ignore[misc]  # it is not the sentinel
