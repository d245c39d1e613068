"""Models of the Hugging Face hub: from `owner/name@revision` to files on this disk, pinned to a commit.

Mental model: a model's name is a local directory, or a repository of the hub and a revision (branch, tag, commit;
without one, the default branch). A revision is resolved to a commit first, said aloud, and everything is read from the
snapshot of that commit; from there on a model of the hub is a directory like any other.

Invariant: what is fetched is data: safetensors, ONNX, OpenVINO, JSON and vocabularies, never a pickle or Python code.
A commit that was fetched once is read from the cache without asking the hub; a hub that cannot be reached is an error
within seconds. This module loads no model; huggingface_hub is imported when a name is no directory.
"""

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from destila.core.caches import with_cache
from destila.core.errors import UserError
from destila.core.model_files import MODEL_FILES, ONNX_FILE, OPENVINO_FILE, TORCH_INDEX, TORCH_WEIGHTS, find_files
from destila.core.runs import writing
from destila.core.suggestions import nearest_path

LOG = logging.getLogger(__name__)

CONTACT_SECONDS = 5.0  # to reach the hub at all; its library alone would try for 23
REPOSITORY = r"[\w-][\w.-]*(?:/[\w-][\w.-]*)?"
COMMIT = re.compile(r"[0-9a-f]{40}")
INSTALL = "pip install 'destila[hub]'"
# What the configurations and documents name, and what may stand in for it: names of the hub vanish.
ALTERNATIVES = {
    "stevemobs/roberta-large-fine-tuned-squad-es": "mrm8488/bert-base-spanish-wwm-cased-finetuned-spa-squad2-es",
    "dccuchile/bert-base-spanish-wwm-cased": "FacebookAI/xlm-roberta-base",
    "google-bert/bert-base-multilingual-cased": "FacebookAI/xlm-roberta-base",
    "intfloat/multilingual-e5-small": "FacebookAI/xlm-roberta-base",
}


@dataclass(frozen=True, slots=True)
class Location:
    """Where a model's files are."""

    name: str  # the local directory or the repository, as given, without a revision
    directory: Path
    commit: str | None = None  # of the repository; None for a local directory

    @property
    def label(self) -> str:
        """What names exactly these files: the directory, or repository@commit."""
        return f"{self.name}@{self.commit}" if self.commit else self.name


def locate(model: str | Path, revision: str | None = None) -> Location:
    """Find a model's files, fetching them if need be.

    Args:
        model: a local directory, `owner/name` or `owner/name@revision`; a directory of that name wins.
        revision: branch, tag or commit, if `model` names none.

    Raises:
        UserError: neither a directory nor a name; two revisions; the hub cannot be reached or has no such model, or
            none that can be read without running code.
    """
    text = str(model)
    if text and Path(text).is_dir():
        return Location(text, Path(text))
    found = re.fullmatch(rf"({REPOSITORY})(?:@([\w./-]+))?", text)
    if Path(text).exists() or not found:
        remedy = "Give a directory that holds a model, or a hub id (owner/name, owner/name@revision)."
        raise UserError(text or "model", f"is not a directory{nearest_path(text, directories=True)}", remedy)
    name, asked = found[1], found[2]
    if asked and revision and asked != revision:
        raise UserError(text, f"names another revision than {revision}, which is given too", "Give one of them.")
    return _snapshot(name, asked or revision)


def library(where: str) -> Any:
    """The hub's own client.

    Raises:
        UserError: it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        problem = f"needs the Hugging Face hub, and {error.name} is missing"
        raise UserError(where, problem, f"Install its client: {INSTALL}.") from error
    return huggingface_hub


@contextlib.contextmanager
def hub_errors(name: str, revision: str | None = None) -> Iterator[None]:
    """Turn what the hub refuses into a `UserError`; connections that fail pass."""
    from huggingface_hub import errors

    login = "Check the name; for a private or gated model, log in first (hf auth login)."
    try:
        yield
    except errors.HFValidationError as error:
        raise UserError(name, f"is no name of a repository ({error})", "Names are owner/name.") from error
    except errors.RevisionNotFoundError as error:
        raise UserError(name, f"has no revision {revision!r} on the hub", "Check the revision.") from error
    except errors.GatedRepoError as error:
        raise UserError(name, "is gated, and you have not been let in", login) from error
    except errors.RepositoryNotFoundError as error:
        hint = nearest_path(name, directories=True)
        problem = f"is no local directory, and the hub has no such model that you may see{hint}"
        second = f" Or take {ALTERNATIVES[name]} in its place." if name in ALTERNATIVES else ""
        raise UserError(name, problem, login + second) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status >= 500:
            raise
        lines = str(error.server_message or error).strip().splitlines() or [type(error).__name__]
        raise UserError(name, f"the hub refuses ({status}: {lines[0]})", login) from error


def connection_errors() -> tuple[type[Exception], ...]:
    """What says that the hub cannot be reached, or is down."""
    import httpx2
    from huggingface_hub import errors

    return (httpx2.TransportError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError)


def unreachable(name: str, error: BaseException) -> UserError:
    """The error for a hub that does not answer."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    remedy = "Check the name and the network, or download the model elsewhere and give its directory."
    problem = f"is no local directory, and the hub cannot be reached ({reason}){nearest_path(name, directories=True)}"
    return UserError(name, problem, remedy)


def _snapshot(name: str, revision: str | None) -> Location:
    """The snapshot of a revision: out of the cache if it is a commit that is there, else by asking the hub."""
    hub = library(name)
    pinned = revision is not None and COMMIT.fullmatch(revision) is not None
    directory = _cached(hub, name, revision) if pinned else None
    if directory is None:
        with hub_errors(name, revision):
            directory = _asked(hub, name, revision)
    commit = directory.name  # the cache names snapshots after their commits
    if not pinned:
        LOG.info(f"{name}: commit {commit}; pin it with {name}@{commit}")
    _require_weights(hub, Location(name, directory, commit))
    return Location(name, directory, commit)


def _cached(hub: Any, name: str, revision: str | None) -> Path | None:
    """A whole snapshot in the cache; None if there is none."""
    from huggingface_hub.errors import HFValidationError

    with contextlib.suppress(OSError, HFValidationError):
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=MODEL_FILES, local_files_only=True))
    return None


def _asked(hub: Any, name: str, revision: str | None) -> Path:
    try:
        # A first contact of its own: the library tries downloads again and again before it gives up.
        hub.HfApi().model_info(name, revision=revision, timeout=CONTACT_SECONDS)
        cache = Path(hub.constants.HF_HUB_CACHE)
        return with_cache(cache, lambda place: _fetched(hub, name, revision, place))
    except connection_errors() as error:
        if getattr(getattr(error, "response", None), "status_code", 500) < 500:
            raise
        directory = _cached(hub, name, revision)
        if directory is None:
            raise unreachable(name, error) from error
        LOG.warning(f"{name}: the hub cannot be reached; taking what was fetched before")
        return directory
    except OSError as error:  # where the hub's client keeps its files is no place for them
        raise UserError(name, f"cannot be fetched ({error})", "Set HF_HOME to a directory of yours.") from error


def _fetched(hub: Any, name: str, revision: str | None, cache: Path) -> Path:
    with writing(cache):
        options = {"allow_patterns": list(MODEL_FILES), "cache_dir": cache}
        return Path(hub.snapshot_download(name, revision=revision, **options))


def _require_weights(hub: Any, found: Location) -> None:
    if find_files(found.directory, (TORCH_WEIGHTS, TORCH_INDEX, ONNX_FILE, OPENVINO_FILE)):
        return
    cache = found.directory.parents[2]  # cache / repository / snapshots / commit
    listed = [file.path for file in hub.get_cached_repo_tree(found.name, revision=found.commit, cache_dir=cache)]
    pickles = [file for file in listed if file.endswith((".bin", ".pt", ".pth", ".ckpt")) and "/" not in file]
    holds = f", only {pickles[0]}, which can run code and is never fetched" if pickles else ""
    remedy = "Its pull requests may hold a converted model (@refs/pr/1); or convert it, and give the directory."
    raise UserError(found.label, f"holds no safetensors, ONNX or OpenVINO model{holds}", remedy)
