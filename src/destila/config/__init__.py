"""Every setting of every command: frozen dataclasses, nothing else. The docstring under a field is its help.

A settings file is TOML with one table per nested dataclass; the command line overrides it with `--table.key value`.
`destila.config.loader` turns both into these classes and reports all mistakes at once. Importing this package is cheap:
a module of it is read when one of its names is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from destila.config.adapt import AdaptSettings
    from destila.config.annotate import AnnotateSettings
    from destila.config.answer import (
        AnswerSettings,
        BenchSettings,
        DataAugmentSettings,
        DataCheckSettings,
        DataConvertSettings,
        DataFetchSettings,
        EvaluateSettings,
        ExportSettings,
        VariationSettings,
    )
    from destila.config.distill import (
        DistillSettings,
        DistillStageSettings,
        LossSettings,
        StudentSettings,
        TeacherSettings,
        UnlabeledSettings,
    )
    from destila.config.documents import DocumentSettings, FolderSettings, UploadSettings
    from destila.config.generate import DataGenerateSettings, FilterSettings, GenerationSettings, GeneratorSettings
    from destila.config.guarantees import CalibrateSettings, CertifySettings
    from destila.config.mcp import McpSettings
    from destila.config.pretrain import (
        ClozeSettings,
        MaskingSettings,
        PretrainedModelSettings,
        PretrainSettings,
        TextSettings,
    )
    from destila.config.publish import CardSettings, PushSettings
    from destila.config.report import ReportSettings
    from destila.config.serve import LimitSettings, QueueSettings, ServeSettings
    from destila.config.training import (
        CALL_SETTINGS,
        DataSettings,
        FinetuneSettings,
        ModelSettings,
        RunSettings,
        ShapeSettings,
        StageSettings,
        TrainingCommandSettings,
        TrainingSettings,
        WindowSettings,
    )
    from destila.config.trim import TrimSettings

__all__ = ["CALL_SETTINGS", "AdaptSettings", "AnnotateSettings", "AnswerSettings", "BenchSettings"]
__all__ += ["CalibrateSettings", "CardSettings", "CertifySettings", "ClozeSettings"]
__all__ += ["DataAugmentSettings", "DataCheckSettings", "DataConvertSettings", "DataFetchSettings"]
__all__ += ["DataGenerateSettings", "DataSettings", "FilterSettings", "GenerationSettings", "GeneratorSettings"]
__all__ += ["DistillSettings", "DistillStageSettings", "DocumentSettings", "EvaluateSettings", "ExportSettings"]
__all__ += ["FinetuneSettings", "FolderSettings", "LimitSettings", "LossSettings", "MaskingSettings", "McpSettings"]
__all__ += ["ModelSettings"]
__all__ += ["PretrainSettings", "PretrainedModelSettings", "PushSettings", "QueueSettings", "ReportSettings"]
__all__ += ["RunSettings", "ServeSettings", "ShapeSettings", "StageSettings", "StudentSettings", "TeacherSettings"]
__all__ += ["TextSettings", "TrainingCommandSettings", "TrainingSettings", "TrimSettings", "UnlabeledSettings"]
__all__ += ["UploadSettings", "VariationSettings", "WindowSettings"]

_NAMES = {
    "adapt": ("AdaptSettings",),
    "annotate": ("AnnotateSettings",),
    "answer": (
        "AnswerSettings",
        "BenchSettings",
        "DataAugmentSettings",
        "DataCheckSettings",
        "DataConvertSettings",
        "DataFetchSettings",
        "EvaluateSettings",
        "ExportSettings",
        "VariationSettings",
    ),
    "distill": (
        "DistillSettings",
        "DistillStageSettings",
        "LossSettings",
        "StudentSettings",
        "TeacherSettings",
        "UnlabeledSettings",
    ),
    "documents": ("DocumentSettings", "FolderSettings", "UploadSettings"),
    "generate": ("DataGenerateSettings", "FilterSettings", "GenerationSettings", "GeneratorSettings"),
    "guarantees": ("CalibrateSettings", "CertifySettings"),
    "mcp": ("McpSettings",),
    "pretrain": ("ClozeSettings", "MaskingSettings", "PretrainedModelSettings", "PretrainSettings", "TextSettings"),
    "publish": ("CardSettings", "PushSettings"),
    "report": ("ReportSettings",),
    "serve": ("LimitSettings", "QueueSettings", "ServeSettings"),
    "training": (
        "CALL_SETTINGS",
        "DataSettings",
        "FinetuneSettings",
        "ModelSettings",
        "RunSettings",
        "ShapeSettings",
        "StageSettings",
        "TrainingCommandSettings",
        "TrainingSettings",
        "WindowSettings",
    ),
    "trim": ("TrimSettings",),
}


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names:
            return getattr(import_module(f"destila.config.{module}"), name)
    raise AttributeError(f"module 'destila.config' has no attribute {name!r}")
