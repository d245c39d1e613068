"""Of an HTML page a person's text is read: nothing that is hidden, and the lines of what is set in lines."""

import pytest

pytest.importorskip("lxml", reason="the extra documents is not installed")

from destila.inference.documents import parse_document
from destila.inference.documents.document import DocumentError
from destila.inference.documents.encoding import LEGACY_NOTE
from destila.inference.documents.html import html_parser


def read(markup):
    return html_parser()(markup.encode(), 300_000_000)[0]


@pytest.mark.parametrize(
    "hidden",
    [
        "<p hidden>no</p>",
        "<p hidden=until-found>no</p>",
        "<div hidden><p>no <b>no</b></p></div>",
        '<span style="display:none">no</span>',
        '<div style="color: red; DISPLAY : None !important">no</div>',
        '<p style="display:block;display:none">no</p>',
        '<p style="visibility: hidden">no</p>',
        '<tr style="visibility:collapse">no</tr>',
        '<div style="content-visibility:hidden">no</div>',
        "<template><p>no</p></template>",
        "<noscript>no</noscript>",
        "<script>no</script>",
        "<style>no{}</style>",
        "<dialog>no</dialog>",
        "<datalist><option>no</datalist>",
        "<noembed>no</noembed>",
        "<!-- no -->",
    ],
)
def test_what_is_hidden_is_not_read(hidden):
    text = read(f"<p>Uno <b>dos</b></p>{hidden}<p>tres</p>")
    assert text == "Uno dos\n\ntres"
    assert read(f"<p>Uno{hidden if hidden.startswith(('<span', '<!--', '<script')) else ''}dos</p>") == "Unodos"


@pytest.mark.parametrize(
    "seen",
    [
        "<p aria-hidden=true>sí</p>",
        "<p hidden style='display:block'>sí</p>",
        '<p style="display:none;display:block">sí</p>',
        '<p style="background:url(display:none)">sí</p>',
        '<p data-style="display:none" title="hidden">sí</p>',
        "<dialog open>sí</dialog>",
        "<details><summary>sí</summary></details>",
        '<p class="hidden">sí</p>',
        '<div style="visibility:hidden"><p style="visibility:visible">sí</p></div>',
        "<math><semantics><mi>sí</mi><annotation>x</annotation></semantics></math>",
    ],
)
def test_what_is_seen_is_read(seen):
    assert read(f"<p>Uno</p>{seen}<p>dos</p>").split() == ["Uno", "sí", "dos"]


@pytest.mark.parametrize("first", ["main", "section", "article", "details", "dl", "header", "otra-cosa", "div", "p"])
def test_a_page_needs_no_body_to_be_read_from_its_first_word(first):
    head = "<!doctype html><html lang=es><meta charset=utf-8><title>Título</title><link rel=icon><style>a{}</style>"
    assert read(f"{head}<{first}>Uno <b>dos</b></{first}><p>tres</p>").split() == ["Uno", "dos", "tres"]


def test_what_stands_above_a_word_is_no_part_of_it():
    assert read("<p><ruby>palabra<rp>(</rp><rt>encima</rt><rp>)</rp></ruby> sigue</p>") == "palabra sigue"


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<pre>uno\ndos\n\ntres</pre>", "uno\ndos\n\ntres"),
        ("<p>antes<pre>\n  uno\r\n  dos\n</pre>después\nsigue", "antes\n\nuno\ndos\n\ndespués sigue"),
        ("<pre><code>a = 1\n<b>b</b> = 2\nc</code></pre>", "a = 1\nb = 2\nc"),
        ("<textarea>uno\ndos</textarea>", "uno\ndos"),
        ('<div style="white-space: pre-line">uno\ndos</div>tres\ncuatro', "uno\ndos\ntres cuatro"),
        ('<pre style="white-space:normal">uno\ndos</pre>', "uno dos"),
        ("<pre>uno<script>\n</script>\ndos</pre>", "uno\ndos"),
        ("<p>uno\ndos</p>", "uno dos"),
        ("<center>uno</center>dos<center>tres</center>", "uno\n\ndos\n\ntres"),
        ('<span style="display:block">uno</span><span style="display: flex">dos</span>tres', "uno\ndos\ntres"),
        ("<p>uno<button>dos</button><output>tres</output>cuatro</p>", "uno dos tres cuatro"),
    ],
)
def test_lines_are_kept_where_they_are_shown(markup, expected):
    assert read(markup) == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_the_encoding_reaches_the_text(encoding):
    document = parse_document("a.html", "<p>Año: María, 5 €".encode(encoding))
    assert document.text == "Año: María, 5 €"
    assert document.note == (LEGACY_NOTE if encoding == "cp1252" else "")


def test_a_page_that_speaks_of_pdf_is_a_page():
    text = "Un archivo que empieza por %PDF-1.7 es un PDF."
    assert parse_document("a.html", f"<p>{text}".encode()).text == text
    with pytest.raises(DocumentError, match="is a PDF, not HTML"):
        parse_document("a.html", b"%PDF-1.7")


def test_characters_that_show_nothing_are_dropped():
    markup = "<p>\ufeffbiblio&shy;teca&#8203; &lrm;«uno&rlm;» \u202ados\u202c n&shy;\u0303"
    assert read(markup) == "biblioteca «uno» dos ñ"
    assert read("do\u200d's 👩\u200d🚀 ❤\ufe0f نمی\u200cخواهم") == "do's 👩\u200d🚀 ❤\ufe0f نمی\u200cخواهم"


def test_what_follows_the_end_of_a_page_is_read():
    assert read("<html><body><p>uno</p></body></html>\n<p>dos</p>") == "uno\n\ndos"
    assert read("<html><body>uno</body></html><html><body>dos</body></html>") == "uno\n\ndos"


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("10<sup>6</sup> km, en 1987<sup><a href='#n'>12</a></sup>", "10⁶ km, en 1987¹²"),
        ("10<sup>-3</sup> m<sup>2</sup>", "10⁻³ m²"),
        ("1<sup>er</sup> piso, 2<sup>[3]</sup>, H<sub>2</sub>O", "1er piso, 2[3], H2O"),
        ("<math><msup><mn>10</mn><mn>6</mn></msup></math> metros", "10⁶ metros"),
    ],
)
def test_a_raised_number_is_no_part_of_the_one_before_it(markup, expected):
    assert read(f"<p>{markup}</p>") == expected
