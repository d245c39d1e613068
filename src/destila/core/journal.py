"""A file that is written over hours and goes on after a kill at any moment, without a line lost or repeated.

Mental model: the output grows by whole blocks. Beside it, as long as it is unfinished, lies NAME.progress: who writes
(the identity: input, model, options), how many bytes of the output are good, and where in the input they end. Going on
means to cut what lies after the good bytes, a torn line included, and to continue from there.

Invariants: bytes are on the disk before a record counts them, and a record appears whole or not at all, so a kill costs
at most the work of the last second; an output without a record is finished and is never touched unasked; one process
writes at a time. What the blocks hold, and what a place in the input is, only the caller knows.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from destila.core.errors import UserError
from destila.core.holds import lock
from destila.core.runs import flush, read_json, writing
from destila.core.strict_json import dumps

RECORD_SECONDS = 1.0  # between records; each waits for the disk three times


class Journal:
    """An output file and its record. Make one with `Journal.open`, and close it.

    Attributes:
        place: what the caller gave with the last block that counts; empty at the start.
    """

    def __init__(self, path: Path, file: BinaryIO, identity: Mapping[str, Any], place: Mapping[str, Any]) -> None:
        self.path, self.place = path, dict(place)
        self._file, self._identity, self._recorded = file, dict(identity), time.monotonic()

    @classmethod
    def open(cls, path: Path, identity: Mapping[str, Any], *, overwrite: bool = False) -> "Journal":
        """Begin the file, or go on with it if its record says that it is unfinished.

        Args:
            identity: plain JSON values that tell what is written from what; it must be the same to go on.
            overwrite: begin anew, whatever is there.

        Raises:
            UserError: the file is finished, was begun from something else, has lost what was recorded, or is being
                written by another process.
        """
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")  # noqa: SIM115 (the journal closes it)
        try:
            _lock(file, path)
            record = None if overwrite else _read_record(path, identity, size=os.fstat(file.fileno()).st_size)
            journal = cls(path, file, identity, record["place"] if record else {})
            journal._begin(record["bytes"] if record else 0)
        except BaseException:
            file.close()
            raise
        return journal

    def _begin(self, size: int) -> None:
        if size == 0:  # before the file is emptied: from here on it is unfinished
            self._write_record(0)
        with writing(self.path):
            self._file.truncate(size)
            self._file.seek(size)

    def append(self, block: bytes, place: Mapping[str, Any]) -> None:
        """Add a block; `place` is where to go on after it."""
        with writing(self.path):
            self._file.write(block)
        self.place = dict(place)
        if time.monotonic() - self._recorded >= RECORD_SECONDS:
            self.record()

    def record(self) -> None:
        """Make sure that everything so far survives a kill, and a power cut."""
        self._flush()
        self._write_record(self._file.tell())

    def finish(self) -> None:
        """The file is complete: its record goes."""
        self._flush()
        _record_file(self.path).unlink()
        _unfinished_record(self.path).unlink(missing_ok=True)  # a kill may have left it
        self.close()

    def close(self) -> None:
        """Let go of the file, which stays unfinished unless `finish` was called."""
        self._file.close()

    def _flush(self) -> None:
        with writing(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def _write_record(self, size: int) -> None:
        record = {"identity": self._identity, "bytes": size, "place": self.place}
        # Always under the same name, so that kills leave no crowd of temporary files: nobody else writes here.
        temporary = _unfinished_record(self.path)
        with writing(self.path):
            temporary.write_text(dumps(record, indent=2) + "\n", encoding="utf-8")
            flush(temporary)
            os.replace(temporary, _record_file(self.path))
            flush(self.path.parent)
        self._recorded = time.monotonic()


def _record_file(path: Path) -> Path:
    """Where the record of an unfinished file lies."""
    return path.with_name(f"{path.name}.progress")


def _unfinished_record(path: Path) -> Path:
    return path.with_name(f"{path.name}.progress.new")


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep other processes off."""
    if not lock(file):
        raise UserError(str(path), "is being written by another process", "Wait for it, or stop it.")


def _read_record(path: Path, identity: Mapping[str, Any], *, size: int) -> dict[str, Any] | None:
    """The record to go on from; None: the file is to be begun."""
    place = _record_file(path)
    if not place.exists():
        if size:
            raise UserError(str(path), "exists already and is finished", "Add --overwrite, or choose another --output.")
        return None
    record = read_json(place)
    if not isinstance(record, dict) or not {"identity", "bytes", "place"} <= set(record):
        raise UserError(str(place), "is no record of progress", "Add --overwrite to begin anew.")
    begun, now = record["identity"], json.loads(dumps(dict(identity)))
    if changed := [name for name in sorted({*begun, *now}) if begun.get(name) != now.get(name)]:
        problem = f"is unfinished and was begun with another {' and another '.join(changed)} (see {place.name})"
        remedy = "Go on with what it was begun with, add --overwrite to begin anew, or choose another --output."
        raise UserError(str(path), problem, remedy)
    if size < record["bytes"]:
        problem = f"has {size:,} bytes, and {record['bytes']:,} were written"
        raise UserError(str(path), problem, "Put the file back, or add --overwrite to begin anew.")
    return record
