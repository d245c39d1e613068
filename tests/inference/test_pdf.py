"""A PDF's letters, words and forms are put together as a person sees them."""

from itertools import pairwise

import pytest

pytest.importorskip("pypdfium2", reason="the extra documents is not installed")

from destila.core.language import say, speak
from destila.inference.documents.document import Document
from destila.inference.documents.pdf import XFA_NOTE, pdf_parser, tidy_accents
from papers import pdf, pdf_form, pdf_lines, pdf_page_of, pdf_stream

# As TeX's first fonts have them: an accent is a glyph of its own, and the i that bears one has no dot.
TEX = (
    b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding << /BaseEncoding /WinAnsiEncoding "
    b"/Differences [1 /acute /dieresis /tilde /dotlessi /grave /circumflex /cedilla] >> >>"
)


def parsed(content):
    text, pages, note = pdf_parser()(content, 300_000_000)
    return Document(text, tuple(pages), note)


def read(content):
    return parsed(content).text


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (b"(canci\\001on, Mu\\003noz)", "canción, Muñoz"),
        (b"(Mar\\001\\004a vivi\\001o en \\001Avila y en M\\001ALAGA)", "María vivió en Ávila y en MÁLAGA"),
        (b"(ping\\002uino, NI\\003NO, D\\001IAZ)", "pingüino, NIÑO, DÍAZ"),
        (b"(Fran\\007cois, Fr\\006en\\006e, pap\\005a)", "François, Frênê, papà"),
    ],
)
@pytest.mark.parametrize("kerned", [False, True])
def test_accents_meet_their_letters(shown, expected, kerned):
    if kerned:  # set back over the letter
        for accent in (b"\\001", b"\\002", b"\\003"):
            shown = shown.replace(accent, b") -28 (%s) 361 (" % accent)
    content = b"BT /F1 12 Tf 50 780 Td [%s] TJ ET" % shown
    assert read(pdf_page_of(content, font=TEX)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("canci´on", "canción"),
        ("´Angel Mu˜noz", "Ángel Muñoz"),
        ("Mar´ıa, aqu´ı, pa´ıs, dec´ıa", "María, aquí, país, decía"),
        ("cancio´n, nin˜o, pingu¨ino, pai´ses", "canción, niño, pingüino, países"),  # set after their letters
        ("Marı´a y corazo´n, nada ma´s", "María y corazón, nada más"),
        ("La canci´on de D´Artagnan y O´Donnell", "La canción de D´Artagnan y O´Donnell"),
        ("McDonald´s y Levi´s", "McDonald´s y Levi´s"),
        ("a las 5´30 h, 3´ y 12´´", "a las 5´30 h, 3´ y 12´´"),
        ("un ``ejemplo'' de `a`", "un ``ejemplo'' de `a`"),
        ("´ ˜ ¨", "´ ˜ ¨"),
        ("´", "´"),
        ("", ""),
    ],
)
def test_accents_and_apostrophes_are_told_apart(text, expected):
    assert tidy_accents(text) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["la coope-", "ración"], "la cooperación"),
        (["LA COOPE-", "RACIÓN"], "LA COOPERACIÓN"),
        (["LA ESPAÑO-", "LA"], "LA ESPAÑOLA"),
        (["de Castilla-", "La Mancha"], "de Castilla-La Mancha"),
        (["los SEAT-", "VW"], "los SEAT-VW"),
        (["un CD-", "ROM"], "un CD-ROM"),
        (["la covid-", "19"], "la covid-19"),
        (["bien -", "dijo"], "bien - dijo"),
        (["el ánge-", "lus"], "el ángelus"),
    ],
)
def test_words_that_a_line_divides_are_whole(lines, expected):
    assert read(pdf(lines)) == expected


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ((["la coope-"], ["ración, que sigue"]), "la cooperación,\n\nque sigue"),
        ((["LA COOPE-"], ["RACIÓN SIGUE"]), "LA COOPERACIÓN\n\nSIGUE"),
        ((["la coope-", "12"], ["ración sigue.", "13"]), "la cooperación\n\n12\n\nsigue.\n\n13"),
        ((["la covid-", "19"], ["en el mundo"]), "la covid-19\n\nen el mundo"),
        ((["de Castilla-"], ["La Mancha"]), "de Castilla-\n\nLa Mancha"),
        ((["uno -"], ["dos"]), "uno -\n\ndos"),
        ((["la coope-"], []), "la coope-\n\n"),
    ],
)
def test_words_that_a_page_divides_are_whole_and_on_the_first(pages, expected):
    document = parsed(pdf(*pages))
    assert document.text == expected
    assert len(document.pages) == len(pages)
    if "cooperación" in document.text:
        assert document.page(document.text.index("cooperación")) == 1
        assert document.page(document.text.index("sigue")) == 2


# Words that end each page within a word, and what goes on on the next one.
BODIES = ("La dirige Carmen Le-", "desma. El archivo es de Tomás Quiro-", "ga.")


@pytest.mark.parametrize(
    ("head", "foot"),
    [
        ([], ["Página {n} de 3"]),
        ([], ["página {n}"]),
        ([], ["Calle Mayor, 3", "{n}/3"]),
        ([], ["iv"]),
        (["Memoria anual 2009"], ["{n}"]),
        (["memoria anual"], []),
        (["{n} memoria anual"], []),
        (["Ayuntamiento", "de Alcalá"], ["- {n} -"]),
    ],
)
def test_heads_and_feet_do_not_stand_in_words(head, foot):
    def paged(bodies):
        return [[line.format(n=n) for line in [*head, *body, *foot]] for n, body in enumerate(bodies, 1)]

    document = parsed(pdf(*paged([body] for body in BODIES)))
    whole = [["La dirige Carmen Ledesma."], ["El archivo es de Tomás Quiroga."], []]
    starts = [*document.pages, len(document.text)]
    pages = [document.text[start:end] for start, end in pairwise(starts)]
    assert [page.split() for page in pages] == [" ".join(lines).split() for lines in paged(whole)]
    assert all(set(body) <= set(page.split("\n")) for page, body in zip(pages, whole, strict=True))


def test_left_and_right_pages_have_heads_of_their_own():
    pages = [["El reino", BODIES[0]], ["una historia", BODIES[1]], ["El reino", "ga. Vi-"], ["una historia", "vió."]]
    text = read(pdf(*pages))
    assert text == (
        "El reino\n\nLa dirige Carmen Ledesma.\n\nuna historia\n\nEl archivo es de Tomás Quiroga.\n\nEl reino\n\nVivió."
        "\n\nuna historia"
    )


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ((["va Carmen Le-", "Capítulo uno"], ["desma."]), "va Carmen Le-\nCapítulo uno\n\ndesma."),
        ((["va Carmen Le-"], ["Capítulo dos", "desma."]), "va Carmen Le-\n\nCapítulo dos desma."),
        ((["va Carmen Le-"], b"0 0 99 99 re f", ["desma."]), "va Carmen Le-\n\n\n\ndesma."),
    ],
)
def test_what_cannot_be_joined_safely_is_not(pages, expected):
    assert read(pdf(*pages)) == expected


def test_copies_of_one_text_are_read_as_text():
    copy = [
        "Solicitud de",
        "ayuda para la coope-",
        "ración con",
        "el pueblo de",
        "Alcalá, que",
        "se pide en",
        "la sede.",
    ]
    whole = "Solicitud de ayuda para la cooperación con el pueblo de\nAlcalá, que se pide en la sede."
    assert read(pdf(copy, copy)) == f"{whole}\n\n{whole}"


# ---------------------------------------------------------------------------------------------------- turned pages
LINES = ("La biblioteca abrió en 1987.", "La dirige desde el año 2009 doña", "Carmen Ledesma, que fue pro-", "fesora.")
UPRIGHT = "La biblioteca abrió en 1987.\nLa dirige desde el año 2009 doña\nCarmen Ledesma, que fue profesora."
# In PDF's order of a matrix: how text runs up, upside down and down.
WAYS = {0: b"1 0 0 1 0 0", 90: b"0 1 -1 0 842 0", 180: b"-1 0 0 -1 595 842", 270: b"0 -1 1 0 0 595"}


@pytest.mark.parametrize("page", WAYS)
@pytest.mark.parametrize("way", WAYS)
def test_text_is_read_whatever_way_it_and_its_page_are_turned(way, page):
    content = b"q %s cm %s Q" % (WAYS[way], pdf_lines(LINES))
    assert read(pdf_page_of(content, annotations=b"/Rotate %d" % page)) == UPRIGHT


@pytest.mark.parametrize("way", WAYS)
def test_text_of_two_ways_is_read_both_ways(way):
    content = b"BT /F1 12 Tf 50 20 Td (Arriba.) Tj ET q %s cm %s Q" % (WAYS[way], pdf_lines(LINES))
    assert read(pdf_page_of(content)) == f"Arriba.\n{UPRIGHT}"


@pytest.mark.parametrize("inner", WAYS)
@pytest.mark.parametrize("outer", WAYS)
def test_text_in_a_form_of_the_page_is_turned_once(outer, inner):
    form = pdf_stream(
        b"q %s cm %s Q" % (WAYS[inner], pdf_lines(LINES)),
        b"/Type /XObject /Subtype /Form /BBox [-999 -999 999 999] /Resources << /Font << /F1 3 0 R >> >>",
    )
    content = b"q %s cm /X1 Do Q" % WAYS[outer]
    assert read(pdf_page_of(content, resources=b"/XObject << /X1 6 0 R >>", more=[form])) == UPRIGHT


# ---------------------------------------------------------------------------------------------------- pictures
PICTURE = b"q 99 0 0 99 50 50 cm BI /W 1 /H 1 /CS /G /BPC 8 ID x EI Q"


@pytest.mark.parametrize(
    ("pages", "note"),
    [
        ((["uno"], PICTURE), "page 2 holds only pictures and was not read: "),
        ((["uno"], PICTURE, PICTURE, PICTURE), "pages 2-4 hold only pictures and were not read: "),
        ((PICTURE, b"9 9 99 99 re f", ["tres"], PICTURE), "pages 1-2, 4 hold only pictures and were not read: "),
        ((["uno"], [], b"", [" "]), ""),  # nothing is on them
        ((["uno"], b"%s BT /F1 12 Tf 50 780 Td (pie) Tj ET" % PICTURE), ""),
    ],
)
def test_pages_of_pictures_are_told(pages, note):
    document = parsed(pdf(*pages))
    assert document.note == (note and f"{note}run the file through OCR (ocrmypdf --skip-text)")
    assert len(document.pages) == len(pages)


def test_a_note_on_many_pages_is_short_and_said_in_spanish():
    pages = [page for _ in range(12) for page in (["uno"], PICTURE)]
    note = parsed(pdf(*pages)).note
    assert note.startswith("pages 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, ... hold only pictures")
    speak("es")
    try:
        assert say(note).startswith("las páginas 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, ... solo contienen imágenes")
        assert say(f"{XFA_NOTE}; {note}").endswith(f"; {say(note)}")
        assert say(XFA_NOTE) != XFA_NOTE
    finally:
        speak("en")


# ---------------------------------------------------------------------------------------------------- forms
def test_the_values_of_a_form_are_read_after_their_names():
    form = pdf_form(
        "Solicitud",
        "/FT /Tx /T (nombre) /TU (Nombre y apellidos:) /V (Ana Nu\xf1ez)",
        "/FT /Tx /T (ciudad) /V <FEFF004D00E1006C006100670061>",
        "/FT /Ch /Ff 131072 /T (pais) /Opt [(Per\xfa) (Chile)] /V (Per\xfa)",
        "/FT /Btn /T (socio) /V /Yes /AS /Yes /AP << /N << /Yes 3 0 R /Off 3 0 R >> >>",
        "/FT /Btn /T (moroso) /V /Off /AS /Off /AP << /N << /Yes 3 0 R /Off 3 0 R >> >>",
        "/FT /Tx /T (vacio)",
        "/FT /Tx /Ff 8192 /T (clave) /V (secreta)",
        "/FT /Tx /F 2 /T (oculto) /V (escondido)",
        "/Type /Annot /Subtype /FreeText /Rect [1 1 9 9] /Contents (Escrito encima)",
        "/Type /Annot /Subtype /Text /Rect [1 1 9 9] /Contents (una nota)",
    )
    document = parsed(form)
    assert document.text.split("\n") == [
        "Solicitud",
        "",
        "Nombre y apellidos: Ana Nuñez",
        "ciudad: Málaga",
        "pais: Perú",
        "socio: Yes",
        "Escrito encima",
    ]
    assert (document.note, document.pages) == ("", (0,))


def test_a_form_of_values_alone_holds_text():
    assert read(pdf_form("", "/FT /Tx /T (nombre) /V (Ana)")) == "nombre: Ana"


def test_a_form_whose_values_are_not_read_says_so():
    field = "/FT /Tx /T (nombre) /V (Ana)"
    document = parsed(pdf_form("Solicitud", field, dynamic=True))
    assert document.text.startswith("Solicitud")
    assert document.note == XFA_NOTE
    assert parsed(pdf_form("Solicitud", field, xfa=True)) == parsed(pdf_form("Solicitud", field))
