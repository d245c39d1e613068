"""Sentences and passages: nothing is lost, nothing is longer than asked, and time is linear."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destila.data.sentences import SHOWN, passages, sentence_around, sentences

TEXT = st.text(st.sampled_from('aéÑ1 .!?…«»"”\n\t()-¿😀'), max_size=400)


def cut(text):
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Uno dos. Tres cuatro.", ["Uno dos.", "Tres cuatro."]),
        ("¿Quién? ¡Ana! «Sí.» Y «no…» dijo.", ["¿Quién?", "¡Ana!", "«Sí.»", "Y «no…» dijo."]),
        ("El Sr. Pérez y la Dra. Gil viven en EE. UU. desde 1990.", None),
        ("J. R. Jiménez nació en 1881. Murió en 1958.", ["J. R. Jiménez nació en 1881.", "Murió en 1958."]),
        ("Véase art. 14.2 y pág. 3. 12 casas.", ["Véase art. 14.2 y pág. 3.", "12 casas."]),
        ("Título\n\nTexto que\nsigue aquí", ["Título", "Texto que\nsigue aquí"]),
        ("Cuesta 3.50 euros. mal escrito", None),
        (
            "El Prof. Gil, la Lic. Ruiz y el Ing. Paz. La Srta. Díaz.",
            ["El Prof. Gil, la Lic. Ruiz y el Ing. Paz.", "La Srta. Díaz."],
        ),
        (
            "Fr. Luis, Mons. Romero, el Gral. San Martín y la Profa. Gil. Fin.",
            ["Fr. Luis, Mons. Romero, el Gral. San Martín y la Profa. Gil.", "Fin."],
        ),
        (
            "Las FF. AA. Argentinas y los JJ. OO. Modernos. Fin.",
            ["Las FF. AA. Argentinas y los JJ. OO. Modernos.", "Fin."],
        ),
        (
            "Nació en EE. UU. El padre, en EE.UU. Murió en Lima.",
            ["Nació en EE. UU.", "El padre, en EE.UU.", "Murió en Lima."],
        ),
        (
            "En el 44 a. C. Roma cambió. En 146 a.C. Cartago cayó.",
            ["En el 44 a. C. Roma cambió.", "En 146 a.C. Cartago cayó."],
        ),
        (
            "César murió en el 44 a. C. Su sucesor, en el 14 d. C. Luego...",
            ["César murió en el 44 a. C.", "Su sucesor, en el 14 d. C.", "Luego..."],
        ),
        (
            "Pan, leche, etc. Después, vino. Pan, etc. Madrid.",
            ["Pan, leche, etc.", "Después, vino.", "Pan, etc. Madrid."],
        ),
        (
            "Abre a las 9 a. m. La sala cierra a las 8 p. m. En casa.",
            ["Abre a las 9 a. m.", "La sala cierra a las 8 p. m.", "En casa."],
        ),
        (
            "Acme S. A. Perú creció. Es de Acme S. A. Ella lo sabe.",
            ["Acme S. A. Perú creció.", "Es de Acme S. A.", "Ella lo sabe."],
        ),
        (
            "Obras, p. ej. El Quijote, núm. 14, pág. 3, cap. VI y vol. II. Fin.",
            ["Obras, p. ej. El Quijote, núm. 14, pág. 3, cap. VI y vol. II.", "Fin."],
        ),
        ("Del s. XIX. De los ss. XV y XVI. Hacia c. 1500.", ["Del s. XIX.", "De los ss. XV y XVI.", "Hacia c. 1500."]),
        (
            "No. 5, Av. Lima. Dijo que no. Luego se fue al mar. Volvió.",
            ["No. 5, Av. Lima.", "Dijo que no.", "Luego se fue al mar.", "Volvió."],
        ),
        ("Mide 30 cm. El otro, 20 kg. Pesa.", ["Mide 30 cm.", "El otro, 20 kg.", "Pesa."]),
        ("", []),
        (" \n\n \t", []),
        ("....... Índice ....... 3", [".......", "Índice .......", "3"]),
    ],
)
def test_spanish_sentences(text, expected):
    assert cut(text) == ([text] if expected is None else expected)


@settings(max_examples=200, deadline=None)
@given(TEXT, st.integers(20, 120))
def test_nothing_is_lost_or_too_long(text, most):
    found = passages(text, most)
    covered = bytearray(len(text))
    for start, end in found:
        assert 0 < end - start <= most
        assert not text[start].isspace()
        assert not text[end - 1].isspace()
        covered[start:end] = b"\1" * (end - start)
    assert all(mark or letter.isspace() for mark, letter in zip(covered, text, strict=True))
    assert found == sorted(set(found))
    ends = [end for _, end in found]
    assert ends == sorted(set(ends)), "a passage held nothing new"


@settings(max_examples=100, deadline=None)
@given(TEXT.filter(str.strip), st.data())
def test_the_sentence_around_holds_the_span(text, data):
    solid = [place for place, letter in enumerate(text) if not letter.isspace()]
    start = data.draw(st.sampled_from(solid))
    end = data.draw(st.sampled_from([place for place in solid if place >= start])) + 1
    first, last = sentence_around(text, start, end)
    assert 0 <= first <= start < end <= last <= len(text)


def test_the_sentence_around_is_the_sentence_and_short():
    text = "Antes. La dirige Carmen Ledesma desde 2009. Después."
    start = text.index("Carmen")
    first, last = sentence_around(text, start, start + 14)
    assert text[first:last] == "La dirige Carmen Ledesma desde 2009."
    text = "palabra " * 2000 + "aguja " + "palabra " * 2000
    start = text.index("aguja")
    first, last = sentence_around(text, start, start + 5)
    assert last - first <= SHOWN + 10
    assert set(text[first:last].split()) == {"palabra", "aguja"}


def test_a_passage_begins_with_the_sentence_before_if_that_is_short():
    text = "Carmen Ledesma nació en Lima. Vive allí. Antes fue maestra en Cusco. Su madre fue Rosa."
    assert [text[start:end] for start, end in passages(text, 45)] == [
        "Carmen Ledesma nació en Lima. Vive allí.",
        "Vive allí. Antes fue maestra en Cusco.",
        "Su madre fue Rosa.",
    ]


@pytest.mark.parametrize("piece", [".", ". ", "a. ", "!»", "\n \n", " ", "Sr. A", "¿", "x"])
def test_time_is_linear(piece):
    began = time.process_time()
    passages(piece * (400_000 // len(piece)), 1200)
    assert time.process_time() - began < 8  # a quadratic rule takes minutes
