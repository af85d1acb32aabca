"""Estates made for measuring: settings files on disk and rows in the store, nothing in the lake.

python -m benchmarks.estates FOLDER MODELS
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from esml_engine import templates
from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.store import schema as t

PER_PROJECT = 20
ENVS = ("dev", "test", "prod")
AT = "2026-11-0{}T08:00:00.000000+00:00"


def make(folder: Path, models: int, per_project: int = PER_PROJECT) -> Estate:
    """An estate of so many models, trained in dev and with a champion there."""
    init_estate(folder)
    names = []
    for n in range(models):
        project, model = f"project{n // per_project:03d}", f"model{n:04d}"
        home = folder / "projects" / project / model
        home.mkdir(parents=True)
        if n % per_project == 0:
            (home.parent / "project.toml").write_text(
                templates.project_toml("team", "owner", "owner@example.com", "medium"), encoding="utf-8"
            )
        params = {"task": "regression", "datasets": ["ds01", "ds02"], "label": "y", "key": "id"}
        (home / "model.toml").write_text(templates.model_toml(params, list(ENVS)), encoding="utf-8")
        names.append(f"{project}/{model}")
    estate = open_estate(folder)
    with estate.site.store.write() as c:
        for table, row in (
            (t.in_files, _in_files),
            (t.versions, _versions),
            (t.model_versions, _trained),
            (t.champions, _champions),
            (t.runs, _runs),
        ):
            c.execute(table.insert(), [r for n, name in enumerate(names) for r in row(n, name)])
    return open_estate(folder)


def _in_files(n: int, name: str) -> list[dict[str, Any]]:
    row = {
        "object": name, "env": "dev", "purpose": "train", "date": "2026-10-31", "name": "a.csv", "sha256": "0" * 64,
        "path": "a.csv", "bytes": 1,
        "at": AT.format(1), "by": "bench", "stat": "1:1",
    }  # fmt: skip
    return [{**row, "dataset": d} for d in ("ds01", "ds02")]


def _versions(n: int, name: str) -> list[dict[str, Any]]:
    names = ["gold", "gold_validate", "gold_test", "gold_train"]
    names += [f"{d}/{layer}" for d in ("ds01", "ds02") for layer in ("bronze", "silver")]
    row = {
        "object": name, "env": "dev", "delta_version": 0, "rows": 400, "bytes": 10_000, "run": f"r-{n}", "step": "s",
        "by": "bench", "inputs": [], "code": "",
        "schema": "", "quality": [], "facts": {}, "note": None, "origin": "engine", "siblings": {}, "rnd": False,
    }  # fmt: skip
    return [
        {**row, "name": table, "version": v, "delta_version": v - 1, "at": AT.format(1 + v)}
        for table in names
        for v in (1, 2)
    ]


def _trained(n: int, name: str) -> list[dict[str, Any]]:
    row = {
        "object": name, "env": "dev", "run": f"r-{n}", "mlflow_run": "m", "task": "regression", "estimator": "blend",
        "baseline": {"rmse": 70.0}, "sha256": "0" * 64,
        "folder": "f", "inputs": [{"table": "gold", "version": 2}], "detail": {}, "at": AT.format(4), "by": "bench", "rnd": False,
    }  # fmt: skip
    metrics = {"rmse": 55.5, "r2": 0.47, "mae": 44.1, "mape": 0.38}
    return [{**row, "version": v, "registry_version": v, "metrics": metrics} for v in (1, 2)]


def _champions(n: int, name: str) -> list[dict[str, Any]]:
    return [
        {"object": name, "env": "dev", "version": 2, "previous": 1, "revision": 2, "aliased": 2, "at": AT.format(5),
            "by": "bench"}
    ]  # fmt: skip


def _runs(n: int, name: str) -> list[dict[str, Any]]:
    row = {
        "object": name, "env": "dev", "state": "done", "actor": "bench", "plan": {}, "params": {}, "created": AT.format(3),
        "predicted": {}, "result": {},
    }  # fmt: skip
    acts = ("refine", "split", "train")
    return [{**row, "run": f"r-{n}-{i}", "act": a, "plan_hash": f"{n}-{i}"} for i, a in enumerate(acts)]


def leaderboard_of(folder: Path, name: str, candidates: int) -> None:
    """A model's long past in dev: so many candidates, every fifth a registered version, every fiftieth compared with test.

    The comparisons are current: they were made against the environment test as it is.
    """
    from esml_engine.promotion.cases import case_of
    from esml_engine.refs import ModelRef

    site = open_estate(folder).site
    gates = [
        {"gate": g, "metric": "rmse", "passed": n % 3 > 0, "value": 55.0 + n, "reference": 70.0, "margin": 1.5,
            "reason": f"{g}: 55.0 against 70.0", "would_pass_if": None}
        for n, g in enumerate(("baseline", "floor:r2", "gain:rmse", "expectations", "signature", "rnd"))
    ]  # fmt: skip
    signature = [{"name": f"x{n}", "type": "double"} for n in range(12)]
    rows, versions, tables = [], [], []
    table = {**_versions(0, name)[0], "quality": [{"check": "not_null", "passed": True, "level": "error"}]}
    base = _trained(0, name)[0]
    for n in range(candidates):
        version = 10 + n // 5 if n % 5 == 0 else None
        metrics = {"rmse": 50.0 + (n * 7919 % 1000) / 50, "r2": 0.47, "mae": 44.1, "mape": 0.38}
        data = {"gold": 10 + n // 5, "gold_train": 10 + n // 5, "gold_validate": 10 + n // 5,
            "gold_test": 10 + n // 5}  # fmt: skip
        rows.append({
            "object": name, "env": "dev", "run": f"r-{n // 5:06d}", "estimator": f"e{n % 5}", "version": version,
            "metrics": metrics, "baseline": {"rmse": 70.0}, "data": data, "cost": 0.01,
            "at": AT.format(4), "verdict": {"verdict": "refuse", "gates": gates} if version else None,
        })  # fmt: skip
        if version:
            inputs = [{"table": k, "version": v} for k, v in data.items()]
            versions.append({**base, "version": version, "registry_version": version, "run": f"r-{n // 5:06d}",
                "metrics": metrics, "inputs": inputs, "detail": {"signature": signature}})  # fmt: skip
            tables += [{**table, "name": k, "version": v, "at": AT.format(3)} for k, v in data.items()]
    test = [
        {**table, "env": "test", "name": k, "version": 1, "at": AT.format(3), "siblings": {"gold_test": 1}}
        for k in ("gold_train", "gold_test")
    ]
    with site.store.write() as c:
        c.execute(t.candidates.insert(), rows)
        c.execute(t.model_versions.insert(), versions)
        c.execute(t.versions.insert(), [*tables, *test])
    ref = ModelRef.parse(name)
    cases = [case_of(site, ref, "dev", "test", v["version"]) for v in versions[::10]]
    with site.store.write() as c:
        c.execute(
            t.comparisons.insert(),
            [
                {
                    "comparison": f"c-{n}", "object": name, "version": case.challenger.version, "source": "dev", "target": "test",
                    "facts": case.facts, "verdict": "refuse",
                    "document": {"gates": gates, "case": case.document()}, "run": f"r-c{n}", "at": AT.format(5),
                }
                for n, case in enumerate(cases)
            ],
        )  # fmt: skip


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]))
