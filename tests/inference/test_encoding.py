"""One rule for the encoding of plain text and HTML: a mark, a declaration, UTF-8, Windows-1252; nothing else counts."""

import time

import pytest

from destila.inference.documents.document import Unreadable
from destila.inference.documents.encoding import LEGACY_NOTE, decode_html, decode_text

TEXT = "Año: María «pingüino» €"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_plain_text_in_unicode_has_no_mark_and_no_note(encoding):
    mark = "" if encoding in ("utf-8", "utf-8-sig", "utf-16") else "\ufeff"
    assert decode_text((mark + TEXT).encode(encoding)) == (TEXT, "")


def test_other_plain_text_is_windows_1252_and_says_so():
    assert decode_text(TEXT.encode("cp1252")) == (TEXT, LEGACY_NOTE)
    assert decode_text("línea\r\n\tdos\x1a".encode("cp1252"))[0] == "línea\r\n\tdos\x1a"
    assert decode_text(b"") == ("", "")


@pytest.mark.parametrize(
    "content",
    [
        f"<!-- <meta charset='iso-8859-1'> --><meta charset='utf-8'><p>{TEXT}",
        f"<!-- <meta charset='iso-8859-1'> --><p>{TEXT}",
        f"<!--> <meta charset=utf-8> --><p>{TEXT}",
        f"<title><meta charset=latin1></title><meta charset=utf-8>{TEXT}",
        f"<script>'<meta charset=latin1>'</script>{TEXT}",
        f"<style>/* <meta charset=latin1> */</style>{TEXT}",
        f"<textarea><meta charset=latin1></textarea>{TEXT}",
        f'<p title="<meta charset=latin1>">{TEXT}',
        f"<p title='<meta charset=latin1>'>{TEXT}",
        f'<meta name="description" content="charset=latin1">{TEXT}',
        f'<meta name="x" data-charset="latin1">{TEXT}',
        f'<meta http-equiv="refresh" content="text/html; charset=latin1">{TEXT}',
        f"&lt;meta charset=latin1&gt;{TEXT}",
        f"<metadata charset=latin1>{TEXT}",
        f"<!doctype html><?php charset=latin1?>{TEXT}",
        f'<meta charset=""><meta charset="utf-8">{TEXT}',
        f'<meta charset="utf-16">{TEXT}',  # as a browser has it: it could be read
        f"<body>{'<p>texto</p>' * 200}<meta charset=latin1>{TEXT}",
    ],
)
def test_what_is_no_declaration_declares_nothing(content):
    assert decode_html(content.encode()) == (content, "")


@pytest.mark.parametrize(
    ("declaration", "encoding"),
    [
        ('<meta charset="ISO-8859-1">', "cp1252"),  # as browsers read it
        ("<META CHARSET = 'Windows-1252' >", "cp1252"),
        ("<meta charset=latin1/>", "cp1252"),
        ('<meta name=x charset="us-ascii">', "cp1252"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">', "cp1252"),
        ("<meta content='text/html;charset=iso-8859-1' http-equiv=content-type>", "cp1252"),
        ('<meta charset="iso-8859-15">', "iso-8859-15"),
        ('<meta charset="macintosh">', "mac-roman"),
        ('<?xml version="1.0" encoding="ISO-8859-1"?><html>', "cp1252"),
        ("<!-- antes --><!doctype html><html><head><title>a</title><meta charset=cp1252>", "cp1252"),
        (f"<head>{'<link rel=a>' * 200}<meta charset=cp1252></head>", "cp1252"),
        ("<meta charset=utf-8><meta charset=latin1>", "utf-8"),
        ("<meta charset=latin1><meta charset=utf-8>", "cp1252"),
    ],
)
def test_html_is_read_as_it_declares(declaration, encoding):
    content = declaration + "<p>Año: «María»</p>"
    assert decode_html(content.encode(encoding)) == (content, "")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("declared", ["utf-8", "iso-8859-1", "koi8-r", "utf-16"])
def test_a_mark_outweighs_a_declaration(encoding, declared):
    content = f"<?xml version='1.0' encoding='{declared}'?><meta charset={declared}>{TEXT}"
    assert decode_html(f"\ufeff{content}".encode(encoding)) == (content, "")


def test_xml_in_utf_16_needs_no_mark():
    content = f"<?xml version='1.0' encoding='utf-16'?><p>{TEXT}"
    assert [decode_html(content.encode(f"utf-16-{order}"))[0] for order in ("le", "be")] == [content] * 2


def test_html_that_declares_nothing_is_utf_8_or_windows_1252():
    assert decode_html(f"<p>{TEXT}".encode()) == (f"<p>{TEXT}", "")
    assert decode_html(f"<p>{TEXT}".encode("cp1252")) == (f"<p>{TEXT}", LEGACY_NOTE)


@pytest.mark.parametrize("label", ["koi8-r", "shift_jis", "zlib", "x" * 300])
def test_an_encoding_that_is_not_read_is_named(label):
    with pytest.raises(Unreadable, match=f"in the encoding {label[:40]}$") as caught:
        decode_html(f"<meta charset={label}>a".encode())
    assert caught.value.code == "encoding"


@pytest.mark.parametrize(
    "piece", ["<", "<!--", "<!", "<a '", '<a b="', "</a", "<script>", "<title", "<meta ", "<meta a=", "<meta charset"]
)
def test_a_search_for_declarations_ends_soon(piece):
    began = time.process_time()
    decode_html(piece.encode() * (3_000_000 // len(piece)))
    assert time.process_time() - began < 3
