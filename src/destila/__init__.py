"""Destila distills a large Spanish reader into a small one and answers questions with it.

>>> import destila
>>> reader = destila.Reader.load()  # the bundled model
>>> reader.answer("¿Quién fundó Lima?", "Lima fue fundada por Francisco Pizarro en 1535.").text
'Francisco Pizarro'

`generate`, `adapt`, `finetune`, `pretrain`, `distill`, `evaluate`, `calibrate`, `certify`, `export` and `benchmark` do
what commands do, return what they found and print nothing: progress goes to the function that `progress` names,
messages to the logger "destila". Importing this package loads neither torch nor transformers; names are fetched when
they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from destila.core.errors import UserError
    from destila.core.progress import Progress
    from destila.core.records import Answer, Example, Prediction, Report
    from destila.evaluation.calibrating import Calibrated, calibrate
    from destila.evaluation.certification import Certificate, certify
    from destila.evaluation.scoring import Evaluation, evaluate
    from destila.evaluation.timing import Benchmark, benchmark
    from destila.export.export import Exported, export
    from destila.inference.reader import Reader
    from destila.integrations.frames import answer_frame
    from destila.integrations.transformers_pipeline import pipeline
    from destila.training.adapt import Adapted, adapt
    from destila.training.distill import distill
    from destila.training.finetune import finetune
    from destila.training.generation import Generated, generate
    from destila.training.losses import Loss
    from destila.training.pretrain import pretrain
    from destila.training.task import TrainingResult

__all__ = ["Adapted", "Answer", "Benchmark", "Calibrated", "Certificate", "Evaluation", "Example", "Exported"]
__all__ += ["Generated", "Loss", "Prediction", "Progress", "Reader", "Report", "TrainingResult", "UserError", "adapt"]
__all__ += ["answer_frame", "benchmark", "calibrate", "certify", "distill", "evaluate", "export", "finetune"]
__all__ += ["generate", "pipeline", "pretrain"]

_NAMES = {
    "core.errors": ("UserError",),
    "core.progress": ("Progress",),
    "core.records": ("Answer", "Example", "Prediction", "Report"),
    "evaluation.calibrating": ("Calibrated", "calibrate"),
    "evaluation.certification": ("Certificate", "certify"),
    "evaluation.scoring": ("Evaluation", "evaluate"),
    "evaluation.timing": ("Benchmark", "benchmark"),
    "export.export": ("Exported",),
    "inference.reader": ("Reader",),
    "integrations.frames": ("answer_frame",),
    "integrations.transformers_pipeline": ("pipeline",),
    "training.adapt": ("Adapted", "adapt"),
    "training.distill": ("distill",),
    "training.finetune": ("finetune",),
    "training.generation": ("Generated", "generate"),
    "training.losses": ("Loss",),
    "training.pretrain": ("pretrain",),
    "training.task": ("TrainingResult",),
}


def __getattr__(name: str) -> Any:
    if name == "export":  # a package of that name, which can be called
        return import_module("destila.export")
    for module, names in _NAMES.items():
        if name in names:
            return getattr(import_module(f"destila.{module}"), name)
    if name == "__version__":
        return import_module("destila.core.runs").destila_version()
    raise AttributeError(f"module 'destila' has no attribute {name!r}")
