"""The demo: scikit-learn's diabetes data as two datasets joined on a key, from raw files to scored rows, as ordinary runs.

Data: Efron, Hastie, Johnstone, Tibshirani (2004), "Least Angle Regression", as shipped with scikit-learn (BSD-3).
"""

from __future__ import annotations

import csv
import gzip
import io
import logging
import time
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from esml_engine.errors import EsmlError, UsageError
from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.handing import OnProgress
from esml_engine.model import Model

log = logging.getLogger("esml.demo")
NAME = "demo"
PROJECT, MODEL = "project002", "m11_diabetes"
MEMBERS = [
    ("manager@demo", "project_manager"), ("engineer@demo", "data_engineer"), ("scientist@demo", "data_scientist"), ("analyst@demo", "analyst"), ("approver@demo", "approver"),
]  # fmt: skip
_PATIENT = ("age", "sex", "bmi", "bp")
_LABS = ("s1", "s2", "s3", "s4", "s5", "s6")
# date, first row, last row (of 442)
DELIVERIES = (("2026-09-01", 0, 240), ("2026-10-01", 240, 340), ("2026-11-01", 340, 400))
WAITING = ("2026-11-20", 400, 420)
TO_SCORE = ("2026-11-15", 420, 442)

_STEP = '''"""Patients: bronze -> silver."""


def step(df, ctx):
    """A body mass index and blood pressure per year of age say more than each alone."""
    df = df.drop_duplicates()
    df["bmi_age"] = (df["bmi"] / df["age"]).round(4)
    return df
'''
_SQL = """-- Labs: bronze -> silver. The ratio of total to HDL cholesterol is a known risk figure.
SELECT DISTINCT *, round(s1 / nullif(s3, 0), 3) AS cholesterol_ratio FROM bronze
"""


def rows() -> list[dict[str, str]]:
    """All 442 patients, each with an id."""
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise EsmlError("scikit-learn is not installed", hint="install the product with its dependencies")
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    data = gzip.decompress((folder / "diabetes_data_raw.csv.gz").read_bytes()).decode().split("\n")
    target = gzip.decompress((folder / "diabetes_target.csv.gz").read_bytes()).decode().split()
    out = []
    for n, (line, y) in enumerate(zip((x for x in data if x.strip()), target, strict=True)):
        values = line.split()
        names = (*_PATIENT, *_LABS)
        out.append(
            {
                "patient_id": str(1001 + n),
                **{k: f"{float(v):g}" for k, v in zip(names, values, strict=True)},
                "y": f"{float(y):g}",
            }
        )
    return out


def _csv(records: list[dict[str, str]], names: list[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def write_files(folder: Path) -> dict[str, list[Path]]:
    """IN files as a hospital would deliver them; one of them has broken rows."""
    folder.mkdir(parents=True, exist_ok=True)
    everything = rows()
    out: dict[str, list[Path]] = {}
    for kind, (date, a, b) in [
        *(("train", d) for d in DELIVERIES),
        ("train", WAITING),
        ("inference", TO_SCORE),
    ]:
        part = everything[a:b]
        patient = [*(["patient_id"]), *_PATIENT, *(["y"] if kind == "train" else [])]
        texts = {
            f"patients-{date}.csv": _csv(part, patient),
            f"labs-{date}.csv": _csv(part, ["patient_id", *_LABS]),
        }
        if date == "2026-10-01":
            lines = texts[f"patients-{date}.csv"].splitlines()
            lines.insert(11, "2001,forty,1,25.1,88,140")
            lines.insert(30, "2002,51,2,27.3")
            lines.insert(57, "2003,44,1,n/a,90,97")
            texts[f"patients-{date}.csv"] = "\n".join(lines) + "\n"
        for name, text in texts.items():
            path = folder / name
            path.write_text(text, encoding="utf-8")
            out.setdefault(f"{kind}/{date}", []).append(path)
    return out


def make(root: Path) -> Estate:
    """The demo estate's settings and steps; an interrupted one goes on.

    Raises:
        UsageError: another estate is there.
    """
    if (root / "estate.toml").exists():
        if tomllib.loads((root / "estate.toml").read_text(encoding="utf-8")).get("name") != NAME:
            raise UsageError(
                f"{root} holds an estate that is not the demo", hint="name another folder: esml demo DIR"
            )
    else:
        init_estate(root, name=NAME)
    estate = open_estate(root)
    if PROJECT not in estate.site.files.projects:
        estate.new_project(PROJECT, "care-analytics", "manager@demo", "care@demo", "medium")
        estate = open_estate(root)
    folder = root / "projects" / PROJECT / MODEL
    if not (folder / "model.toml").exists():
        estate.new_model(
            f"{PROJECT}/{MODEL}", "regression", ["ds01_diabetes", "ds02_labs"], label="y", key="patient_id"
        )
    path = folder / "model.toml"
    text = path.read_text(encoding="utf-8")
    if "cholesterol" not in text:
        path.write_text(_settings(text), encoding="utf-8")
    (folder / "steps" / "ds01_diabetes.py").write_text(_STEP, encoding="utf-8")
    (folder / "steps" / "ds02_labs.sql").write_text(_SQL, encoding="utf-8")
    estate = open_estate(root)
    for actor, role in MEMBERS:
        estate.member_add(PROJECT, actor, role)
    return estate


def _settings(text: str) -> str:
    """The demo's own values in the written settings: expectations, and a profile limited by trials."""
    expect = """[[datasets.ds01_diabetes.expect]]
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

[split]"""
    text = text.replace("[split]", expect, 1)
    head, labs = text.split("[datasets.ds02_labs]\n", 1)
    types = ", ".join(f'{c} = "float64"' for c in _LABS)  # most values look whole, some are not
    text = f"{head}[datasets.ds02_labs]\ntypes = {{ {types} }}\n{labs}"
    return text.replace(
        "[train.dev]\nseconds = 15\ntrials = 20\nfolds = 5",
        "[train.dev]\nseconds = 60               # limited by its trials, so that it is the same everywhere\ntrials = 6\nfolds = 3",
    )


def run_cycle(model: Model, files: dict[str, list[Path]]) -> None:
    """IN to scored rows; what is done already is not done again."""

    def deliver(kind: str, date: str) -> None:
        patients, labs = files[f"{kind}/{date}"]
        purpose: Any = kind
        model.dataset("ds01_diabetes").ingest(patients, date=date, purpose=purpose)
        model.dataset("ds02_labs").ingest(labs, date=date, purpose=purpose)

    done = {r["act"]: r for r in model.estate.runs(state="done", limit=1000)}
    count = sum(r["act"] == "train" for r in model.estate.runs(state="done", limit=1000))
    deliver("train", DELIVERIES[0][0])
    deliver("train", DELIVERIES[1][0])
    if count == 0:
        model.refine()
        model.split()
        model.train()
    if "deploy" not in done:
        model.deploy()
    deliver("train", DELIVERIES[2][0])
    if count < 2:
        model.refine()
        model.split()
        model.train()
    deliver("inference", TO_SCORE[0])
    model.refine(purpose="inference")
    model.score_batch(caller="nightly")
    example = model.to_score.read().drop(columns=["patient_id"])
    for caller, part in (("web", example.head(6)), ("ward-3", example.iloc[6:9])):
        model.score(part, caller=caller, request_id=f"demo-{caller}")
    deliver("train", WAITING[0])


def run_demo(root: Path, *, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """`esml demo`: the whole cycle; `{"models", "seconds"}`."""
    began = time.monotonic()
    estate = make(root)
    estate.hand.on_progress = on_progress
    files = write_files(estate.site.state / "demo")
    model = estate.project(PROJECT).model(MODEL)
    with estate.hand.holding(warm=True):
        run_cycle(model, files)
    return {"models": summary(estate), "seconds": round(time.monotonic() - began, 1)}


def summary(estate: Estate) -> list[dict[str, Any]]:
    """Stage, metric and value of each model."""
    out = []
    for s in estate.status():
        best = next(
            (e for e in reversed(list(s["environments"].values())) if e["champion"] is not None), None
        )
        out.append(
            {
                "model": s["model"],
                "stage": s["stage"],
                "metric": best["metric"] if best else None,
                "value": best["value"] if best else None,
            }
        )
    return out


def drive(root: Path) -> None:
    """The demo's cycle beside a worker that is up: a person watches its runs."""
    try:
        estate = make(root)
        files = write_files(estate.site.state / "demo")
        run_cycle(estate.project(PROJECT).model(MODEL), files)
    except EsmlError as e:
        log.error("the demo stopped: %s (%s)", e.message, e.hint)
