"""Texts that look alike are found, with the span of the context; others are not."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from destila.data.lookalikes import begins_alike, look_alikes, plain_form


@pytest.mark.parametrize(
    ("context", "text", "found"),
    [
        ("nacio\u0301 en Co\u0301rdoba.", "Córdoba", "Co\u0301rdoba"),
        ("nació en Córdoba.", "Co\u0301rdoba", "Córdoba"),
        ("mide 30\u00a0km de largo", "30 km", "30\u00a0km"),
        ("mide 30 km de largo", "30\u202fkm", "30 km"),
        ("la biblio\u00adteca del rey", "biblioteca", "biblio\u00adteca"),
        ("la biblioteca del rey", "biblio\u00adteca", "biblioteca"),
        ("el rey\u200b\ufeff de León", "rey de León", "rey\u200b\ufeff de León"),
        ("San\n  Juan", "San Juan", "San\n  Juan"),
        ("San Juan", "San \t Juan", "San Juan"),
        ("el «Quijote» de 1605–1615", '"Quijote" de 1605-1615', "«Quijote» de 1605–1615"),
        ("the ﬁn del mundo", "fin del", "ﬁn del"),
        ("x ﬁn", "in", None),  # half of one character
        ("a 5 … y", "..", None),
        ("Lima", "lima", None),
        ("el año", "el ano", None),
        ("Lima", "\u00ad", None),
        ("", "a", None),
    ],
)
def test_alike(context, text, found):
    spans = look_alikes(context, text)
    assert [context[slice(*span)] for span in spans] == ([found] if found else [])
    for start, _ in spans:
        assert begins_alike(context, text, start)


LETTERS = [*"abñé,.1 ", "e\u0301", "n\u0303", "\u00ad", "\u00a0", "\n", "😀", "ﬁ", "’"]
PIECES = st.lists(st.sampled_from(LETTERS), max_size=20).map("".join)


@given(
    before=PIECES,
    written=PIECES.map(str.strip),
    after=PIECES,
    form=st.sampled_from(["NFC", "NFD", "NFKC"]),
    white=st.sampled_from([" ", "\u00a0", "\n "]),
    hyphen=st.integers(0, 5),
)
def test_a_text_is_found_in_whatever_form_it_is_written(before, written, after, form, white, hyphen):
    other = unicodedata.normalize(form, written)
    while hyphen < len(other) and unicodedata.combining(other[hyphen]):
        hyphen += 1
    other = f"{other[:hyphen]}\u00ad{other[hyphen:]}".replace(" ", white)
    wanted = plain_form(written).text.strip()
    context = f"{before} | {written} | {after}"
    found = [context[slice(*span)] for span in look_alikes(context, other)]
    assert bool(found) == bool(wanted)
    assert all(plain_form(span).text == wanted for span in found)
