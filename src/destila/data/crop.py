"""Long contexts made shorter for training, at sentences around the answer.

A reader that always found the answer in the middle would learn to look there, so where the answer stands in what is
left is drawn; from the example's id, so that it is the same in every run.
"""

import zlib
from dataclasses import replace

from destila.core.records import Answer, Example
from destila.data.sentences import sentences


def cropped(example: Example, most: int) -> Example:
    """The example with whole sentences of its context, at most `most` characters of them; 0: as it is.

    The sentences of the first answer stay, however long they are; answers outside of what is left go. Of an example
    without an answer some place of the context is kept.
    """
    if not most or len(example.context) <= most:
        return example
    spans = sentences(example.context)
    draw = zlib.crc32(example.id.encode("utf-8", "surrogatepass")) / 2**32  # in [0, 1)
    if example.answers:
        start, end = int(example.answers[0].start or 0), int(example.answers[0].end or 0)
    else:
        start = end = spans[int(draw * len(spans))][0]
    inside = [place for place, (left, right) in enumerate(spans) if left < max(end, start + 1) and right > start]
    first, last = inside[0], inside[-1]
    before = draw * (most - (spans[last][1] - spans[first][0]))  # characters to take on the left
    least = spans[first][0] - before
    while first and spans[first - 1][0] >= least:
        first -= 1
    while last + 1 < len(spans) and spans[last + 1][1] - spans[first][0] <= most:
        last += 1
    while first and spans[last][1] - spans[first - 1][0] <= most:  # the text ended before the right side was full
        first -= 1
    return _between(example, spans[first][0], spans[last][1])


def _between(example: Example, start: int, end: int) -> Example:
    """The example with the characters [start, end) of its context alone."""
    context = example.context[start:end]
    kept = tuple(
        Answer.at(context, answer.start - start, answer.end - start, answer.score)
        for answer in example.answers
        if answer.start is not None and answer.end is not None and start <= answer.start and answer.end <= end
    )
    return replace(example, context=context, answers=kept)
