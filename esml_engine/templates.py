"""The settings files that `init` and `new …` write: every key present, defaults shown, what a person must fill marked."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from esml_engine.errors import UsageError
from esml_engine.platforms.places import kinds

GITIGNORE = ".esml/\nlake/\ntracking/\n"


# a task's primary metric, and a limit as an example
_METRICS = {
    "regression": ("rmse", "floor = { r2 = 0.3 }"),
    "classification": ("auc", "floor = { auc = 0.7 }"),
    "forecasting": ("mase", "ceiling = { mase = 1.0 }"),
}


def _text(value: str) -> str:
    """A text as TOML writes it: a basic string, whose escapes are JSON's."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def as_toml(value: Any) -> str:
    """A value as TOML writes it; a text stays as it is, since it may be TOML already.

    Raises:
        UsageError: TOML has no such value.
    """
    return value if isinstance(value, str) else _inline(value)


def _inline(value: Any) -> str:
    match value:
        case str():
            return _text(value)
        case bool():
            return "true" if value else "false"
        case Integral():
            return str(int(value))
        case Real():
            return repr(float(value))
        case dt.date():
            return value.isoformat()
        case Mapping():
            return f"{{{', '.join(f'{_text(str(k))} = {_inline(v)}' for k, v in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(_inline, value))}]"
    raise UsageError(
        f"a setting can't be {value!r}",
        hint="give a text, a number, true or false, a date, or lists and tables of them",
    )


def estate_toml(name: str, environments: list[str]) -> str:
    """estate.toml."""
    choices = " | ".join(
        f"{kind} (then: {', '.join(place.needed())}; see docs/{kind}.md)" if place.needed() else kind
        for kind, place in kinds().items()
    )
    envs = "".join(f'[environments.{e}]\nplatform = "local"          # {choices}\n\n' for e in environments)
    return f"""# What the whole company shares. Values that stand commented out are the defaults.
name = {_text(name)}
currency = "EUR"

{envs}[prices]                      # per node hour
"local.small" = 0.10
"local.large" = 0.40
storage_gb_month = 0.02
as_of = "2026-11-01"

[policy]                      # [policy.prod] overrides for one environment; the same tables in project.toml and model.toml
# nodes = ["local.small"]
# max_nodes = 1
# max_cost_run = 5.0          # held against p90, or the upper bound without history
# max_cost_month = 200.0
# max_train_seconds = 600
# over = "refuse"             # refuse | ask
# approvals = 0               # people other than the requester, for promotion into this environment
# evidence = "target"         # target | source

[serving]
# ports = "8600-8699"

[worker]
# jobs = 2                    # side by side
# max_step_seconds = 900      # a step that takes longer is ended; the upper bound of a prediction rests on it
"""


def project_toml(team: str, owner: str, contact: str, risk: str) -> str:
    """project.toml."""
    who = "" if owner else "                    # FILL IN: who answers for it"
    where = "" if contact else "                  # FILL IN: how its people are reached"
    return f"""# One team with its own data, access and budget.
team = {_text(team)}
owner = {_text(owner)}{who}
contact = {_text(contact)}{where}
risk = {_text(risk)}               # low | medium | high

[budget]
# month = 100.0

[policy]                      # overrides the estate's for this project; [policy.prod] for one environment
"""


def model_toml(params: dict[str, Any], environments: list[str]) -> str:
    """model.toml."""
    task, label, key = params["task"], params.get("label") or "", params.get("key") or ""
    primary, floor = _METRICS.get(task, _METRICS["regression"])
    bound, _, example = floor.partition(" = ")
    floor, ceiling = (f", e.g. {example}" if bound == kind else "" for kind in ("floor", "ceiling"))
    must = "" if label or task == "analytics" else "                    # FILL IN: the column to predict"
    datasets = "".join(
        f"""[datasets.{d}]
# format = "csv"              # csv | parquet
# delimiter = ","
# encoding = "utf-8"
# null = ""
# types = {{ }}                 # e.g. {{ age = "int64" }}; what is not declared is inferred from the first file, then fixed
# arrives = ""                # a promise, e.g. "daily 06:00"
# drift = "warn"              # evolve | warn | fail
# rows = false                # true: your step works row by row, so only new rows pass through it
# [[datasets.{d}.expect]]
# on = "silver"               # bronze | silver; [[expect]] at the top is gold's
# check = "not_null"          # not_null | unique | in_range (min, max) | in_set (values) | regex (pattern) | row_count (min, max)
# column = "age"
# level = "error"             # error: the layer stops | warn: shown

"""
        for d in params["datasets"]
    )
    members = (
        '["theta", "ets", "linear", "lightgbm", "mstl"]'
        if task == "forecasting"
        else '["lightgbm", "xgboost", "extra_trees", "linear", "perpetual"]'
    )
    search = "" if task == "forecasting" else '# search = "portfolio"        # portfolio | flaml\n'
    by = (
        'by = "time"                   # oldest rows train, newest test'
        if task == "forecasting"
        else '# by = "key"                  # key | group | time'
    )
    profiles = "".join(
        f'''[train.{e}]
seconds = {15 if e == "dev" else 60}
trials = 20
folds = 5
{search}# estimators = {members}
metric = "{primary}"
# seed = 1
# mode = "auto"               # auto: steps/train.py where there is one, else automl | automl | custom

'''
        for e in environments
    )
    rnd = "\n".join(f"# {e} = false" for e in environments) + "\n"
    serving = "\n".join(
        f"[serving.{e}]\n# instances = 1\n# save = true                 # false: answered requests are not kept in scored\n"
        for e in environments
        if task != "analytics"
    )
    forecast = ""
    if task == "forecasting":
        series = ", ".join(_text(s) for s in params.get("series") or [])
        known = ", ".join(_text(s) for s in params.get("known") or [])
        fill_in = (
            "" if params.get("time_column") else "              # FILL IN: the column of dates or timestamps"
        )
        forecast = f"""
[forecast]
time_column = {_text(params.get("time_column") or "")}{fill_in}
series = [{series}]                   # many series come later
horizon = {1 if params.get("horizon") is None else params["horizon"]}                   # steps of one forecast
frequency = {_text(params.get("frequency") or "")}               # pandas' alias: D, B, W, MS, QS, h, 15min …; empty: inferred from regular timestamps
known = [{known}]                    # numbers whose future is known when a forecast is asked for
"""
    return f'''# One use case. Values that stand commented out are the defaults.
task = "{task}"
label = {_text(label)}{must}
key = {_text(key)}                      # the column that joins datasets and names a row

{datasets}[split]
train = 0.6
validate = 0.2
test = 0.2
# seed = 1
{by}
# stratify = false            # true: the label's shares are equal on all sides, but a row's side then depends on the rows before it; by key alone it is the same in every environment
# group = ""

{profiles if task != "analytics" else ""}[gates]
# min_gain = {{ }}              # e.g. {{ {primary} = 0.0 }}, in the metric's unit; positive = better, also where lower is better
# floor = {{ }}                 # the least of a score{floor}
# ceiling = {{ }}               # the most of an error{ceiling}
# interval = []
# weights = {{}}
# max_cost_1000_rows = 0.5

[rnd]                         # R&D mode: a fifth of IN (a series whole), one version kept, nothing promotable
{rnd}
{serving}{forecast}
[policy]                      # overrides the project's for this model
'''
