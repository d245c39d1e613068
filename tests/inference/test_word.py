"""A Word document reads as it looks: boxes beside sentences, not in them; signs, tabs and what is hidden."""

import io
import zipfile

import pytest

pytest.importorskip("docx", reason="the extra documents is not installed")

from destila.inference.documents.document import Unreadable
from destila.inference.documents.open import parse_document
from destila.inference.documents.word import word_parser
from papers import replaced, without, word_xml

MC = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
VML = 'xmlns:v="urn:schemas-microsoft-com:vml"'


def parsed(content):
    return word_parser()(content, 300_000_000)[0]


def read(body):
    return parsed(word_xml(body))


def run(text, properties=""):
    return f"<w:r><w:rPr>{properties}</w:rPr><w:t xml:space='preserve'>{text}</w:t></w:r>"


def paragraph(*runs):
    return f"<w:p>{''.join(map(run, runs))}</w:p>"


def box(*paragraphs):
    """A text box as Word writes it: once for new programs and once for old ones."""
    content = f"<w:txbxContent>{''.join(paragraphs)}</w:txbxContent>"
    old = f"<w:pict {VML}><v:textbox>{content}</v:textbox></w:pict>"
    return (
        f"<w:r><mc:AlternateContent {MC}><mc:Choice Requires='wps'><w:drawing>{content}</w:drawing></mc:Choice>"
        f"<mc:Fallback>{old}</mc:Fallback></mc:AlternateContent></w:r>"
    )


AROUND = (run("La sede de"), run("l banco está en Lima."))


def test_a_text_box_is_a_block_of_its_own_after_its_paragraph():
    note = box(paragraph("Aviso importante"), paragraph("Cerrado."))
    body = f"<w:p>{AROUND[0]}{note}{AROUND[1]}</w:p>{paragraph('Otro párrafo.')}"
    assert read(body) == "La sede del banco está en Lima.\n\nAviso importante\n\nCerrado.\n\nOtro párrafo."


def test_a_text_box_of_an_old_program_is_read_once_too():
    content = f"<w:txbxContent>{paragraph('Aviso')}</w:txbxContent>"
    old = f"<w:r><w:pict {VML}><v:textbox>{content}</v:textbox></w:pict></w:r>"
    assert read(f"<w:p>{AROUND[0]}{old}{AROUND[1]}</w:p>") == "La sede del banco está en Lima.\n\nAviso"
    fallback = f"<w:r><mc:AlternateContent {MC}><mc:Fallback>{old}</mc:Fallback></mc:AlternateContent></w:r>"
    assert read(f"<w:p>{AROUND[0]}{fallback}{AROUND[1]}</w:p>") == "La sede del banco está en Lima.\n\nAviso"


def test_boxes_in_boxes_and_in_tables_stay_apart():
    inner = box(paragraph("dentro"))
    outer = box(f"<w:p>{run('fue')}{inner}{run('ra')}</w:p>")
    assert read(f"<w:p>{AROUND[0]}{outer}{AROUND[1]}</w:p>") == "La sede del banco está en Lima.\n\nfuera\n\ndentro"
    cell = f"<w:tc><w:p>{run('Pre')}{box(paragraph('Aviso'), paragraph('dos'))}{run('cio')}</w:p></w:tc>"
    table = f"<w:tbl><w:tr>{cell}<w:tc>{paragraph('12 €')}</w:tc></w:tr></w:tbl>"
    assert read(table).replace("\n", " ").split() == ["Precio", "Aviso", "dos", "12", "€"]
    table = box(f"<w:tbl><w:tr><w:tc>{paragraph('a')}</w:tc><w:tc>{paragraph('b')}</w:tc></w:tr></w:tbl>")
    assert read(f"<w:p>{AROUND[0]}{table}{AROUND[1]}</w:p>") == "La sede del banco está en Lima.\n\na\tb"


@pytest.mark.parametrize(
    ("sign", "expected"),
    [
        ("<w:tab/>", "uno\tdos"),
        ("<w:ptab w:relativeTo='margin' w:alignment='right' w:leader='dot'/>", "uno\tdos"),
        ("<w:br/>", "uno\ndos"),
        ("<w:br w:type='page'/>", "uno\ndos"),
        ("<w:cr/>", "uno\ndos"),
        ("<w:noBreakHyphen/>", "uno-dos"),
        ("<w:softHyphen/>", "unodos"),
        ("<w:t>\u00ad\u200b</w:t>", "unodos"),
        ("<w:sym w:font='Symbol' w:char='F061'/>", "unoαdos"),
        ("<w:sym w:font='Symbol' w:char='F0B3'/>", "uno≥dos"),
        ("<w:sym w:font='Symbol' w:char='00B1'/>", "uno±dos"),
        ("<w:sym w:font='Wingdings' w:char='F0FC'/>", "uno✓dos"),
        ("<w:sym w:font='Wingdings' w:char='F04F'/>", "unodos"),  # an ornament
        ("<w:sym w:font='Webdings' w:char='F061'/>", "unodos"),
        ("<w:sym w:font='Arial' w:char='00BD'/>", "uno½dos"),
        ("<w:sym w:font='Arial'/>", "unodos"),
        ("<w:sym w:font='Arial' w:char='D800'/>", "unodos"),
    ],
)
def test_signs_between_letters(sign, expected):
    assert read(f"<w:p>{run('uno')}<w:r>{sign}</w:r>{run('dos')}</w:p>") == expected


def test_tab_stops_are_no_tabs():
    assert read(f"<w:p><w:pPr><w:tabs><w:tab w:val='left' w:pos='9'/></w:tabs></w:pPr>{run('uno')}</w:p>") == "uno"


STYLES = (
    "<w:style w:type='character' w:styleId='Oculto'><w:rPr><w:vanish/></w:rPr></w:style>"
    "<w:style w:type='character' w:styleId='Nieto'><w:basedOn w:val='Oculto'/></w:style>"
    "<w:style w:type='character' w:styleId='Visto'><w:basedOn w:val='Oculto'/>"
    "<w:rPr><w:vanish w:val='0'/></w:rPr></w:style>"
    "<w:style w:type='paragraph' w:styleId='Parte'><w:rPr><w:vanish/></w:rPr></w:style>"
    "<w:style w:type='character' w:styleId='Bucle'><w:basedOn w:val='Bucle'/></w:style>"
)


def with_styles(body):
    content = word_xml(body)
    namespace = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    return replaced(content, {"word/styles.xml": f"<w:styles {namespace}>{STYLES}</w:styles>".encode()})


@pytest.mark.parametrize(
    ("properties", "is_read"),
    [
        ("<w:vanish/>", False),
        ("<w:vanish w:val='true'/>", False),
        ("<w:vanish w:val='0'/>", True),
        ("<w:vanish w:val='false'/>", True),
        ("<w:webHidden/>", True),
        ("<w:rStyle w:val='Oculto'/>", False),
        ("<w:rStyle w:val='Nieto'/>", False),
        ("<w:rStyle w:val='Visto'/>", True),
        ("<w:rStyle w:val='Oculto'/><w:vanish w:val='0'/>", True),
        ("<w:rStyle w:val='Bucle'/>", True),
        ("<w:rStyle w:val='Ninguno'/>", True),
    ],
)
def test_hidden_text_is_not_read(properties, is_read):
    content = with_styles(f"<w:p>{run('uno ')}{run('oculto ', properties)}{run('dos')}</w:p>")
    assert parsed(content) == ("uno oculto dos" if is_read else "uno dos")


def test_a_style_may_hide_a_paragraph():
    runs = run("oculto") + run("visto", "<w:vanish w:val='0'/>")
    hidden = f"<w:p><w:pPr><w:pStyle w:val='Parte'/></w:pPr>{runs}</w:p>"
    assert parsed(with_styles(paragraph("uno") + hidden)) == "uno\n\nvisto"


def test_documents_without_styles_are_read_in_the_process_that_opens_no_file():
    """python-docx would open a file of its own there."""
    content = without(word_xml(paragraph("uno")), "word/styles.xml")
    assert parse_document("a.docx", content).text == "uno"


KIND = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
DANGLING = [
    f'<Relationship Id="x1" Type="{KIND}/image" Target="NULL"/>',
    f'<Relationship Id="x2" Type="{KIND}/footnotes" Target="footnotes.xml"/>',
    f'<Relationship Id="x3" Type="{KIND}/hyperlink" Target="#_top"/>',
]


@pytest.mark.parametrize("relationship", DANGLING)
def test_a_document_may_name_parts_that_it_lacks(relationship):
    content = word_xml(paragraph("uno"))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        listed = archive.read("word/_rels/document.xml.rels").decode()
    listed = listed.replace("</Relationships>", f"{relationship}</Relationships>")
    assert parsed(replaced(content, {"word/_rels/document.xml.rels": listed.encode()})) == "uno"
    assert parsed(without(content, "docProps/thumbnail.jpeg", named=True)) == "uno"


def test_the_strict_form_of_the_format_is_read():
    names = {
        b"http://schemas.openxmlformats.org/officeDocument/2006/": b"http://purl.oclc.org/ooxml/officeDocument/",
        b"http://schemas.openxmlformats.org/wordprocessingml/2006/main": b"http://purl.oclc.org/ooxml/wordprocessingml/main",
    }
    hidden = run("oculto ", "<w:rStyle w:val='Oculto'/>")
    usual = with_styles(f"<w:p>{run('uno ')}{hidden}{run('dos')}</w:p>")
    parts = dict[str, bytes]()
    with zipfile.ZipFile(io.BytesIO(usual)) as archive:
        for part in archive.namelist():
            content = archive.read(part)
            for old, new in names.items():
                content = content.replace(old, new)
            parts[part] = content
    assert b"purl.oclc.org" in parts["word/document.xml"]
    assert parsed(replaced(usual, parts)) == "uno dos"


def test_another_program_s_document_is_refused():
    with pytest.raises(Unreadable, match="it has no body"):
        parsed(replaced(word_xml(""), {"word/document.xml": b"<workbook/>"}))


def test_words_in_pieces_tables_in_tables_and_changes():
    inner = f"<w:tbl><w:tr><w:tc>{paragraph('Piso')}</w:tc><w:tc>{paragraph('Tercero')}</w:tc></w:tr></w:tbl>"
    outer = f"<w:tbl><w:tr><w:tc>{paragraph('Sede')}</w:tc><w:tc>{paragraph('Lima')}{inner}<w:p/></w:tc></w:tr></w:tbl>"
    changed = f"<w:p>{run('En ')}<w:del>{run('diez')}</w:del><w:ins>{run('veinte')}</w:ins>{run(' días.')}</w:p>"
    held = f"<w:sdt><w:sdtContent>{paragraph('Dentro de un control.')}</w:sdtContent></w:sdt>"
    text = read(paragraph("Proy", "ectoX2024") + outer + changed + held)
    assert text.startswith("ProyectoX2024\n\nSede\tLima")
    assert text.endswith("En veinte días.\n\nDentro de un control.")
    assert "Piso\tTercero" in text


def test_a_raised_number_is_no_part_of_the_one_before_it():
    raised = "<w:vertAlign w:val='superscript'/>"
    body = f"<w:p>{run('en 1987')}{run('2', raised)}{run(' el 1')}{run('er', raised)}{run(' piso')}</w:p>"
    assert read(body) == "en 1987² el 1er piso"


def test_paragraphs_are_one_where_the_mark_between_them_was_deleted():
    deleted = "<w:pPr><w:rPr><w:del w:id='1' w:author='a'/></w:rPr></w:pPr>"
    body = f"<w:p>{deleted}{run('La dirige Car')}</w:p>{paragraph('men Ledesma.')}{paragraph('Otro.')}"
    assert read(body) == "La dirige Carmen Ledesma.\n\nOtro."
