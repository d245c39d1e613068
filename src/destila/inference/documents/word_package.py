"""The archive that a Word document is: parts in XML that name the parts which go with them.

Only what is asked for is opened, so that a document may name parts that it lacks, as many do. The Strict form of the
format has other names for the same elements; they are made the usual ones on the way in.
"""

import io
import posixpath
import zipfile
from typing import Any

USUAL = "http://schemas.openxmlformats.org/"
# The Strict form's beginning of a namespace -> the usual one (ISO/IEC 29500, parts 1 and 4).
STRICT = {
    b"http://purl.oclc.org/ooxml/wordprocessingml/main": f"{USUAL}wordprocessingml/2006/main".encode(),
    b"http://purl.oclc.org/ooxml/officeDocument/math": f"{USUAL}officeDocument/2006/math".encode(),
}
RELATIONSHIP = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"


class WordPackage:
    """A Word document as its parts.

    Raises:
        zipfile.BadZipFile: it is no archive.
    """

    def __init__(self, content: bytes) -> None:
        from lxml import etree

        self._archive = zipfile.ZipFile(io.BytesIO(content))
        self._names = frozenset(self._archive.namelist())
        self._parse, self._parser = etree.fromstring, etree.XMLParser(resolve_entities=False, no_network=True)

    @property
    def unpacked(self) -> int:
        """Bytes of all parts."""
        return sum(item.file_size for item in self._archive.infolist())

    def related(self, part: str) -> dict[str, list[str]]:
        """The parts that a part names and that are there, by kind (`styles`, `footnotes`); `""` names the main one."""
        folder, name = posixpath.split(part)
        found = dict[str, list[str]]()
        try:
            listed = self.tree(posixpath.join(folder, "_rels", f"{name}.rels"))
        except KeyError:
            return found
        for entry in listed.iterchildren(RELATIONSHIP):
            target = posixpath.normpath(posixpath.join("/", folder, entry.get("Target", ""))).lstrip("/")
            if entry.get("TargetMode") != "External" and target in self._names:
                found.setdefault(entry.get("Type", "").rpartition("/")[2], []).append(target)
        return found

    def tree(self, part: str) -> Any:
        """The root of a part.

        Raises:
            KeyError: there is no such part.
            ValueError: it declares entities, as no Word document does.
            lxml.etree.XMLSyntaxError: it is no XML.
        """
        content = self._archive.read(part)
        for strict, usual in STRICT.items():
            content = content.replace(strict, usual)
        root = self._parse(content, self._parser)
        if root.getroottree().docinfo.doctype:
            raise ValueError("it declares entities, as no Word document does")
        return root
