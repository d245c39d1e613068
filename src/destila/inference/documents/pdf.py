"""From the bytes of a PDF to its text, page by page.

Mental model: a PDF knows glyphs and lines, no words and paragraphs. PDFium finds the lines once the text is upright
(`pdf_objects`); here accents that are glyphs of their own meet their letters; `pdf_pages` puts words together that a
line or a page divides. What was filled into a page (the fields of a form, text typed over it) follows the page.
"""

import ctypes
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from destila.inference.documents.document import Unreadable
from destila.inference.documents.pdf_objects import holds_pictures, set_upright
from destila.inference.documents.pdf_pages import whole_pages
from destila.inference.documents.tidy import tidy

# In points: the words that a careless program set over the edge of the page are read, too.
EVERYWHERE = {"left": -1e6, "bottom": -1e6, "right": 1e6, "top": 1e6}
PASSWORD = 4  # PDFium's FPDF_ERR_PASSWORD
XFA_NOTE = "holds a dynamic XFA form, whose values were not read"
MOST_RUNS = 10  # of pages without text that a note names

# Glyphs of accents that some programs, TeX among them, set beside the letter that is to bear them.
ACCENTS = {"´": "\u0301", "˜": "\u0303", "¨": "\u0308", "ˆ": "\u0302", "`": "\u0300", "¸": "\u0327"}
BEARERS = {"´": "aeiouı", "˜": "nao", "¨": "ueiaoı", "ˆ": "aeiouı", "`": "aeiouı", "¸": "c"}
DOTLESS = "ı"
POSSESSIVE = re.compile(r"´s(?![^\W\d_])")  # of Levi´s; or the end of país, set as pai´s
ACCENT = re.compile(f"[{''.join(ACCENTS)}]")


def pdf_parser() -> Callable[[bytes, int], tuple[str, list[int], str]]:
    """Import what is needed to parse; what it gives takes the bytes of a file and the bytes of memory there are."""
    import pypdfium2

    def parse(content: bytes, memory: int) -> tuple[str, list[int], str]:
        try:
            document = pypdfium2.PdfDocument(content)
            notes = _open_form(document)
            pages, unread = _read(document)
        except pypdfium2.PdfiumError as error:
            if error.err_code == PASSWORD:
                raise Unreadable("encrypted", "is protected by a password") from None
            raise Unreadable("broken", f"is a damaged PDF ({str(error).rstrip('.')})") from None
        if not any(pages):
            return "", [], ""
        if unread:
            notes.append(_pictures_note(unread))
        starts = [0]
        for page in pages[:-1]:
            starts.append(starts[-1] + len(page) + 2)
        return "\n\n".join(pages), starts, "; ".join(notes)

    return parse


def _read(document: Any) -> tuple[list[str], list[int]]:
    """The text of each page, and the numbers of the pages that hold only pictures."""
    texts, filled, unread = list[str](), list[str](), list[int]()
    for number, page in enumerate(document, 1):
        set_upright(page)
        texts.append(tidy_accents(page.get_textpage().get_text_bounded(**EVERYWHERE)))
        filled.append("\n".join(dict.fromkeys(filter(None, map(tidy, _filled_in(page, document.formenv))))))
        if not (texts[-1].strip() or filled[-1]) and holds_pictures(page):
            unread.append(number)
    pages = zip(whole_pages(texts), filled, strict=True)
    return [f"{text}\n\n{values}".strip() for text, values in pages], unread


def _pictures_note(unread: list[int]) -> str:
    """Which pages were not read, in runs: 2-4, 7."""
    runs = list[list[int]]()
    for number in unread:
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    if len(unread) == 1:
        return f"page {unread[0]} holds only pictures and was not read: run the file through OCR (ocrmypdf --skip-text)"
    names = ", ".join("-".join(map(str, run)) for run in runs[:MOST_RUNS]) + ", ..." * (len(runs) > MOST_RUNS)
    return f"pages {names} hold only pictures and were not read: run the file through OCR (ocrmypdf --skip-text)"


# ---------------------------------------------------------------------------------------------------- accents
def tidy_accents(text: str) -> str:
    """The text with accents that stand beside their letters put onto them: `canci´on` and `Mu˜noz`.

    A page sets them before the letter, as TeX does, or after it; the marks that have a letter on one side only tell.
    One that is used as an apostrophe (`O´Donnell`, `Levi´s`) stays.
    """
    places = [found.start() for found in ACCENT.finditer(text) if not _is_apostrophe(text, found.start())]
    telling = [place for place in places if not POSSESSIVE.match(text, place)]
    votes = sum(_bears(text, place, +1) - _bears(text, place, -1) for place in telling)
    step, letters = 1 if votes >= 0 else -1, list(text)
    for place in places:
        if made := _composed(text, place, step):
            letters[place], letters[place + step] = "", made
    return "".join(letters)


def _is_apostrophe(text: str, place: int) -> bool:
    before, after, then = text[place - 1 : place], text[place + 1 : place + 2], text[place + 2 : place + 3]
    if text[place] == "`":
        return not (before.isalpha() and after.isalpha())  # it is a quotation mark
    return before.isalpha() and after.isupper() and (before.islower() or then.islower())


def _bears(text: str, place: int, step: int) -> bool:
    """Whether the letter beside an accent is the one that is to bear it, as far as the two tell."""
    left, right = text[place - 1 : place], text[place + 1 : place + 2]
    if DOTLESS in (left, right):  # made for nothing else
        return (right if step > 0 else left) == DOTLESS
    return _composed(text, place, step) != ""


def _composed(text: str, place: int, step: int) -> str:
    letter, accent = text[place + step : place + step + 1] if place + step >= 0 else "", text[place]
    if not letter or letter.lower() not in BEARERS[accent]:
        return ""
    return unicodedata.normalize("NFC", letter.replace(DOTLESS, "i") + ACCENTS[accent])


# ---------------------------------------------------------------------------------------------------- forms
def _open_form(document: Any) -> list[str]:
    """Make the values of a form readable; a note if they are not."""
    import pypdfium2.raw as pdfium

    notes = list[str]()
    if document.get_formtype() == pdfium.FORMTYPE_XFA_FULL:  # one that is laid out by a program in it
        notes.append(XFA_NOTE)
    else:
        document.init_forms()
    return notes


def _filled_in(page: Any, form: Any) -> Iterator[str]:
    """What was filled into a page: the values of its form, each after its name, and text typed over it."""
    import pypdfium2.raw as pdfium

    unseen = pdfium.FPDF_ANNOT_FLAG_INVISIBLE | pdfium.FPDF_ANNOT_FLAG_HIDDEN | pdfium.FPDF_ANNOT_FLAG_NOVIEW
    for number in range(pdfium.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium.FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        kind = pdfium.FPDFAnnot_GetSubtype(annotation)
        if pdfium.FPDFAnnot_GetFlags(annotation) & unseen:
            pass
        elif kind == pdfium.FPDF_ANNOT_FREETEXT:
            yield _wide(pdfium.FPDFAnnot_GetStringValue, annotation, b"Contents")
        elif kind == pdfium.FPDF_ANNOT_WIDGET and form is not None:
            yield _field(form, annotation)
        pdfium.FPDFPage_CloseAnnot(annotation)


def _field(form: Any, annotation: Any) -> str:
    """A field of a form as `name: value`; nothing if it is empty, or no box that is ticked."""
    import pypdfium2.raw as pdfium

    kind = pdfium.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in (pdfium.FPDF_FORMFIELD_CHECKBOX, pdfium.FPDF_FORMFIELD_RADIOBUTTON):
        ticked = pdfium.FPDFAnnot_IsChecked(form, annotation)
        value = _wide(pdfium.FPDFAnnot_GetFormFieldExportValue, form, annotation) if ticked else ""
    elif kind in (pdfium.FPDF_FORMFIELD_TEXTFIELD, pdfium.FPDF_FORMFIELD_COMBOBOX, pdfium.FPDF_FORMFIELD_LISTBOX):
        secret = pdfium.FPDFAnnot_GetFormFieldFlags(form, annotation) & pdfium.FPDF_FORMFLAG_TEXT_PASSWORD
        secret = secret and kind == pdfium.FPDF_FORMFIELD_TEXTFIELD
        value = "" if secret else _wide(pdfium.FPDFAnnot_GetFormFieldValue, form, annotation)
    else:
        return ""
    name = _wide(pdfium.FPDFAnnot_GetFormFieldAlternateName, form, annotation)
    name = name or _wide(pdfium.FPDFAnnot_GetFormFieldName, form, annotation)
    return f"{name.strip().rstrip(':')}: {value}" if value.strip() and name.strip() else value


def _wide(read: Callable[..., int], *arguments: Any) -> str:
    """A string that PDFium gives in UTF-16."""
    import pypdfium2.raw as pdfium

    length = read(*arguments, None, 0)
    buffer = ctypes.create_string_buffer(length + 2)
    read(*arguments, ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR)), length)
    return buffer.raw[:length].decode("utf-16-le", "replace").rstrip("\0")
