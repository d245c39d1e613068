"""Every setting of every command: frozen dataclasses, nothing else. The docstring under a field is its help.

A settings file is TOML with one table per nested dataclass; the command line overrides it with `--table.key value`.
`destila.resolution` turns both into these classes and reports all mistakes at once. Importing this package is cheap.
"""

from destila.settings.pretraining import (
    ClozeSettings,
    MaskingSettings,
    PretrainedModelSettings,
    PretrainSettings,
    TextSettings,
)
from destila.settings.serving import LimitSettings, QueueSettings, ServeSettings
from destila.settings.training import (
    CALL_SETTINGS,
    DataSettings,
    DistillSettings,
    FinetuneSettings,
    LossSettings,
    ModelSettings,
    RunSettings,
    ShapeSettings,
    StageSettings,
    StudentSettings,
    TeacherSettings,
    TrainingCommandSettings,
    TrainingSettings,
    WindowSettings,
)
from destila.settings.usage import (
    AnswerSettings,
    BenchSettings,
    DataCheckSettings,
    DataConvertSettings,
    DataFetchSettings,
    EvaluateSettings,
    ExportSettings,
)

__all__ = [
    "CALL_SETTINGS",
    "AnswerSettings",
    "BenchSettings",
    "ClozeSettings",
    "DataCheckSettings",
    "DataConvertSettings",
    "DataFetchSettings",
    "DataSettings",
    "DistillSettings",
    "EvaluateSettings",
    "ExportSettings",
    "FinetuneSettings",
    "LimitSettings",
    "LossSettings",
    "MaskingSettings",
    "ModelSettings",
    "PretrainSettings",
    "PretrainedModelSettings",
    "QueueSettings",
    "RunSettings",
    "ServeSettings",
    "ShapeSettings",
    "StageSettings",
    "StudentSettings",
    "TeacherSettings",
    "TextSettings",
    "TrainingCommandSettings",
    "TrainingSettings",
    "WindowSettings",
]
