"""The texts of a folder's files, kept in a cache: a file is parsed once, and again only when its content changes.

Mental model: one SQLite file for each folder, a row for each file: its state, the digest of its content, and its text
or what is wrong with it. `Library.refresh` compares the rows with the folder. A file whose state (size, times, inode)
is the known one is not opened; one with another state and the known content is not parsed.

Invariants: every change is a transaction, so that a kill or a second process at any moment leaves whole rows; the state
of a row was taken before the file was read. A cache that is broken is made anew, for it holds nothing that the folder
does not. Only its owner can read it.
"""

import hashlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TypeVar

from destila.config import DocumentSettings
from destila.core.cpus import usable_cores
from destila.core.errors import UnwritableError, UserError
from destila.core.progress import Progress
from destila.core.runs import writing
from destila.core.strict_json import dumps
from destila.inference.documents.document import Document, DocumentError
from destila.inference.documents.files import FoundFile, OtherFile, files_of
from destila.inference.documents.open import parse_document, read_bytes

LOG = logging.getLogger(__name__)

VERSION = 3  # of the table and of the texts in it: raise it when parsing gives other texts
RECENT_SECONDS = 3.0  # a file that changed so lately may change again without a change of its times
WAIT_SECONDS = 30.0  # for another process that writes
TABLE = """
create table if not exists files (
    path blob primary key, state text not null, limits text not null, digest blob, text text, pages text, note text,
    refused text
)
"""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Row:
    """A file as the cache knows it."""

    path: bytes  # below the folder, which has many names itself; in bytes, for not every name of a file is text
    state: str  # what the system said of the file; empty where that may not tell its next change
    limits: str  # under which it was read
    digest: bytes | None = None  # of its content; None: there was none to be had
    text: str | None = None  # what it holds, and `pages` as JSON; None: it was refused
    pages: str | None = None
    note: str | None = None  # on how it was read
    refused: str | None = None  # code, problem and remedy as JSON


class Library:
    """The texts of one folder.

    Args:
        folder: where the files are.
        directory: where the cache of this folder is, or is to be.
        inside: the real paths of the folders that links must not leave; None: they may lead anywhere.

    Attributes:
        others: the files of kinds that are not read, by path, as the last `refresh` found them.

    Raises:
        UserError: the cache cannot be opened.
    """

    def __init__(self, folder: Path, directory: Path, inside: Sequence[Path] | None = None) -> None:
        self.folder, self.file, self.others = folder, directory / "texts.sqlite", list[str]()
        self._inside, self._digests = inside, dict[str, bytes]()
        self._root = os.fsencode(os.path.join(folder, ""))
        with writing(directory):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._connection: sqlite3.Connection | None = None

    def refresh(self, limits: DocumentSettings) -> tuple[dict[str, bytes], list[DocumentError]]:
        """Bring the cache up to date.

        Returns:
            The digest of each file that can be read, by path, in order; and what is wrong with each of the others.

        Raises:
            UserError: the folder cannot be listed, or the cache cannot be written.
        """
        found = list(files_of(self.folder, self._inside))
        files = {self._below(item.path): item for item in found if isinstance(item, FoundFile)}
        self.others = [item.path for item in found if isinstance(item, OtherFile)]
        rows = self._attempt(lambda connection: _refresh(connection, files, limits))
        refused = [item for item in found if isinstance(item, DocumentError)]
        self._digests = {}
        for row in rows:
            path = os.fsdecode(self._root + row.path)
            if row.refused is None:
                self._digests[path] = row.digest or b""
            else:
                code, problem, remedy = json.loads(row.refused)
                refused.append(DocumentError(path, problem, remedy, code=code))
        return dict(self._digests), refused

    def document(self, path: str) -> Document:
        """The text of a file, as it was when this library was last refreshed.

        Raises:
            UserError: another process has found the file changed, or gone, since then.
        """
        select = "select text, pages, note from files where path = ? and digest = ? and text not null"
        wanted = self._below(path), self._digests.get(path)
        row = self._attempt(lambda connection: connection.execute(select, wanted).fetchone())
        if row is None:
            raise UserError(path, "has changed since its folder was opened", "Open the folder again.")
        return Document(row[0], tuple(json.loads(row[1])), row[2])

    def notes(self) -> dict[str, str]:
        """What a person should know of how files were read, by path, in order."""
        select = "select path, note from files where note != '' order by path"
        rows = self._attempt(lambda connection: connection.execute(select).fetchall())
        return {os.fsdecode(self._root + path): note for path, note in rows}

    def _below(self, path: str) -> bytes:
        return os.fsencode(path).removeprefix(self._root)

    def close(self) -> None:
        """Let go of the cache."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _attempt(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Work with the cache; where it turns out to be broken, once more with an empty one."""
        for last in (False, True):
            try:
                with writing(self.file):
                    self._connection = self._connection or _connect(self.file)
                    return work(self._connection)
            except sqlite3.OperationalError as error:  # locked for long, or no right to write, or a full disk
                problem = f"cannot be used ({error})"
                if "locked" not in str(error):
                    raise UnwritableError(str(self.file), problem, "Choose another --folder.cache.") from error
                remedy = "Wait for the process that uses it, or choose another --folder.cache."
                raise UserError(str(self.file), problem, remedy) from error
            except sqlite3.DatabaseError as error:
                if last:
                    raise
                LOG.warning(f"{self.file}: the cache is broken ({error}); making it anew.")
                self.close()
                self.file.unlink(missing_ok=True)
        raise AssertionError("unreachable")


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=WAIT_SECONDS, isolation_level=None)
    try:
        connection.execute("begin immediate")  # two processes that begin at once must not both make the table
        (version,) = connection.execute("pragma user_version").fetchone()
        if version != VERSION:
            connection.execute("drop table if exists files")
            connection.execute(f"pragma user_version = {VERSION}")
        connection.execute(TABLE)
        connection.execute("commit")
    except BaseException:
        connection.close()
        raise
    return connection


# ------------------------------------------------------------------------------------------ one refresh
def _refresh(connection: sqlite3.Connection, files: dict[bytes, FoundFile], limits: DocumentSettings) -> list[_Row]:
    """The rows of the files, in order and without their texts."""
    columns = "path, state, limits, digest, null, null, null, refused"
    known = {row[0]: _Row(*row) for row in connection.execute(f"select {columns} from files")}
    changed = {path: file for path, file in files.items() if not _unchanged(known.get(path), file, limits)}
    known |= _read_again(connection, changed, known, limits)
    gone = [(path,) for path in known if path not in files]
    connection.executemany("delete from files where path = ?", gone)
    return [known[path] for path in sorted(files)]


def _read_again(
    connection: sqlite3.Connection, files: dict[bytes, FoundFile], known: dict[bytes, _Row], limits: DocumentSettings
) -> dict[bytes, _Row]:
    """Read what may have changed, several files at once, and keep each as soon as it is read."""
    progress = Progress(len(files), what="Reading documents", unit="files")
    pool = ThreadPoolExecutor(usable_cores(), thread_name_prefix="destila-documents")
    rows = dict[bytes, _Row]()
    try:
        for row in pool.map(lambda path: _read(path, files[path], known.get(path), limits), files):
            _keep(connection, row)
            rows[row.path] = _Row(row.path, row.state, row.limits, row.digest, refused=row.refused)  # without the text
            progress.advance()
    finally:
        pool.shutdown(cancel_futures=True)
        progress.close()
    return rows


def _read(path: bytes, file: FoundFile, known: _Row | None, limits: DocumentSettings) -> _Row:
    """What a file holds now; with neither a text nor a refusal: what it held before."""
    state, under, digest = state_of(file.state), _limits(limits), None
    try:
        content = read_bytes(Path(file.path), limits.file_bytes)
        digest = hashlib.sha256(content).digest()
        if known is not None and known.refused is None and known.digest == digest:
            return _Row(path, state, under, digest)
        document = parse_document(file.path, content, limits)
    except DocumentError as error:
        return _Row(path, state, under, digest, refused=dumps([error.code, error.problem, error.remedy], ascii=True))
    return _Row(path, state, under, digest, document.text, dumps(document.pages), document.note)


def _keep(connection: sqlite3.Connection, row: _Row) -> None:
    if row.text is None and row.refused is None:
        connection.execute("update files set state = ? where path = ?", (row.state, row.path))
    else:
        connection.execute("insert or replace into files values (?, ?, ?, ?, ?, ?, ?, ?)", astuple(row))


def _unchanged(row: _Row | None, file: FoundFile, limits: DocumentSettings) -> bool:
    """Whether the cache holds what is in a file, as far as its state tells."""
    if row is None or not row.state or row.state != state_of(file.state):
        return False
    return row.refused is None or row.limits == _limits(limits)  # what was refused may pass under other limits


def state_of(state: os.stat_result) -> str:
    """What changes when a file does; empty if it changed just now."""
    recent = time.time() - max(state.st_mtime, state.st_ctime) < RECENT_SECONDS
    return "" if recent else dumps([state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino])


def _limits(limits: DocumentSettings) -> str:
    return dumps(astuple(limits))
