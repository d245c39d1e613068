"""Run every check of `destila.evaluation.guarantees` on a reader, and write into its destila.json what held.

Invariant: what failed is written like what held; what could not be checked says why, and is never taken for passed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from destila.config import CertifySettings
from destila.config.loader import settings_of
from destila.core import cpus
from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.progress import Listener, listening, track
from destila.core.records import Example
from destila.core.runs import command_line, destila_version, environment
from destila.data.sources import find, load_gold, spread
from destila.evaluation import guarantees
from destila.evaluation.guarantees import Check
from destila.inference.backends import LoadedBackend, load_backend
from destila.inference.places import name_of, place_of
from destila.inference.reader import Reader


@dataclass(frozen=True)
class Certificate:
    """What was checked of a reader, and what held.

    Attributes:
        model: its name; `data`: what was read; `questions`: how many.
        backend: what ran it: "torch", "onnx" or "openvino"; `precision`: its arithmetic.
        checks: one for each guarantee.
        processor: what it ran on; `libraries`: their versions; `version`, `command`: how it was made.
    """

    model: str
    data: str
    questions: int
    backend: str
    precision: str
    checks: tuple[Check, ...]
    processor: str
    libraries: Mapping[str, str]
    version: str
    command: str

    @property
    def passed(self) -> bool:
        """Whether everything that was checked held."""
        return all(check.passed is not False for check in self.checks)


def certify(
    model: str | Path | None = None,
    data: str | Path | Sequence[str | Path] | Sequence[Example] = (),
    *,
    settings: CertifySettings | Mapping[str, Any] | None = None,
    progress: Listener | None = None,
    **changes: Any,
) -> Certificate:
    """Check what is guaranteed of a reader (docs/guarantees.md), and write into its destila.json what held.

    >>> import destila
    >>> found = destila.certify(data="data/nativa/dev.json", max_examples=2)
    >>> found.passed, found.backend, found.questions
    (True, 'onnx', 2)

    Args:
        model: a local directory or a hub id; None: the bundled model.
        data: files, named sources, or examples.
        settings: a `CertifySettings`, or None for the defaults.
        progress: is told of all progress; None: nobody is.
        changes: settings that differ, such as backend="torch" or write=False.

    Raises:
        UserError: no data; a model or a file that cannot be read, or not be written. A guarantee that does not hold is
            no error here: see `Certificate.passed`.
    """
    chosen = settings_of(CertifySettings, settings, changes)
    name = chosen.model if model is None else str(model)
    items: list[Any] = [data] if isinstance(data, str | Path) else list(data) or list(chosen.data)
    if not items:
        raise UserError("destila certify", "--data: is required", "Run it with --help for every setting.")
    with listening(progress):
        given = [item for item in items if isinstance(item, Example)]
        files = [str(item) for item in items if not isinstance(item, Example)]
        examples = spread(given + (load_gold(files) if files else []), chosen.max_examples)
        loaded = _load(chosen, name, chosen.threads)
        about = environment()
        found = Certificate(
            model=name_of(name),
            data=", ".join(files) or f"{len(given)} examples",
            questions=len(examples),
            backend=loaded.backend,
            precision=_precision(loaded),
            checks=tuple(_checks(chosen, name, loaded, examples)),
            processor=about["processor"],
            libraries=about["libraries"],
            version=destila_version(),
            command=command_line(),
        )
        if chosen.write and is_local(name):
            _write(Path(str(name)), found)
    return found


def is_local(model: str | Path | None) -> bool:
    """Whether a certificate can be written into a model: it is named as a local directory."""
    return model is not None and Path(model).is_dir()


def _load(settings: CertifySettings, name: str | None, threads: int) -> LoadedBackend:
    return load_backend(place_of(name), settings.backend, revision=settings.revision, threads=threads)


def _precision(loaded: LoadedBackend) -> str:
    return "fp32" if loaded.backend == "torch" else loaded.metadata.precision


def _checks(
    settings: CertifySettings, name: str | None, loaded: LoadedBackend, examples: Sequence[Example]
) -> list[Check]:
    reader = Reader.of(loaded, name=name_of(name))
    texts = guarantees.texts_of(examples)
    said = guarantees.said_of(reader, examples)

    def load(threads: int) -> Reader:
        return Reader.of(_load(settings, name, threads), name=reader.name)

    steps: list[Callable[[], list[Check]]] = [
        lambda: [guarantees.every_token_read(reader, texts)],
        lambda: [guarantees.exact_offsets(reader, examples, said, texts[:-1])],
        lambda: [guarantees.same_in_company(reader, examples, said)],
        lambda: [guarantees.strict_outputs(said)],
        lambda: _export_checks(settings, reader, loaded, examples, said),
        # Last: torch has one number of threads for all models of a process.
        lambda: [guarantees.same_with_threads(load, _thread_counts(), examples)],
    ]
    return [check for step in track(steps, what="Checking", unit="guarantees") for check in step()]


def _thread_counts() -> list[int]:
    return sorted({1, min(2, cpus.usable_cores()), cpus.usable_cores()})


def _export_checks(
    settings: CertifySettings, reader: Reader, loaded: LoadedBackend, examples: Sequence[Example], said: guarantees.Said
) -> list[Check]:
    """What is asked of an export: that it says what the reader says that it was made of."""
    precision = _precision(loaded)
    if loaded.backend == "torch":
        return []
    if settings.reference is None:
        return [Check(f"{precision} answers as torch does", 0, "answers", None, "no --reference was given")]
    reference = Reader.load(settings.reference, backend="torch", window_length=reader.window.length)
    reference.no_answer_threshold = reader.no_answer_threshold
    if precision == "fp32":
        return [guarantees.equals_reference(reader, reference, examples, said)]
    gates = {"min_agreement": settings.min_agreement, "max_loss": settings.max_loss}
    return guarantees.agrees(guarantees.said_of(reference, examples), said, examples, precision=precision, **gates)


def _write(directory: Path, found: Certificate) -> None:
    """Put a certificate beside those of other back ends; where the model and the data lay is nobody's business."""
    metadata = ModelMetadata.read(directory)
    fields = {key: value for key, value in asdict(found).items() if key not in ("model", "backend", "command")}
    fields["data"] = ", ".join(name if find(name) else Path(name).name for name in found.data.split(", "))
    metadata.changed(certificates={**metadata.certificates, found.backend: fields}).write(directory)
