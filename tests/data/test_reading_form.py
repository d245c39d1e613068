"""What a model reads of a text, and the way back to the text that was given."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from destila.core.records import Example
from destila.data import streaming
from destila.data.reading_form import in_original, reading_form
from destila.data.tokenizers import train_tokenizer
from destila.data.windows import WindowBuilder

LETTERS = st.text(
    alphabet="aeiouñÑáÉü AÑ1.¿?\n" + "\u0301\u0303\u0308\u0327\u200d\xad\u200b" + "ﬁ한ᄒ日İ🙂ß", max_size=40
)


def without_idle(text: str) -> str:
    return text.translate(dict.fromkeys(map(ord, "\xad\u200b\u200e\ufeff")))


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("¿QUIÉN LO FUNDÓ?", "¿quién lo fundó?"),
        ("AVISO: EL AÑO 2024", "aviso: el año 2024"),
        ("cancio\u0301n", "canción"),
        ("CANCIO\u0301N", "canción"),
        ("Man\u0303ana", "Mañana"),
        ("vergu\u0308enza", "vergüenza"),
        ("\ufeffdirec\xadtora de la \u200bbiblioteca\u200e", "directora de la biblioteca"),
        ("BIBLIO\xadTECA NACIO\u0301\xadN", "biblioteca nación"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("\xad", ""),
        ("İZMİR", "İzmİr"),  # its small letter is two characters: places would move
        ("UNESCO y la ONU", "UNESCO y la ONU"),
        ("1975", "1975"),
        ("", ""),
    ],
)
def test_the_form_that_is_read(text: str, form: str) -> None:
    assert reading_form(text)[0] == form


@pytest.mark.parametrize("text", ["Lima fue fundada en 1535.", "", "¿?", "日本", "a\u0301\u0316"[:1]])
def test_a_text_in_this_form_comes_back_as_it_is(text: str) -> None:
    form, spans = reading_form(text)
    assert form is text
    assert spans is None


@given(LETTERS)
def test_each_character_stands_for_what_it_was_made_of(text: str) -> None:
    form, spans = reading_form(text)
    if spans is None:
        assert len(form) == len(text)
        return
    assert spans.shape == (len(form), 2)
    covered: list[int] = []
    for (start, end), letter in zip(spans.tolist(), form, strict=True):
        piece = without_idle(text[start:end])
        assert letter.casefold() in unicodedata.normalize("NFC", piece).casefold()
        covered += range(start, end)
    assert set(covered) >= {place for place, letter in enumerate(text) if without_idle(letter)}  # nothing is lost
    assert np.all(np.diff(spans[:, 0]) >= 0)


@given(LETTERS)
def test_marks_are_composed_as_the_standard_says(text: str) -> None:
    if any(map(str.islower, text)) and "\u1112" not in text:  # Hangul that is spelled in parts stays in parts
        assert reading_form(text)[0] == unicodedata.normalize("NFC", without_idle(text))


def test_offsets_go_back_to_the_text_that_was_given() -> None:
    text = "La canción".replace("ó", "o\u0301") + " de año nuevo".replace("ñ", "n\u0303")
    form, spans = reading_form(text)
    for word in ("canción", "año", "nuevo", "La"):
        place = form.index(word)
        ((start, end),) = in_original(np.array([[place, place + len(word)]], np.int32), spans).tolist()
        assert unicodedata.normalize("NFC", text[start:end]) == word


TOKENIZER = train_tokenizer(
    ["la canción del año nuevo cuesta 12 euros", "¿cuánto cuesta la canción?"], vocabulary_size=400
)


@pytest.mark.parametrize(
    ("context", "same_as"),
    [
        ("LA CANCIÓN DEL AÑO", "la canción del año"),
        ("la cancio\u0301n del an\u0303o", "la canción del año"),
        ("LA CANCIO\u0301N DEL AÑO", "la canción del año"),
    ],
)
def test_the_network_reads_the_form_and_offsets_point_at_the_original(context: str, same_as: str) -> None:
    builder = WindowBuilder(TOKENIZER, length=64, stride=8, pad_id=1)
    read, plain = builder.build([Example("1", "¿CUÁNTO?", context), Example("2", "¿cuánto?", same_as)])
    assert read.input_ids.tolist() == plain.input_ids.tolist()
    for (start, end), (left, right) in zip(read.offsets.tolist(), plain.offsets.tolist(), strict=True):
        assert unicodedata.normalize("NFC", context[start:end]).lower() == same_as[left:right]


def test_a_long_text_is_read_in_one_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece in capitals of a text that has small letters elsewhere keeps its capitals."""
    monkeypatch.setattr(streaming, "LONG_TEXT", 100)
    monkeypatch.setattr(streaming, "PIECE", 60)
    builder = WindowBuilder(TOKENIZER, length=48, stride=8, pad_id=1)
    for text in (
        "LA CANCIÓN DEL AÑO NUEVO " * 12 + "cuesta",
        "LA CANCIO\u0301N DEL AN\u0303O " * 12,
        "la cancio\u0301n " * 20,
    ):
        example = Example("1", "¿cuánto?", text)
        streamed = [window for part in streaming.stream(builder, [example]) for window in part]
        built = builder.build([example])
        assert [window.input_ids.tolist() for window in streamed] == [window.input_ids.tolist() for window in built]
        assert [window.offsets.tolist() for window in streamed] == [window.offsets.tolist() for window in built]
