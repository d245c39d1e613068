"""A small hub on 127.0.0.1 that the real client talks to over HTTP: repositories, commits, branches, private or not."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

TOKEN = "hf_letMeIn"
LARGE = (".safetensors", ".onnx", ".bin")  # what goes through the protocol for large files
Files = dict[str, bytes]


@dataclass
class Repository:
    private: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Files, branch: str = "main") -> str:
        """Add or replace files on a branch; returns the commit."""
        whole = {**self.commits.get(self.refs.get(branch, ""), {}), **files}
        seed = json.dumps([len(self.commits), branch, sorted(whole)]).encode() + b"".join(whole.values())
        sha = hashlib.sha1(seed).hexdigest()
        self.commits[sha], self.refs[branch] = whole, sha
        return sha

    def resolve(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.refs.get(revision)


class FakeHub:
    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: Files = {}
        self.requests: list[str] = []
        self.broken = False  # every answer is then 503
        self.address = ""

    def add(self, name: str, directory: Path, **options: Any) -> str:
        """Publish the files of a directory; returns the commit."""
        repository = self.repositories.setdefault(name, Repository(**options))
        return repository.commit({path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()})

    def fetched(self) -> set[str]:
        """Names of the files whose content was asked for."""
        return {line.rpartition("/")[2] for line in self.requests if line.startswith("GET") and "/resolve/" in line}


class Refused(Exception):
    def __init__(self, status: int, code: str = "", message: str = "", *, url: str = "") -> None:
        self.status, self.code, self.message, self.url = status, code, message, url


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.hub.broken:
                raise Refused(503, message="down")
            content, headers = self._answer(path, body)
            status = 200
        except Refused as error:
            status, headers = error.status, {"X-Error-Code": error.code, "X-Error-Message": error.message}
            details = {"error": error.message, "errors": [{"message": error.message}], "url": error.url}
            content = json.dumps(details).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    # -------------------------------------------------------------------------------------------- what is asked
    def _answer(self, path: str, body: bytes) -> tuple[bytes, dict[str, str]]:
        if self.command in ("GET", "HEAD"):
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
                return self._json(self._tree(*self._commit(found[1], found[2])))
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
                repository, sha = self._commit(found[1], found[2] or "main")
                return self._json({"id": found[1], "sha": sha, "private": repository.private, "siblings": []})
            if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                repository, sha = self._commit(found[1], found[2])
                if found[3] not in repository.commits[sha]:
                    raise Refused(404, "EntryNotFound", "Entry not found")
                content = repository.commits[sha][found[3]]
                return content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": sha}
            raise Refused(404)
        if found := re.fullmatch(r"/lfs/([0-9a-f]{64})", path):
            assert hashlib.sha256(body).hexdigest() == found[1]
            self.hub.large[found[1]] = body
            return b"", {}
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refused(401, message="Invalid username or password.")
        return self._json(self._write(path, body))

    def _write(self, path: str, body: bytes) -> Any:
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            if wanted["organization"] == "others":
                raise Refused(403, message="You have no rights in this namespace.")
            if name in self.hub.repositories:
                raise Refused(409, message="You already created this model repo", url=f"{self.hub.address}/{name}")
            self.hub.repositories[name] = Repository(private=wanted.get("visibility") == "private")
            self.hub.repositories[name].commit({".gitattributes": b""})
            return {"url": f"{self.hub.address}/{name}", "name": name}
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/(.+)", path):
            self._commit(found[1], found[2])
            return {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                        "shouldIgnore": False,
                    }
                    for file in json.loads(body)["files"]
                ]
            }
        if re.fullmatch(r"/[^/]+/[^/]+\.git/info/lfs/objects/batch", path):
            objects = json.loads(body)["objects"]
            return {
                "transfer": "basic",
                "objects": [
                    {**item, "actions": {"upload": {"href": f"{self.hub.address}/lfs/{item['oid']}"}}}
                    for item in objects
                ],
            }
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", path):
            return self._take(found[1], found[2], body)
        raise Refused(404)

    def _take(self, name: str, branch: str, body: bytes) -> Any:
        files: Files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
        sha = self._commit(name, branch)[0].commit(files, branch)
        return {"commitUrl": f"{self.hub.address}/{name}/commit/{sha}", "commitOid": sha}

    # -------------------------------------------------------------------------------------------- what is there
    def _commit(self, name: str, revision: str) -> tuple[Repository, str]:
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
            raise Refused(401, "RepoNotFound", "Repository not found")
        sha = repository.resolve(revision)
        if sha is None:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repository, sha

    def _tree(self, repository: Repository, sha: str) -> Any:
        return [
            {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for path, content in repository.commits[sha].items()
        ]

    def _validate(self, card: str) -> Any:
        """The rules of the hub that matter here: YAML, a known license, a list of results with names and values."""
        found = re.match(r"---\n(.*?)\n---\n", card, re.S)
        data = yaml.safe_load(found[1]) if found else None
        licenses = ("apache-2.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-sa-3.0", "other")
        if not isinstance(data, dict) or data.get("license") not in licenses:
            raise Refused(400, message="license must be one of the hub's")
        for model in data.get("model-index", []):
            for result in model["results"]:
                assert result["task"]["type"]
                assert all(result["dataset"][key] for key in ("type", "name"))
                assert all(metric["type"] and metric["value"] is not None for metric in result["metrics"])
        return {"errors": [], "warnings": []}

    def _json(self, value: Any) -> tuple[bytes, dict[str, str]]:
        return json.dumps(value).encode(), {"Content-Type": "application/json"}


@contextmanager
def serving() -> Iterator[FakeHub]:
    """A hub that runs for the length of the block."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def client_environment(hub: FakeHub, home: Path) -> dict[str, str]:
    """What a process needs in its environment to talk to this hub and nothing else, not logged in."""
    quiet = dict.fromkeys(("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_PROGRESS_BARS"), "1")
    return {"HF_ENDPOINT": hub.address, "HF_HOME": str(home), **quiet}


def point_client_at(address: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for this process, whose client read its environment when it was imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def log_in(home: Path) -> None:
    """What `hf auth login` leaves behind."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "token").write_text(TOKEN)
