"""A reader -> a directory that answers without torch, proven equal or nearly equal: what `destila.export` does.

fp32 is checked against torch; bf16 and int8 are also judged by F1 on the user's data. A page for browsers ("web") is
made from an ONNX export, which is made first where there is none. Invariant: nothing is written that failed a check.
"""

import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from destila.config import ExportSettings, WindowSettings
from destila.config.loader import settings_of
from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.model_files import ONNX_FILE
from destila.core.outputs import check_directory
from destila.core.progress import Listener, listening
from destila.core.records import Example
from destila.core.runs import atomic_directory
from destila.data.sources import load_gold, spread
from destila.data.windows import longest_window
from destila.inference.backends import LoadedBackend, load_backend
from destila.inference.places import directory_of, name_of
from destila.inference.reader import Reader

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        path: its directory.
        format: "onnx", "openvino" or "web"; `precision`: its arithmetic.
        bytes: size of all its files.
        checks: "parity", the largest difference of a logit from torch's; for a lower precision "recipe" and "scores",
            what it cost. Empty for a page of a reader that was exported already.
    """

    path: Path
    format: str
    precision: str
    bytes: int
    checks: Mapping[str, Any] = field(default_factory=dict)


def export(
    model: str | Path | None = None,
    output: str | Path = "",
    *,
    data: str | Path | Sequence[str | Path] = (),
    settings: ExportSettings | Mapping[str, Any] | None = None,
    progress: Listener | None = None,
    **changes: Any,
) -> Exported:
    """Write a reader in a form that answers fast without torch, and prove that it still answers the same.

    >>> import destila
    >>> made = destila.export("runs/student", "runs/onnx", precision="int8", data="data/nativa/dev.json", max_loss=100)
    >>> made.format, made.precision
    ('onnx', 'int8')
    >>> reader = destila.Reader.load(made.path)

    Args:
        model: local directory or hub id; for a page, None: the bundled model.
        output: directory to write.
        data: files or named sources to measure on what bf16 and int8 cost, and to calibrate int8 on.
        settings: an `ExportSettings`, or None for the defaults.
        progress: is told of all progress; None: nobody is.
        changes: settings that differ, such as format="openvino" or precision="int8".

    Raises:
        UserError: contradictory settings, a missing library, an export that differs from torch or loses too much.
    """
    names = [data] if isinstance(data, (str, Path)) else list(data)
    given = {"model": model, "output": output, "data": names}
    chosen = settings_of(ExportSettings, settings, {key: value for key, value in given.items() if value} | changes)
    with listening(progress):
        return _export(chosen)


def _export(settings: ExportSettings) -> Exported:
    _check_output(settings)
    if settings.format != "web":
        settings = replace(settings, precision=settings.precision or "fp32")
        _check_conversion(settings)
    path = Path(settings.output)
    with atomic_directory(path) as directory:
        found = _write_page(settings, directory) if settings.format == "web" else _convert(settings, directory)
        if settings.overwrite:
            shutil.rmtree(path, ignore_errors=True)
    size = sum(file.stat().st_size for file in path.iterdir())
    return Exported(path, settings.format, found.pop("precision"), size, found)


def _write_page(settings: ExportSettings, directory: Path) -> dict[str, Any]:
    """Fill a directory with a page whose reader runs in the browser."""
    from destila.export.web.folder import write_folder
    from destila.export.web.runtime import onnxruntime_web

    name = name_of(settings.model or None)
    source = directory_of(settings.model or None, settings.revision)
    onnx = replace(settings, format="onnx", precision=settings.precision or "int8")
    if converts := not (source / ONNX_FILE).exists():
        _check_conversion(onnx)
    runtime = onnxruntime_web(settings.runtime)  # it costs less than what follows
    with tempfile.TemporaryDirectory() as temporary:
        found: dict[str, Any] = {}
        if converts:
            source = Path(temporary)
            found = _convert(onnx, source)
        loaded = load_backend(str(source), "onnx")
        precision = loaded.metadata.precision
        if settings.precision not in (None, precision):
            problem = f"holds an {ONNX_FILE} in {precision}, which the page would run, and not {settings.precision}"
            raise UserError(name, problem, "Leave --precision out, or give a reader with weights for torch.")
        reader = Reader.of(loaded, name=name, window_length=_windows_of(loaded) if "recipe" in found else 0)
        write_folder(reader, source, directory, precision=precision, runtime=runtime)
    return found | {"precision": precision}


def _convert(settings: ExportSettings, directory: Path) -> dict[str, Any]:
    """Fill a directory with an export to ONNX or OpenVINO."""
    convert = _import_exporter(settings)
    examples = spread(load_gold(settings.data), settings.max_examples) if settings.data else []
    reference = load_backend(settings.model, "torch", revision=settings.revision)
    convert.write_fp32(reference, directory, format=settings.format, name=settings.model)
    found = {"parity": convert.check_parity(reference, directory, name=settings.model)}
    if settings.precision != "fp32":
        found |= _lower(settings, convert, reference=reference, examples=examples, directory=directory)
    return found | {"precision": settings.precision}


def _windows_of(loaded: LoadedBackend) -> int:
    """How long the windows of a reader are, where what it says about them has been said."""
    saved = settings_of(WindowSettings, loaded.metadata.window, {})
    return min(saved.length, longest_window(loaded.config))


def _lower(
    settings: ExportSettings, convert: Any, *, reference: LoadedBackend, examples: Sequence[Example], directory: Path
) -> dict[str, Any]:
    """Lower the precision by the fastest recipe that passes the accuracy gate; returns the recipe and the scores."""
    reader = Reader.of(reference, name=settings.model)
    judged = [example for example in examples if example.labeled and not settings.skip_accuracy]
    if not judged and not settings.skip_accuracy:
        problem = "holds no labeled question, so what it costs cannot be measured"
        raise UserError(", ".join(settings.data), problem, "Give data with answers, or --skip-accuracy.")
    before = convert.f1_of(reader, judged) if judged else {}
    calibration = convert.calibration_batches(reader, examples, count=settings.calibration_windows)
    after: dict[str, float] = {}
    for recipe in convert.recipes(settings.format, settings.precision):
        convert.write_lower(reference, directory, calibration, precision=settings.precision, recipe=recipe)
        if not judged:
            return {"recipe": recipe, "scores": None}
        exported = load_backend(str(directory))
        same = Reader.of(exported, name=settings.model, window_length=reader.window.length)
        after = convert.f1_of(same, judged)
        LOG.info(f"{settings.precision}, {recipe}: F1 {before['f1']:.2f} -> {after['f1']:.2f}")
        if before["f1"] - after["f1"] <= settings.max_loss:
            found = {"recipe": recipe, "scores": {"n": len(judged), "before": before, "after": after}}
            convert.write_metadata(directory, **found)
            return found
    problem = f"loses too much: F1 {before['f1']:.2f} -> {after['f1']:.2f} on {len(judged)} questions"
    other = "--format openvino, or --precision fp32" if settings.format == "onnx" else "--precision bf16"
    other = "--precision fp32" if settings.precision == "bf16" else other
    remedy = f"Nothing was written. Try {other}, or accept it with a --max-loss above {settings.max_loss:g}."
    raise UserError(settings.model, f"{settings.precision} {problem}", remedy)


# ---------------------------------------------------------------------------------------------------- settings
def _check_output(settings: ExportSettings) -> None:
    check_directory("--output", settings.output)
    problems, path = [], Path(settings.output)
    needed = ["output"] if settings.format == "web" else ["model", "output"]
    problems += [f"--{name}: is required" for name in needed if not getattr(settings, name)]
    if settings.runtime and settings.format != "web":
        problems.append("--runtime: is the page's, so it needs --format web")
    if settings.output and path.exists():
        ours = path.is_dir() and (not any(path.iterdir()) or _is_export(path))
        if not ours:
            problems.append(f"--output: {path} exists and is no export, so it is not replaced")
        elif not settings.overwrite and any(path.iterdir()):
            problems.append(f"--output: {path} holds an export already; replace it with --overwrite")
    _refuse(problems)


def _check_conversion(settings: ExportSettings) -> None:
    """What onnx and openvino ask of precision and data."""
    problems = []
    if settings.format == "onnx" and settings.precision == "bf16":
        problems.append("--precision bf16: onnxruntime has no bf16 on CPUs; take int8, or --format openvino")
    if settings.precision != "fp32" and not settings.data and not settings.skip_accuracy:
        problems.append(f"--data: is required, to measure what {settings.precision} costs; or give --skip-accuracy")
    elif settings.precision == "int8" and settings.format == "openvino" and not settings.data:
        problems.append("--data: is required, to calibrate int8 on (answers are not needed for that)")
    _refuse(problems)


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise UserError.from_problems("destila export", problems, "Run it with --help for every setting.")


def _is_export(path: Path) -> bool:
    return ModelMetadata.read(path).is_export


def _import_exporter(settings: ExportSettings) -> Any:
    """`destila.export.convert`, after checking that all libraries that this export needs are there."""
    extra = "openvino" if settings.format == "openvino" else "export"
    try:
        if extra == "openvino":
            from destila.inference.backends import openvino as openvino_backend  # noqa: F401

            if settings.precision == "int8":
                import nncf  # noqa: F401
        else:
            import onnx  # noqa: F401
            import onnxscript  # noqa: F401
        from destila.export import convert
    except ImportError as error:
        remedy = f"Install it: pip install 'destila[train,{extra}]'."
        raise UserError("destila export", f"needs {error.name}, which is not installed", remedy) from error
    return convert
