"""Names and downloads, against a real server on the loopback address."""

import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from destila.core.errors import UnwritableError, UserError
from destila.data import sources
from destila.data.sources import SOURCES, Source, fetch, load_examples, resolve

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Server:
    """What the server does, and what it was asked."""

    body: bytes = BODY
    tag: str = '"one"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # the next answers break off after so many bytes
    status: int = 200
    redirect: str = ""
    requests: list[dict[str, str]] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    behavior = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            behavior.requests.append(dict(self.headers))
            self.close_connection = True
            if behavior.status != 200 or behavior.redirect:
                self.send_response(302 if behavior.redirect else behavior.status)
                self.send_header("Location", behavior.redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.answer()

        def answer(self) -> None:
            body, asked = behavior.body, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(asked[1]) if asked and behavior.ranges else 0
            if self.headers.get("If-Range", behavior.tag) != behavior.tag:
                start = 0
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            if behavior.tag:
                self.send_header("ETag", behavior.tag)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start : start + behavior.cuts.pop(0) if behavior.cuts else None])

        def log_message(self, format: str, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    behavior.address = f"http://127.0.0.1:{listening.server_port}/data.json"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield behavior
    listening.shutdown()
    thread.join()
    listening.server_close()


def source(server: Server, sha256: str | None = SHA256) -> Source:
    return Source("demo", "train", server.address, "CC0", sha256)


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*") if path.is_file()}


def refused(made: Source, cache: Path) -> str:
    with pytest.raises(UserError) as caught:
        fetch(made, cache=cache, timeout=5)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------- downloads
def test_fetch_once_and_then_from_the_cache(server: Server, tmp_path: Path) -> None:
    path = fetch(source(server), cache=tmp_path)
    assert path == tmp_path / "demo" / "train.json"
    assert path.read_bytes() == BODY
    assert files(tmp_path) == {"train.json"}
    assert fetch(source(server), cache=tmp_path) == path
    assert len(server.requests) == 1


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_cut_transfer_goes_on_where_it_ended(server: Server, tmp_path: Path, sha256: str | None) -> None:
    server.cuts = [300_000, 400_000]
    assert fetch(source(server, sha256), cache=tmp_path).read_bytes() == BODY
    assert [request.get("Range") for request in server.requests] == [None, "bytes=300000-", "bytes=700000-"]
    assert server.requests[1]["If-Range"] == '"one"'


def test_what_came_is_kept_for_the_next_call(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 0, 0, 0]
    shown = refused(source(server), tmp_path)
    assert "was cut (100,000 of 1,048,576 bytes came)" in shown
    assert "will be resumed" in shown
    assert "train.json" not in files(tmp_path)
    assert fetch(source(server), cache=tmp_path).read_bytes() == BODY
    assert server.requests[-1]["Range"] == "bytes=100000-"
    assert files(tmp_path) == {"train.json"}


def test_a_server_that_ignores_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.cuts, server.ranges = [300_000], False
    assert fetch(source(server), cache=tmp_path).read_bytes() == BODY
    assert server.requests[1]["Range"] == "bytes=300000-"


def test_two_versions_are_never_joined(server: Server, tmp_path: Path) -> None:
    server.cuts = [300_000, 0, 0, 0]
    refused(source(server, None), tmp_path)
    server.body, server.tag = BODY[::-1], '"two"'
    assert fetch(source(server, None), cache=tmp_path).read_bytes() == BODY[::-1]


def test_without_version_or_digest_it_starts_over(server: Server, tmp_path: Path) -> None:
    server.cuts, server.tag = [300_000], ""
    assert fetch(source(server, None), cache=tmp_path).read_bytes() == BODY
    assert "Range" not in server.requests[1]


def test_a_part_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "train.json.part").write_bytes(BODY + b"more")
    assert fetch(source(server), cache=tmp_path).read_bytes() == BODY


def test_wrong_digest_leaves_nothing(server: Server, tmp_path: Path) -> None:
    shown = refused(source(server, "0" * 64), tmp_path)
    assert f"has SHA-256 {SHA256} where {'0' * 64} was expected" in shown
    assert files(tmp_path) == set()


@pytest.mark.parametrize(("status", "reason"), [(404, "404 Not Found"), (503, "503 Service Unavailable")])
def test_refusals_of_the_server(server: Server, tmp_path: Path, status: int, reason: str) -> None:
    server.status = status
    shown = refused(source(server), tmp_path)
    assert shown.startswith(f"{server.address}: the server answers {reason}. ")
    assert files(tmp_path) == set()


def test_offline_says_the_address_and_the_place(tmp_path: Path) -> None:
    nobody = Source("demo", "dev", "http://127.0.0.1:9/dev.json", "CC0")
    shown = refused(nobody, tmp_path)
    assert "http://127.0.0.1:9/dev.json: cannot be reached" in shown
    assert f"put it at {tmp_path / 'demo' / 'dev.json'}" in shown


def test_a_redirection_is_followed_but_not_to_plain_http(server: Server) -> None:
    import urllib.error
    import urllib.request

    from destila.data.download import _NoDowngrade

    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(urllib.error.URLError, match="redirects from https to"):
        _NoDowngrade().redirect_request(request, None, 302, "Found", {}, server.address)
    onward = _NoDowngrade().redirect_request(request, None, 302, "Found", {}, "https://example.org/b")
    assert onward.full_url == "https://example.org/b"


# ---------------------------------------------------------------------------------------------------- the cache
def test_a_file_put_by_hand_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "train.json").write_bytes(BODY)
    assert fetch(source(server), cache=tmp_path).read_bytes() == BODY
    assert server.requests == []


def test_a_cache_that_cannot_be_written_costs_a_line(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("I am no directory")
    monkeypatch.setenv("DESTILA_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        assert fetch(source(server)).read_bytes() == BODY
    assert len(server.requests) == 1
    assert len(caplog.records) == 1
    assert "a temporary directory takes its place" in caplog.text
    with pytest.raises(UserError, match="cannot be written"):  # to be kept there is all that was asked for
        fetch(source(server), cache=tmp_path / "file" / "cache")


def test_a_file_put_by_hand_needs_no_record(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "demo" / "train.json.sha256").parent.mkdir()
    (tmp_path / "demo" / "train.json").write_bytes(BODY)

    def refuse(path: Path, text: str) -> None:
        raise UnwritableError(str(path), "cannot be written: permission denied or read-only")

    monkeypatch.setattr(sources, "write_text", refuse)
    monkeypatch.setenv("DESTILA_CACHE", str(tmp_path))
    assert fetch(source(server, None)) == tmp_path / "demo" / "train.json"
    assert "its digest is not kept" in caplog.text
    assert server.requests == []


def test_a_user_without_a_home_has_a_cache(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("DESTILA_CACHE", "~nobody-of-that-name/cache")
    assert sources.cache_directory().is_dir()
    assert "~nobody-of-that-name/cache: nobody knows where that is" in caplog.text


def test_a_changed_file_is_noticed(server: Server, tmp_path: Path) -> None:
    for name, sha256 in [("known", SHA256), ("unknown", None)]:
        made = replace(source(server, sha256), name=name)
        path = fetch(made, cache=tmp_path)
        path.write_bytes(BODY[:-1])
        assert f"where {SHA256} was expected" in refused(made, tmp_path)
        assert path.exists()  # it is the user's to delete
    assert files(tmp_path / "known") == {"train.json"}
    assert files(tmp_path / "unknown") == {"train.json", "train.json.sha256"}


def test_one_archive_serves_all_its_members(server: Server, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("all/dev.json", "dev")
        archive.writestr("all/test.json", "test")
    server.body = buffer.getvalue()
    sha256 = hashlib.sha256(server.body).hexdigest()
    made = [Source("demo", split, server.address, "CC0", sha256, f"all/{split}.json") for split in ("dev", "test")]
    assert [fetch(one, cache=tmp_path).read_text(encoding="utf-8") for one in made] == ["dev", "test"]
    assert len(server.requests) == 1
    (tmp_path / "demo" / "data.json").unlink()
    taken = fetch(made[0], cache=tmp_path)  # the archive is not needed any more
    assert len(server.requests) == 1
    taken.write_text("changed", encoding="utf-8")
    assert "was expected" in refused(made[0], tmp_path)
    assert "cannot give all/no.json" in refused(replace(made[0], split="no", member="all/no.json"), tmp_path)


# ---------------------------------------------------------------------------------------------------- names
def test_the_table_of_sources() -> None:
    assert {one.name for one in SOURCES} == {"squad-es-v1.1", "squad-es-v2.0", "xquad-es", "mlqa-es", "sqac"}
    assert len({one.key for one in SOURCES}) == len(SOURCES)
    for one in SOURCES:
        assert one.address.startswith("https://")
        assert one.license.startswith("CC BY")
        assert one.sha256 is None or re.fullmatch("[0-9a-f]{64}", one.sha256)
        # A branch can move: then only the digest says that the file is still the one we know.
        assert re.search("/[0-9a-f]{40}/", one.address) or one.sha256


def test_resolve_prefers_files_and_knows_names(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTILA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "SOURCES", (source(server), replace(source(server), name="two", split="dev")))
    monkeypatch.chdir(tmp_path)
    assert resolve("demo/train") == resolve("demo") == tmp_path / "cache" / "demo" / "train.json"
    (tmp_path / "two").mkdir()
    assert resolve("two") == tmp_path / "cache" / "two" / "dev.json"  # a directory is no data
    (tmp_path / "two" / "dev").write_text("mine", encoding="utf-8")
    assert resolve("two/dev") == Path("two/dev")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sqca/dev", "no such file, and no data set of that name. Did you mean sqac/dev? Named data sets: squad-es"),
        ("data/none.json", "no such file, and no data set of that name. Named data sets: squad-es-v1.1/train"),
        ("sqac", "is a data set of 3 files. Say which: sqac/train or sqac/dev or sqac/test."),
    ],
)
def test_names_that_mean_nothing(name: str, expected: str) -> None:
    with pytest.raises(UserError, match=re.escape(expected)):
        resolve(name)


LINE = '{"id": "%s", "question": "¿Qué?", "context": "Lima y Quito", "answers": [{"text": "%s", "answer_start": %d}]}\n'


@pytest.mark.usefixtures("messages_on_stderr")
def test_load_examples_joins_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl")
    Path(one).write_text(LINE % ("a", "Lima", 0) + LINE % ("b", "Lim", 0), encoding="utf-8")
    Path(two).write_text(LINE % ("c", "Quito", 0) + LINE % ("d", "Lima", 0), encoding="utf-8")
    loaded = load_examples([one, two])
    assert [example.id for example in loaded] == ["a", "b", "c", "d"]
    assert [example.answers[0].text for example in loaded] == ["Lima", "Lima", "Quito", "Lima"]
    assert capsys.readouterr().err.splitlines() == [
        f"{one}: 1 answers mended (destila data check tells more)",
        f"{two}: 1 answers mended (destila data check tells more)",
    ]
    assert [example.id for example in load_examples([one, two], limit=3)] == ["a", "b", "c"]
    with pytest.raises(UserError, match="do not match their context"):
        load_examples([one, two], repair=False)


def test_ids_are_unique_over_files(tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one.write_text(LINE % ("a", "Lima", 0), encoding="utf-8")
    two.write_text(LINE % ("a", "Quito", 7), encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(f"{two}: id a is in {one} too. Ids must be unique")):
        load_examples([str(one), str(two)])
    with pytest.raises(UserError, match="no file and no named data set is given"):
        load_examples([])
