"""A finished run or an export becomes a repository of the hub: what goes there, and how.

Mental model: `gather` (an exact list of files, the card for this repository) -> `publish` (one commit). Invariant: what
is uploaded is on a list of names that a reader consists of, so that no checkpoint, metrics, settings, data or log ever
leaves this machine, and of local files no path does. The token is what the hub's own login left; nothing here stores,
prints or takes one.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.model_files import (
    CONFIG_FILE,
    METADATA_FILE,
    TOKENIZER_FILE,
    TOKENIZER_FILES,
    TORCH_WEIGHTS,
    WEIGHTS,
    find_files,
    torch_weights,
)
from destila.core.runs import RUN_FILE, destila_version, read_json
from destila.core.strict_json import dumps, finite
from destila.models.directory import require_directory
from destila.models.hub import CONTACT_SECONDS, connection_errors, hub_errors, library
from destila.reporting.card_metadata import CARD_FILE, card_problems
from destila.reporting.snippets import PLACEHOLDER

EXPORTED = (*WEIGHTS["onnx"], *WEIGHTS["openvino"])
LOGIN = "Log in with the hub's own command (hf auth login), or set HF_TOKEN."


@dataclass(frozen=True, slots=True)
class Upload:
    """What goes to the hub: the content of a file, or the path where it is."""

    name: str
    content: bytes | Path

    @property
    def size(self) -> int:
        """In bytes."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)


def gather(directory: Path, repository: str) -> list[Upload]:
    """The files of a reader, with the card and destila.json as they are to be read there.

    Raises:
        UserError: the run has not finished; files are missing; the card is not valid.
    """
    require_directory(directory)
    problems = _problems(directory)
    card = directory / CARD_FILE
    if not problems:
        problems = [f"{CARD_FILE}: {problem}" for problem in card_problems(card.read_text(encoding="utf-8"))]
    if problems:
        raise UserError.from_problems(str(directory), problems, "Nothing was uploaded.")
    text = card.read_text(encoding="utf-8").replace(PLACEHOLDER, repository)
    about = ModelMetadata.read(directory).without("names_from")
    metadata = dumps(finite(without_paths(dict(about))), indent=2)
    paths = [*torch_weights(directory), *find_files(directory, (*EXPORTED, CONFIG_FILE, *TOKENIZER_FILES))]
    made = [Upload(CARD_FILE, text.encode()), Upload(METADATA_FILE, f"{metadata}\n".encode())]
    return [*made, *(Upload(path.name, path) for path in paths)]


def _problems(directory: Path) -> list[str]:
    if not (directory / METADATA_FILE).is_file():
        return [f"it has no {METADATA_FILE}: give a finished run or an export"]
    problems = []
    if (directory / RUN_FILE).exists() and (status := read_json(directory / RUN_FILE)["status"]) != "finished":
        problems.append(f"the run has not finished ({status}): continue it with --resume")
    if not torch_weights(directory) and not find_files(directory, EXPORTED):
        problems.append(f"it has none of {', '.join((TORCH_WEIGHTS, *EXPORTED))}")
    problems += [f"it has no {name}" for name in (CONFIG_FILE, TOKENIZER_FILE) if not (directory / name).is_file()]
    if not (directory / CARD_FILE).is_file():
        problems.append(f"it has no {CARD_FILE}: write one with destila card {directory}")
    return problems


def without_paths(value: Any) -> Any:
    """Metadata in which a path of this machine is its last part alone; ids of the hub stay: they lie nowhere here."""
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    if isinstance(value, str) and ("/" in value or "\\" in value) and _is_path(value):
        return Path(value).name
    return value


def _is_path(text: str) -> bool:
    if "://" in text:
        return False
    return Path(text).is_absolute() or text.startswith((".", "~")) or text.count("/") > 1 or Path(text).exists()


def hub_token(repository: str) -> str:
    """What the hub's own login left.

    Raises:
        UserError: nothing: nobody is logged in.
    """
    token = library(repository).get_token()
    if not token:
        raise UserError(repository, "you are not logged in to the hub", LOGIN)
    return str(token)


def publish(uploads: Sequence[Upload], repository: str, *, private: bool, token: str) -> str:
    """Make the repository if need be, and upload everything in one commit; returns the commit.

    Raises:
        UserError: the hub cannot be reached or refuses, or the repository is public where it should be private, or the
            other way round.
    """
    hub = library(repository)
    api = hub.HfApi(token=token, library_name="destila", library_version=destila_version())
    operations = [
        hub.CommitOperationAdd(
            path_in_repo=upload.name,
            path_or_fileobj=str(upload.content) if isinstance(upload.content, Path) else upload.content,
        )
        for upload in uploads
    ]
    with _refusals(repository):
        _require_room(api, repository, private=private)
        api.create_repo(repository, private=private, exist_ok=True)
        message = f"Upload a reader made by destila {destila_version()}"
        done = api.create_commit(repository, operations, commit_message=message)
    return str(done.oid)


def _require_room(api: Any, repository: str, *, private: bool) -> None:
    """Meet the hub for the first time, and refuse to put into public what is to be private, or the other way round."""
    from huggingface_hub.errors import RepositoryNotFoundError

    with contextlib.suppress(RepositoryNotFoundError):
        found = bool(api.model_info(repository, timeout=CONTACT_SECONDS).private)
        if found != private:
            problem = f"exists and is {'private' if found else 'public'}"
            remedy = f"Give --private {str(found).lower()} if that is meant, or choose another name."
            raise UserError(repository, problem, remedy)


@contextlib.contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Turn what the hub or the way there refuses into a `UserError`."""
    try:
        with hub_errors(name):
            yield
    except UserError:
        raise
    except connection_errors() as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        remedy = "Nothing was published: a commit is whole or not at all. Try again later."
        raise UserError(name, f"the hub cannot be reached ({reason})", remedy) from error
    except ValueError as error:  # how the client tells that the hub did not like the card
        raise UserError(name, f"the hub refuses it ({error})", f"Mend {CARD_FILE}.") from error
