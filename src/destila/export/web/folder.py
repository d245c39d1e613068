"""The static folder: the page of `destila serve` with a reader beside it.

    folder/
      index.html page.css page.js ... (SHARED)    as `destila serve` has them, but for the page's own security policy
      ask.js worker.js ... (OWN)                  who answers here, instead of the server
      offline.js                                  keeps the page for visits without a network
      onnxruntime.js onnxruntime.bin              onnxruntime-web
      model.bin tokenizer.bin (weights.bin)       the reader; *.bin are compressed with gzip
      destila.json                                windows, threshold; size and digest of every *.bin
      LICENSES.txt

Invariant: every name is relative and no address of another place is in what we write, so the folder works wherever it
is served, under any path. The endings are those that every static server knows.
"""

import gzip
import hashlib
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import onnxruntime

from destila.core.model_files import METADATA_FILE, ONNX_FILE, ONNX_WEIGHTS
from destila.core.runs import destila_version
from destila.core.strict_json import dumps
from destila.data.windows import MIN_CONTEXT_TOKENS
from destila.export.web.runtime import BINARY, SCRIPT
from destila.export.web.tables import characters, reading_tables, tokenizer_tables
from destila.inference.decoding import SHOWN_SHARE
from destila.inference.reader import Reader

SHARED = (
    *("index.html", "page.css", "language.js", "texts.js", "files.js", "documents.js"),
    *("answers.js", "sharing.js", "page.js"),
)
OWN = (
    *("ask.js", "worker.js", "tokenizer.js", "bpe.js", "unigram.js", "normalizers.js", "graphemes.js"),
    *("composition.js", "windows.js", "spans.js", "ranking.js", "LICENSES.txt"),
)
OFFLINE, RUNTIME = "offline.js", "onnxruntime.js"
# A static server sends no policy of its own; workers that come from a file have none, and 'wasm-unsafe-eval' is theirs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types destila-html destila-worker"
)
CHARSET = '<meta charset="utf-8">'


def write_folder(reader: Reader, source: Path, folder: Path, *, precision: str, runtime: dict[str, bytes]) -> None:
    """Fill an empty folder.

    Args:
        reader: loaded from `source`, a directory with a model.onnx of this precision.
        runtime: as `destila.export.web.runtime.onnxruntime_web` gives it.

    Raises:
        UserError: the page cannot run the reader's tokenizer.
    """
    tables = {"tokenizer": tokenizer_tables(reader.tokenizer, where=reader.name)}
    tables |= {"characters": characters(), "reading": reading_tables()}
    apart = (source / ONNX_WEIGHTS).exists()
    model = (source / ONNX_FILE).read_bytes() if apart else _optimized(source / ONNX_FILE)
    blobs = {"onnxruntime.bin": runtime[BINARY], "model.bin": model, "tokenizer.bin": _compact(tables)}
    if apart:
        blobs["weights.bin"] = (source / ONNX_WEIGHTS).read_bytes()
    listed = [_write_blob(folder / name, content) for name, content in blobs.items()]
    pages = _pages() | {RUNTIME: runtime[SCRIPT]}
    settings = _settings(reader) | {"format": "web", "precision": precision, "destila": destila_version()}
    settings |= {"weights": ONNX_WEIGHTS, "optimized": not apart, "blobs": listed}
    offline = files("destila.export.web").joinpath("page", OFFLINE).read_text(encoding="utf-8")
    version = _version(settings, pages | {OFFLINE: offline.encode()})
    settings |= {"version": version, "pages": [*pages, METADATA_FILE]}
    pages[OFFLINE] = offline.replace('const VERSION = "";', f'const VERSION = "{version}";').encode()
    for name, content in (pages | {METADATA_FILE: _compact(settings)}).items():
        (folder / name).write_bytes(content)


def _optimized(path: Path) -> bytes:
    """A model as onnxruntime rewrites it before it runs, so that not every visitor's browser has to do it anew."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED  # on any processor
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as directory:
        options.optimized_model_filepath = str(Path(directory) / ONNX_FILE)
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return Path(options.optimized_model_filepath).read_bytes()


def _settings(reader: Reader) -> dict[str, Any]:
    """What page/worker.js has to know of a reader."""
    builder, window = reader.builder, reader.window
    special = {name: getattr(builder.template, name).tolist() for name in ("front", "middle", "back")}
    return special | {
        "length": window.length,
        "stride": window.stride,
        "longest": window.max_answer_tokens,
        "least": MIN_CONTEXT_TOKENS,
        "threshold": reader.no_answer_threshold,
        "share": SHOWN_SHARE,
    }


def _pages() -> dict[str, bytes]:
    shared = {name: files("destila.serving").joinpath("page", name).read_bytes() for name in SHARED}
    own = {name: files("destila.export.web").joinpath("page", name).read_bytes() for name in OWN}
    policy = f'{CHARSET}\n  <meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    shared["index.html"] = shared["index.html"].replace(CHARSET.encode(), policy.encode(), 1)
    return shared | own


def _write_blob(path: Path, content: bytes) -> dict[str, Any]:
    """Write a compressed file; returns what the page checks it by."""
    packed = gzip.compress(content, 9, mtime=0)
    path.write_bytes(packed)
    return {"name": path.name, "bytes": len(packed), "sha256": hashlib.sha256(packed).hexdigest()}


def _version(settings: dict[str, Any], pages: dict[str, bytes]) -> str:
    """Names the content of the whole folder."""
    digest = hashlib.sha256(_compact(settings))
    for name, content in sorted(pages.items()):
        digest.update(name.encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def _compact(value: Any) -> bytes:
    return dumps(value, compact=True).encode()
