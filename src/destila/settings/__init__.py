"""Every setting of every command: frozen dataclasses, nothing else. The docstring under a field is its help.

A settings file is TOML with one table per nested dataclass; the command line overrides it with `--table.key value`.
`destila.resolution` turns both into these classes and reports all mistakes at once. Importing this package is cheap.
"""

from destila.settings.distilling import (
    DistillSettings,
    LossSettings,
    StageSettings,
    StudentSettings,
    TeacherSettings,
    UnlabelledSettings,
)
from destila.settings.documents import DocumentSettings, FolderSettings, UploadSettings
from destila.settings.pretraining import (
    ClozeSettings,
    MaskingSettings,
    PretrainedModelSettings,
    PretrainSettings,
    TextSettings,
)
from destila.settings.publishing import CardSettings, PushSettings
from destila.settings.reporting import ReportSettings
from destila.settings.serving import LimitSettings, QueueSettings, ServeSettings
from destila.settings.training import (
    CALL_SETTINGS,
    DataSettings,
    FinetuneSettings,
    ModelSettings,
    RunSettings,
    ShapeSettings,
    TrainingCommandSettings,
    TrainingSettings,
    WindowSettings,
)
from destila.settings.usage import (
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

__all__ = [
    "CALL_SETTINGS",
    "AnswerSettings",
    "BenchSettings",
    "CardSettings",
    "ClozeSettings",
    "DataAugmentSettings",
    "DataCheckSettings",
    "DataConvertSettings",
    "DataFetchSettings",
    "DataSettings",
    "DistillSettings",
    "DocumentSettings",
    "EvaluateSettings",
    "ExportSettings",
    "FinetuneSettings",
    "FolderSettings",
    "LimitSettings",
    "LossSettings",
    "MaskingSettings",
    "ModelSettings",
    "PretrainSettings",
    "PretrainedModelSettings",
    "PushSettings",
    "QueueSettings",
    "ReportSettings",
    "RunSettings",
    "ServeSettings",
    "ShapeSettings",
    "StageSettings",
    "StudentSettings",
    "TeacherSettings",
    "TextSettings",
    "TrainingCommandSettings",
    "TrainingSettings",
    "UnlabelledSettings",
    "UploadSettings",
    "VariationSettings",
    "WindowSettings",
]
