"""What is drawn on a page of a PDF: text that stands sideways is set upright, and pictures are told from nothing.

PDFium finds the lines of upright text only: it glues those of any other, or gives them from the last to the first.
"""

import ctypes
import math
from collections.abc import Iterator
from typing import Any

# What turns a text upright that runs up, upside down, or down; in PDF's order a, b, c, d.
TURNS = {1: (0, -1, 1, 0), 2: (-1, 0, 0, -1), 3: (0, 1, -1, 0)}
APART = 20_000  # points, more than a page has (14,400): what was turned differently shares no line
DEEPEST = 15  # forms within forms


def set_upright(page: Any) -> None:
    """Turn each text of a page so that it runs from left to right, whatever way the page itself is turned."""
    import pypdfium2.raw as pdfium

    page.set_rotation(0)  # it turns the page around the text
    for item in _objects(page):
        # A form is turned as a whole, by the way that most of its texts run.
        ways = [_quarters(x, y) for x, y in _directions(item)]
        if any(ways) and (way := max(set(ways), key=ways.count)):
            pdfium.FPDFPageObj_Transform(item, *TURNS[way], 0, -APART * way)


def holds_pictures(page: Any) -> bool:
    """Whether anything but text is drawn on a page: pictures, or letters as outlines."""
    return any(map(_is_drawn, _objects(page)))


def _objects(page: Any) -> Iterator[Any]:
    import pypdfium2.raw as pdfium

    for number in range(pdfium.FPDFPage_CountObjects(page)):
        yield pdfium.FPDFPage_GetObject(page, number)


def _parts(form: Any) -> Iterator[Any]:
    import pypdfium2.raw as pdfium

    for number in range(pdfium.FPDFFormObj_CountObjects(form)):
        yield pdfium.FPDFFormObj_GetObject(form, number)


def _is_drawn(item: Any, depth: int = 0) -> bool:
    import pypdfium2.raw as pdfium

    kind = pdfium.FPDFPageObj_GetType(item)
    if kind == pdfium.FPDF_PAGEOBJ_FORM:
        return depth < DEEPEST and any(_is_drawn(part, depth + 1) for part in _parts(item))
    return bool(kind != pdfium.FPDF_PAGEOBJ_TEXT)


def _directions(item: Any, depth: int = 0) -> Iterator[tuple[float, float]]:
    """Which way the text of an object runs, as x and y: one for each text in it."""
    import pypdfium2.raw as pdfium

    kind = pdfium.FPDFPageObj_GetType(item)
    if kind not in (pdfium.FPDF_PAGEOBJ_TEXT, pdfium.FPDF_PAGEOBJ_FORM):
        return
    matrix = pdfium.FS_MATRIX()
    if not pdfium.FPDFPageObj_GetMatrix(item, ctypes.byref(matrix)):
        return
    if kind == pdfium.FPDF_PAGEOBJ_TEXT:
        yield matrix.a, matrix.b
    elif depth < DEEPEST:
        for part in _parts(item):
            for x, y in _directions(part, depth + 1):
                yield x * matrix.a + y * matrix.c, x * matrix.b + y * matrix.d


def _quarters(x: float, y: float) -> int:
    """How many quarters of a turn, against the clock, a direction is from left to right."""
    return round(math.atan2(y, x) / (math.pi / 2)) % 4
