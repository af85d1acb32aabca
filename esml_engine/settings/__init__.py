"""Settings: TOML files of the team's repository, validated, with the origin of every effective value."""

from esml_engine.settings.effective import Asked, Effective, Settings
from esml_engine.settings.files import Files, read_files
from esml_engine.settings.keys import (
    BUILT_IN_PRICES,
    ERRORS,
    ESTIMATORS,
    FORECASTERS,
    PRIMARY_METRIC,
    TASK_METRICS,
    DatasetSettings,
    EstateSettings,
    Expectation,
    ForecastSettings,
    GateSettings,
    ModelSettings,
    PolicySettings,
    ProjectSettings,
    ServingSettings,
    SplitSettings,
    TrainSettings,
)
from esml_engine.settings.overlay import Override, words
from esml_engine.settings.validation import KINDS, dig, flatten, load, validate

__all__ = [
    "BUILT_IN_PRICES", "ERRORS", "ESTIMATORS", "FORECASTERS", "KINDS", "PRIMARY_METRIC", "TASK_METRICS", "Asked", "DatasetSettings", "Effective",
    "EstateSettings", "Expectation", "Files", "ForecastSettings", "GateSettings", "ModelSettings", "Override", "PolicySettings",
    "ProjectSettings", "ServingSettings", "Settings", "SplitSettings", "TrainSettings", "dig", "flatten", "load", "read_files",
    "validate", "words",
]  # fmt: skip
