"""Every setting of every command: frozen dataclasses, nothing else. The docstring under a field is its help.

A settings file is TOML with one table per nested dataclass; the command line overrides it with `--table.key value`.
`destila.config.loader` turns both into these classes and reports all mistakes at once. Importing this package is cheap.
"""

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
