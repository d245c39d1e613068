"""Download one file over HTTP: resumed after a cut, checked, and renamed into place only when it is whole.

The bytes gather in `<path>.part`. Beside it, `<path>.part.version` holds what the server said of the version it sent (a
strong ETag, else Last-Modified), and a resuming request asks for the rest of that very version (If-Range). If nothing
says that the two halves would be of one version, neither the server nor a known digest, the download starts over.
Invariant: `path` appears whole, with the right digest, or not at all. From an https address this never goes on to http.
"""

import contextlib
import hashlib
import http.client
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any

from destila.core.errors import UserError
from destila.core.progress import Progress
from destila.core.runs import destila_version, writing

CHUNK = 1 << 18
ATTEMPTS = 4  # of one call; each goes on where the last was cut


class _Cut(Exception):
    """The connection ended before the file did."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A download that is not whole yet."""

    path: Path

    @property
    def version(self) -> Path:
        return self.path.with_name(f"{self.path.name}.version")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)


def download(address: str, path: Path, *, sha256: str | None, by_hand: Path, what: str, timeout: float) -> None:
    """Download a file.

    Args:
        address: http or https.
        path: the file to make.
        sha256: its digest, if known.
        by_hand: where the user may put the file without us.
        what: its name in messages.
        timeout: seconds to wait for the server.

    Raises:
        UserError: it cannot be had, or its digest is wrong; nothing but a resumable part is left behind.
    """
    part = _Part(path.with_name(f"{path.name}.part"))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _transfer_all(address, part, sha256=sha256, by_hand=by_hand, what=what, timeout=timeout)
        found = digest(part.path) if sha256 else None
        if found != sha256:
            part.remove()
            problem = f"what the server sent has SHA-256 {found} where {sha256} was expected"
            raise UserError(address, problem, f"Try again later, or put the right file at {by_hand}.")
        part.path.replace(path)
        part.remove()


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _transfer_all(address: str, part: _Part, *, sha256: str | None, by_hand: Path, what: str, timeout: float) -> None:
    remedy = f"Try again later, or download the file elsewhere and put it at {by_hand}."
    reason = ""
    for _ in range(ATTEMPTS):
        before = part.size()
        try:
            _transfer(_request(address, part, sha256), part, what=what, timeout=timeout)
            return
        except urllib.error.HTTPError as error:
            if error.code != 416 or not before:
                raise UserError(address, f"the server answers {error.code} {error.reason}", remedy) from None
            part.remove()  # the server has no such range: the part is stale or overlong
        except _Cut as error:
            reason = f"the transfer of {what} was cut ({error})"
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
            reason = f"cannot be reached ({getattr(error, 'reason', error) or type(error).__name__})"
            if part.size() <= before:
                break
    kept = " What came so far is kept and will be resumed." if part.size() else ""
    raise UserError(address, reason, remedy + kept)


def _request(address: str, part: _Part, sha256: str | None) -> urllib.request.Request:
    headers = {"User-Agent": f"destila/{destila_version()}"}
    version = part.version.read_text(encoding="utf-8") if part.version.exists() else ""
    if part.size() and (version or sha256):
        headers["Range"] = f"bytes={part.size()}-"
        if version:
            headers["If-Range"] = version
    return urllib.request.Request(address, headers=headers)


def _transfer(request: urllib.request.Request, part: _Part, *, what: str, timeout: float) -> None:
    opener = urllib.request.build_opener(_NoDowngrade)
    with contextlib.closing(opener.open(request, timeout=timeout)) as response:
        start, total = _extent(response.status, response.headers)
        if start != (part.size() if start else 0):
            part.remove()
            raise _Cut(f"the server sent bytes from {start:,} on, which nobody asked for")
        if not start:
            part.remove()
            part.version.write_text(_version(response.headers), encoding="utf-8")
        with open(part.path, "ab") as file:
            _copy(response, file, Progress(total, what=f"fetching {what}", unit="B", initial=start))
    if total is not None and part.size() != total:
        raise _Cut(f"{part.size():,} of {total:,} bytes came")


def _copy(response: Any, file: IO[bytes], progress: Progress) -> None:
    try:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            progress.advance(len(chunk))
    finally:
        progress.close()


def _extent(status: int, headers: Message) -> tuple[int, int | None]:
    """First byte of what is sent, and size of the whole file if the server says it."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    if status == 206 and found:
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = headers.get("Content-Length")
    return 0, int(length) if length else None


def _version(headers: Message) -> str:
    """What If-Range may hold: a strong ETag, else Last-Modified, else nothing."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but never from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.URLError(f"it redirects from https to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
