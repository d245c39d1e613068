"""onnxruntime-web, the run time of the page: taken from npm when a page is exported, and never part of Destila.

Invariant: what comes out is the version that Destila's tests ran, byte for byte, wherever it was taken from: a
directory that the user names, the cache, or npm, asked in that order. This module runs nothing of it.
"""

import base64
import hashlib
import logging
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from destila.core.caches import with_cache
from destila.core.errors import UserError
from destila.core.runs import atomic_directory
from destila.data.sources import cache_directory

LOG = logging.getLogger(__name__)

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # as npm states it
# The build for the CPU alone, with its loader inside; it starts threads only where the page is cross-origin isolated.
SCRIPT, BINARY = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
SHA256 = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    BINARY: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
BY_HAND = f"npm pack {PACKAGE}@{VERSION} && tar -xzf {PACKAGE}-{VERSION}.tgz"
COPY = f"{BY_HAND}; copy package/dist here, and give it as --runtime."
FETCH_SECONDS = 300


def onnxruntime_web(directory: str | None = None) -> dict[str, bytes]:
    """The files of the run time, SCRIPT and BINARY, by name.

    Args:
        directory: where they lie (the package's `dist`); None: in the cache, where npm puts them first if need be.

    Raises:
        UserError: they are missing or of another version; npm is missing or fails.
    """
    if directory:
        return _read(Path(directory), f"Unpack it with: {BY_HAND}; then give --runtime package/dist.")
    return with_cache(cache_directory(), _kept)


def _kept(cache: Path) -> dict[str, bytes]:
    """The files from a cache, fetched if need be."""
    directory = cache / f"{PACKAGE}-{VERSION}"
    if not directory.is_dir():
        _fetch(directory)
    return _read(directory, "Delete that directory, and run again.")


def _read(directory: Path, remedy: str) -> dict[str, bytes]:
    files, problems = {}, []
    for name, digest in SHA256.items():
        try:
            files[name] = (directory / name).read_bytes()
        except OSError as error:
            problems.append(f"{name} cannot be read ({error.strerror})")
            continue
        if (found := hashlib.sha256(files[name]).hexdigest()) != digest:
            problems.append(f"{name} is not that of {PACKAGE} {VERSION} (SHA-256 {found})")
    if problems:
        raise UserError.from_problems(str(directory), problems, remedy)
    return files


def _fetch(directory: Path) -> None:
    """Let npm fetch the package, and keep the files that matter."""
    npm = shutil.which("npm")
    if npm is None:
        problem = f"runs the page, and npm, which fetches it, is not installed (no {directory} either)"
        raise UserError(f"{PACKAGE} {VERSION}", problem, f"Install npm; or, where there is one, run: {COPY}")
    LOG.info(f"Fetching {PACKAGE} {VERSION} with npm (33 MB, once) ...")
    with tempfile.TemporaryDirectory() as temporary:
        _pack(npm, temporary)
        package = Path(temporary) / f"{PACKAGE}-{VERSION}.tgz"
        found = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
        if found != SHA512:
            problem = f"npm gave another package: its integrity is sha512-{found}, expected sha512-{SHA512}"
            raise UserError(f"{PACKAGE} {VERSION}", problem, "Do not use it; ask another registry.")
        with atomic_directory(directory) as made, tarfile.open(package) as archive:
            for name in SHA256:
                member = archive.extractfile(f"package/dist/{name}")
                assert member is not None
                (made / name).write_bytes(member.read())


def _pack(npm: str, directory: str) -> None:
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", directory, "--ignore-scripts"]
    options = ["--fetch-retries", "1", "--loglevel", "error", "--update-notifier", "false"]
    reason = f"it took over {FETCH_SECONDS} seconds"
    try:
        done = subprocess.run(
            command + options, capture_output=True, text=True, errors="replace", timeout=FETCH_SECONDS, cwd=directory
        )
        if done.returncode == 0:
            return
        lines = [line.removeprefix("npm error ") for line in done.stderr.splitlines() if line.startswith("npm error ")]
        reason = "; ".join(lines[:2]) or f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        pass
    remedy = f"Try again later; or, on another machine, run: {COPY}"
    raise UserError(f"{PACKAGE} {VERSION}", f"npm cannot fetch it ({reason})", remedy)
