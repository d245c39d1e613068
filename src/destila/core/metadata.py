"""destila.json, which says of a model how it reads and where it comes from: read, checked and written here alone.

    window                {"length", "stride", "max_answer_tokens"} in tokens
    no_answer_threshold   what "no answer" must win by; null: the reader always answers
    calibration           what makes probabilities of scores, and what these promise (`destila.core.calibration`)
    certificates          what `destila certify` found of it, by back end
    dev, source, version  scores when it was trained, what it was made of, by which Destila
    format, precision, parameters, files (bytes of each), recipe, scores      of an export

Invariants: what is read has been checked, and what is written can be read; keys that this version does not know stay.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from destila.core.calibration import Calibration
from destila.core.checks import is_finite
from destila.core.errors import UserError
from destila.core.model_files import METADATA_FILE
from destila.core.runs import read_json, write_json

REMEDY = "Mend it, or delete the file."
OBJECTS = ("window", "source", "files", "dev", "certificates")


@dataclass(frozen=True, eq=False)
class ModelMetadata(Mapping[str, Any]):
    """What destila.json says of a model; as a mapping, all of it by key.

    Raises:
        UserError: a value is not of its kind, such as a threshold that is no finite number.
    """

    content: Mapping[str, Any] = field(default_factory=dict)  # the file's object; empty where there is no such file
    where: str = field(default=METADATA_FILE, compare=False)  # the file, for errors

    def __post_init__(self) -> None:
        if not isinstance(self.content, Mapping):
            raise UserError(self.where, "is not a JSON object", REMEDY)
        problems = [
            f"{name} is {self.content[name]!r} and not a JSON object"
            for name in OBJECTS
            if not isinstance(self.content.get(name, {}), Mapping)
        ]
        threshold, parameters = self.content.get("no_answer_threshold"), self.content.get("parameters", 0)
        if threshold is not None and not is_finite(threshold):
            problems.append(f"no_answer_threshold is {threshold!r}: it is a finite number, or null to always answer")
        if "calibration" in self.content:
            problems += Calibration.problems(self.content["calibration"])
        if type(parameters) is not int or parameters < 0:
            problems.append(f"parameters is {parameters!r} and not a whole number")
        for name, size in self.files.items() if not problems else ():
            if type(size) is not int:
                problems.append(f"the size of {name} is {size!r} and not a whole number")
        if problems:
            raise UserError.from_problems(self.where, problems, REMEDY)

    def __getitem__(self, name: str) -> Any:
        return self.content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)

    # ------------------------------------------------------------------------------------------------ files
    @classmethod
    def read(cls, directory: Path, *, required: bool = False) -> "ModelMetadata":
        """Read the file of a directory.

        Args:
            required: the file must be there; else none is as good as an empty one.

        Raises:
            UserError: it is missing, or damaged.
        """
        path = directory / METADATA_FILE
        return cls(read_json(path), str(path)) if required or path.exists() else cls(where=str(path))

    def write(self, directory: Path) -> None:
        """Write the file into a directory, whole or not at all."""
        write_json(directory / METADATA_FILE, dict(self.content))

    def changed(self, **values: Any) -> "ModelMetadata":
        """The same with other values for some keys.

        Raises:
            UserError: a value is not of its kind.
        """
        return ModelMetadata({**self.content, **values}, self.where)

    def without(self, *names: str) -> "ModelMetadata":
        """The same without some keys."""
        return ModelMetadata({name: value for name, value in self.content.items() if name not in names}, self.where)

    # ------------------------------------------------------------------------------------------------ values
    @property
    def window(self) -> Mapping[str, Any]:
        """How the reader cuts texts; empty: by default."""
        return dict(self.content.get("window", {}))

    @property
    def no_answer_threshold(self) -> float | None:
        """What "no answer" must win by, in logits; None: the reader always answers."""
        return self.content.get("no_answer_threshold")

    @property
    def calibration(self) -> Calibration | None:
        """What makes probabilities of the reader's scores; None: nobody has fitted it."""
        return Calibration.of(self.content["calibration"]) if "calibration" in self.content else None

    @property
    def certificates(self) -> Mapping[str, Any]:
        """What `destila certify` found, by back end; empty: nobody has checked it."""
        return dict(self.content.get("certificates", {}))

    @property
    def source(self) -> Mapping[str, Any]:
        """What the model was made of."""
        return dict(self.content.get("source", {}))

    @property
    def is_export(self) -> bool:
        """Whether the directory is an export."""
        return "format" in self.content

    @property
    def precision(self) -> str:
        """Of an export; empty: nobody says."""
        return str(self.content.get("precision") or "")

    @property
    def parameters(self) -> int:
        """Of an export; 0: nobody says."""
        return int(self.content.get("parameters", 0))

    @property
    def files(self) -> Mapping[str, int]:
        """Of an export: bytes of the files beside this one."""
        return dict(self.content.get("files", {}))
