"""The demo's estate: three environments, two teams, four models with their steps, five people with their roles."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from esml_engine.demo import data
from esml_engine.errors import UsageError
from esml_engine.estate import Estate, init_estate, open_estate

NAME = "demo"
DIABETES, CANCER, REPORT = "project002/m11_diabetes", "project002/m12_tumour", "project002/m13_risk_report"
CO2 = "project003/m21_co2"
MODELS = (DIABETES, CANCER, REPORT, CO2)
PROJECTS = {
    "project002": ("care-analytics", "manager@demo", "care@demo", "medium"),
    "project003": ("climate", "manager@demo", "climate@demo", "low"),
}
MANAGER, ENGINEER, SCIENTIST = "manager@demo", "engineer@demo", "scientist@demo"
ANALYST, APPROVER = "analyst@demo", "approver@demo"
MEMBERS = (
    (MANAGER, "project_manager"), (ENGINEER, "data_engineer"), (SCIENTIST, "data_scientist"), (ANALYST, "analyst"),
    (APPROVER, "approver"),
)  # fmt: skip

_PATIENTS = '''"""Patients: bronze -> silver."""


def step(df, ctx):
    """A body mass index and blood pressure per year of age say more than each alone."""
    df = df.drop_duplicates()
    df["bmi_age"] = (df["bmi"] / df["age"]).round(4)
    return df
'''
_LABS = """-- Labs: bronze -> silver. The ratio of total to HDL cholesterol is a known risk figure.
SELECT DISTINCT *, round(s1 / nullif(s3, 0), 3) AS cholesterol_ratio FROM bronze
"""
_WEEKLY = '''"""Weekly measurements: bronze -> silver, one row a month."""

import pandas as pd


def step(df, ctx):
    """The mean of a month's weeks; a month without a measurement lies between its neighbours."""
    weekly = df.dropna(subset=["week"]).drop_duplicates("week").set_index("week")["co2"]
    weekly.index = pd.to_datetime(weekly.index)
    monthly = weekly.resample("MS").mean().interpolate()
    return monthly.round(3).rename_axis("month").reset_index()
'''
_REPORT = """-- Gold: one row for each age group and sex, as the report shows it.
SELECT CAST(floor(age / 10) * 10 AS INTEGER) AS age_from, sex, count(*) AS patients,
       round(avg(bmi), 2) AS mean_bmi, round(avg(bp), 1) AS mean_blood_pressure,
       round(avg(CASE WHEN bmi >= 30 THEN 1.0 ELSE 0.0 END), 3) AS share_obese
FROM ds01_patients GROUP BY ALL ORDER BY ALL
"""
STEPS = {
    DIABETES: {"ds01_diabetes.py": _PATIENTS, "ds02_labs.sql": _LABS},
    CO2: {"ds01_weekly.py": _WEEKLY},
    REPORT: {"gold.sql": _REPORT},
}
# limited by trials, so that it is the same everywhere
_QUICK = {"seconds": "60", "trials": "6", "folds": "3"}
_EXPECT = """[[datasets.ds01_diabetes.expect]]
on = "silver"
check = "not_null"
column = "age"
level = "error"

[[datasets.ds01_diabetes.expect]]
on = "silver"
check = "in_range"
column = "bmi"
min = 15
max = 40
level = "warn"

[[datasets.ds02_labs.expect]]      # cholesterol_ratio comes from the step
on = "silver"
check = "unique"
column = "patient_id"
level = "error"

"""
_TUMOUR_EXPECT = """[[expect]]
check = "in_set"
column = "diagnosis"
values = ["malignant", "benign"]
level = "error"

"""


def make(root: Path) -> Estate:
    """The demo estate's settings and steps; an interrupted one goes on.

    Raises:
        UsageError: another estate is there.
    """
    path = root / "estate.toml"
    if path.exists():
        if tomllib.loads(path.read_text(encoding="utf-8")).get("name") != NAME:
            raise UsageError(
                f"{root} holds an estate that is not the demo", hint="name another folder: esml demo DIR"
            )
    else:
        init_estate(root, name=NAME)
        text = path.read_text(encoding="utf-8")
        path.write_text(
            text.replace("[serving]\n", "[policy.prod]\napprovals = 1\n\n[serving]\n", 1), encoding="utf-8"
        )
    estate = open_estate(root)
    for name, (team, owner, contact, risk) in PROJECTS.items():
        if name not in estate.site.files.projects:
            estate.new_project(name, team, owner, contact, risk)
    estate = open_estate(root)
    _new(estate, DIABETES, "regression", ["ds01_diabetes", "ds02_labs"], label="y", key="patient_id")
    _new(estate, CANCER, "classification", ["ds01_tissue"], label="diagnosis", key="sample_id")
    _new(estate, REPORT, "analytics", ["ds01_patients"])
    forecast = {"time_column": "month", "horizon": 12, "frequency": "MS"}
    _new(estate, CO2, "forecasting", ["ds01_weekly"], label="co2", forecast=forecast)
    for model, steps in STEPS.items():
        folder = root / "projects" / model / "steps"
        folder.mkdir(parents=True, exist_ok=True)
        for name, code in steps.items():
            (folder / name).write_text(code, encoding="utf-8")
    estate = open_estate(root)
    for project in PROJECTS:
        for actor, role in MEMBERS:
            estate.member_add(project, actor, role)
    return estate


def _new(estate: Estate, model: str, task: str, datasets: list[str], **more: object) -> None:
    path = estate.site.root / "projects" / model / "model.toml"
    if not path.exists():
        estate.new_model(model, task, datasets, **more)  # type: ignore[arg-type]
        path.write_text(_own_values(model, path.read_text(encoding="utf-8")), encoding="utf-8")


def _own_values(model: str, text: str) -> str:
    """The demo's own values in a model's written settings."""
    for env in ("dev", "test", "prod"):
        text = filled(text, f"train.{env}", _QUICK)
    if model == DIABETES:
        types = ", ".join(f'{c} = "float64"' for c in data.LABS)  # most values look whole, some are not
        text = filled(text, "datasets.ds02_labs", {"types": f"{{ {types} }}"})
        text = filled(text, "gates", {"min_gain": "{ rmse = -1.5 }", "floor": "{ r2 = 0.25 }"})
        return text.replace("[split]\n", _EXPECT + "[split]\n", 1)
    if model == CANCER:
        text = filled(text, "gates", {"min_gain": "{ auc = -0.02 }", "floor": "{ recall = 0.8 }"})
        return text.replace("[split]\n", _TUMOUR_EXPECT + "[split]\n", 1)
    if model == CO2:
        text = filled(text, "datasets.ds01_weekly", {"types": '{ week = "date", co2 = "float64" }'})
        return filled(text, "gates", {"min_gain": "{ mase = -0.2 }"})
    return text


def filled(text: str, table: str, values: dict[str, str]) -> str:
    """Set keys of a TOML table in text that names each of them, commented out or not; other lines stay."""
    head = f"[{table}]"
    start = next((m.end() for m in re.finditer(r"(?m)^\[[^\n\]]*\]", text) if m.group() == head), None)
    if start is None:
        return text
    stop = text.find("\n[", start)
    stop = len(text) if stop < 0 else stop
    block = text[start:stop]
    for key, value in values.items():
        line = re.compile(rf"(?m)^(# )?{key} = .*$")
        now = line.search(block)
        said = f"{key} = {value}"
        block = f"{block[: now.start()]}{said}{block[now.end() :]}" if now else f"\n{said}{block}"
    return text[:start] + block + text[stop:]
