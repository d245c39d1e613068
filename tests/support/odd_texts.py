"""Texts that tokenizers and readers may stumble over: Spanish among all scripts, marks, controls and white space."""

import random
from collections.abc import Iterator

WORDS = (
    "bi\xadblio\u200bteca pingüino niño árbol Núñez que ción __init__ _ # 3º 1.234,56 x² ½ Ⅷ ١٢ ß ǆ ı <s> </s> <mask> "
    "<pad> <unk> 's 'll ' ''re ▁ ▁▁ ▁a ﷺ ﬁn ™ ㍿ Å ① MÉXICO CAN\u0303ON"
)
SCRIPTS = (
    "日本語 ไทย नमस्ते العربية \U0001e922 \U00011f02 \U0002ebf0 👩‍👩‍👧 🇪🇸 👍🏽 😀 n\u0303 e\u0301\u0328 "
    "क\u094d\u0958\u0301 😀\u200d™\u0301 \u0600a\u0301 \u1100\u1161\u11a8 가\u11a8 각\u0301 か\u3099"
)
WHITE = [*"\t\n\r\x1c\x85\u00a0\u2003\u2028\u3000", "\r\n", " ", "  ", "   "]
MARKS = [*"\u0301\u0340\u0344\u0308\u0323\u0327\u0345\U000e0101"]
HIDDEN = [*"\0\x01\x07\xad\ufe0f\x7f\u200b\u200d\u202e\ufeff\ufffd\U0010fffd"]
PIECES = [*WORDS.split(), *SCRIPTS.split(), *WHITE, *MARKS, *HIDDEN, *"¿¡«»€a", " el", " la"]
PLACES = [*range(0x3000), *range(0xA000, 0xD800), *range(0xF900, 0x10000), *range(0x11000, 0x12000)]
PLACES += range(0x1F000, 0x1FB00)
COMBINING = [*range(0x300, 0x370), *range(0x483, 0x488), *range(0x591, 0x5B0)]


def random_texts(count: int, seed: int) -> Iterator[str]:
    """So many texts of a few words; the same for the same seed."""
    generator = random.Random(seed)
    for _ in range(count):
        pieces = generator.choices(PIECES, k=generator.randint(1, 12))
        pieces += map(chr, generator.choices(PLACES, k=3))
        if generator.random() < 0.4:
            marks = generator.choices(COMBINING, k=generator.randint(1, 4))
            pieces.append(generator.choice("aéA\u0130ñn") + "".join(map(chr, marks)))
        generator.shuffle(pieces)
        yield "".join(pieces)
