"""Every setting of every command: frozen dataclasses, nothing else. The docstring under a field is its help.

A settings file is TOML with one table per nested dataclass; the command line overrides it with `--table.key value`.
`destila.resolution` turns both into these classes and reports all mistakes at once. Importing this package is cheap.
"""

from destila.settings.serving import LimitSettings, QueueSettings, ServeSettings
from destila.settings.training import (
    DataSettings,
    DistillSettings,
    FinetuneSettings,
    LossSettings,
    ModelSettings,
    ShapeSettings,
    StudentSettings,
    TeacherSettings,
    TrainingCommandSettings,
    TrainingSettings,
    WindowSettings,
)
from destila.settings.usage import (
    AnswerSettings,
    DataCheckSettings,
    DataConvertSettings,
    DataFetchSettings,
    EvaluateSettings,
)

__all__ = [
    "AnswerSettings",
    "DataCheckSettings",
    "DataConvertSettings",
    "DataFetchSettings",
    "DataSettings",
    "DistillSettings",
    "EvaluateSettings",
    "FinetuneSettings",
    "LimitSettings",
    "LossSettings",
    "ModelSettings",
    "QueueSettings",
    "ServeSettings",
    "ShapeSettings",
    "StudentSettings",
    "TeacherSettings",
    "TrainingCommandSettings",
    "TrainingSettings",
    "WindowSettings",
]
