"""The leaderboard's page: the best of each environment, all candidates, and two to four of them beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cockpit.views.model import against
from cockpit.views.promotion import Asked, asked_up
from cockpit.words import duration, metric, money, value
from esml_engine.training.facts import DIRECTION

MOST = 4
"""How many candidates can stand beside each other."""


def id_of(row: Mapping[str, Any]) -> str:
    """A candidate's name in an address: its run, and its estimator where the run left several."""
    return f"{row['run']}:{row['estimator']}"


def trainings(rows: Sequence[Mapping[str, Any]]) -> int:
    """How many trainings left these candidates; a promotion trains nothing."""
    return len({r["run"] for r in rows if r["cost"] is not None})


def with_costs(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The candidates, each with what its training cost, also where it was promoted to."""
    its = {r["model_version"]: r["cost"] for r in rows if r["cost"] is not None}
    return [
        {**r, "training_cost": its.get(r["model_version"]) if r["cost"] is None else r["cost"]} for r in rows
    ]


@dataclass(frozen=True)
class Best:
    """One environment's line."""

    env: str
    version: str
    value: str
    against: str
    data: str
    state: str
    icon: str
    color: str
    coverage: str = ""


def nothing_newer(rows: Sequence[Mapping[str, Any]], env: str, up: str) -> str:
    """That the newest version of `env` leads in `up` already; '' where something could go up."""
    leads = next((r["model_version"] for r in rows if r["env"] == up and r["alias"] == "champion"), None)
    newest = max((r["model_version"] or 0 for r in rows if r["env"] == env), default=0)
    return (
        f"v{leads}, the newest of {env}, is the champion of {up} already."
        if leads and leads >= newest
        else ""
    )


def way_up(rows: Sequence[Mapping[str, Any]], env: str, up: str, asked: Asked) -> tuple[str, str]:
    """(why nothing goes up now, '') or ('', what the way to Promotion offers).

    Args:
        asked: by environment, what became of requests for versions.
    """
    if said := nothing_newer(rows, env, up):
        return said, ""
    waits = [v for v, b in asked.get(up, {}).items() if b.state == "waiting"]
    return "", (
        f"See the request for v{max(waits)} into {up}" if waits else f"Compare, and ask for promotion to {up}"
    )


def best(
    rows: Sequence[Mapping[str, Any]],
    main: str,
    environments: Sequence[str],
    became: Asked | None = None,
    covered: Mapping[tuple[str, int], str] | None = None,
) -> list[Best]:
    """The champion of each environment, else its best candidate; rows come best first.

    `became`: by environment, what became of requests for versions. `covered`: what `intervals.by_version` says of a
    forecast's versions.
    """
    out = []
    for env in environments:
        here = [r for r in rows if r["env"] == env and r["metrics"].get(main) is not None]
        champion = next((r for r in here if r["alias"] == "champion"), None)
        r = champion or next(iter(here), None)
        if r is None:
            out.append(Best(env, "", "", "", "", "nothing trained yet", "remove", "gray"))
            continue
        state, icon, color = _state(r, became or {})
        version = f"v{r['model_version']}" if r["model_version"] is not None else "not registered"
        out.append(
            Best(
                env,
                version,
                with_interval(r, main),
                against(r["metrics"].get(main), r["baseline"].get(main), main)[0],
                _data(r),
                state,
                icon,
                color,
                (covered or {}).get((env, r["model_version"]), ""),
            )
        )
    return out


def _state(r: Mapping[str, Any], became: Asked) -> tuple[str, str, str]:
    b = asked_up(r, became)
    if b:
        word, icon, color = (
            ("waits", "hourglass_top", "orange") if b.state == "waiting" else ("refused", "block", "red")
        )
        return f"{word} for {r['ready_to']}", icon, color
    if r["ready"]:
        return f"ready for {r['ready_to']}", "check", "green"
    if r["alias"] == "champion":
        return "champion", "lock", "gray"
    bad = [g["gate"] for g in r["gates"] if not g["passed"]]
    return (f"refused by {', '.join(bad)}", "block", "red") if bad else ("candidate", "flag", "blue")


def with_interval(r: Mapping[str, Any], main: str) -> str:
    """`53.1 (51.9–54.2)`: the metric and its 95 % interval, where the training left one."""
    low_high = (r.get("intervals") or {}).get(main)
    text = value(r["metrics"].get(main))
    return f"{text} ({value(low_high[0])}–{value(low_high[1])})" if low_high else text


def _data(r: Mapping[str, Any]) -> str:
    return f"gold v{r['data']['gold']}" if r["data"].get("gold") else ""


def facts(
    r: Mapping[str, Any],
    run: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
    names: Sequence[str],
    currency: str,
    covered: Mapping[tuple[str, int], str] | None = None,
) -> dict[str, Any]:
    """Everything that two candidates may differ in, by name; numbers stay numbers where better can be said."""
    out: dict[str, Any] = {
        "Environment": r["env"],
        "Version": f"v{r['model_version']}" if r["model_version"] is not None else "not registered",
        "Estimator": r["estimator"].replace("_", " "),
    }
    for n in names:
        out[metric(n)] = r["metrics"].get(n)
    for n in names[:1]:
        out[f"Baseline {metric(n)}"] = value(r["baseline"].get(n))
    if covered:
        out["Intervals"] = covered.get((r["env"], r["model_version"]), "not measured")
    for table in ("gold", "gold_train", "gold_validate", "gold_test"):
        if r["data"].get(table):
            out[f"Data: {table}"] = f"v{r['data'][table]}"
    for k, v in settings.items():
        out[f"Profile: {k.replace('_', ' ')}"] = _setting(v)
    out["Time"] = duration(run["seconds"]) if run and run["seconds"] is not None else ""
    out["Training cost"] = money(r["training_cost"], currency) if r["training_cost"] is not None else ""
    out["By"] = (run["as"] or run["actor"]) if run else ""
    out["Gates"] = ", ".join(g["gate"] for g in r["gates"] if not g["passed"]) or "passed"
    return out


def _setting(v: Any) -> str:
    """A setting as words: `min gain rmse 0, interval rmse` for a table of them."""
    if isinstance(v, Mapping):
        said = (
            f"{k.replace('_', ' ')} {_setting(x)}".strip()
            for k, x in v.items()
            if x not in ({}, [], None, "")
        )
        return ", ".join(said) or "none"
    if isinstance(v, list | tuple):
        return ", ".join(map(str, v)) or "none"
    return "yes" if v is True else "no" if v is False else f"{v:g}" if isinstance(v, float) else str(v)


def trained_in(rows: Sequence[Mapping[str, Any]], environments: Sequence[str]) -> dict[int, str]:
    """Version -> the run that trained it: that of its line in the first environment where it stands; the others are promotions."""
    first = sorted(rows, key=lambda r: environments.index(r["env"]), reverse=True)
    return {r["model_version"]: r["run"] for r in first if r["model_version"] is not None}


def unregistered(rows: Sequence[Mapping[str, Any]], env: str) -> set[str]:
    """Runs of an environment of which no candidate became a version."""
    its = {r["run"] for r in rows if r["env"] == env}
    return its - {r["run"] for r in rows if r["model_version"] is not None}


def beside(found: Sequence[Mapping[str, Any]], names: Sequence[str], *, all_: bool) -> list[list[str]]:
    """Lines `[fact, first, second, …]`; only those that differ unless `all_`; the best value of a metric in bold."""
    directions = {metric(n): DIRECTION.get(n, 1) for n in names}
    keys = list(dict.fromkeys(k for f in found for k in f))
    out = []
    for k in keys:
        values = [f.get(k) for f in found]
        if not all_ and len({repr(v) for v in values}) == 1:
            continue
        numbers = [v for v in values if isinstance(v, float | int)]
        top = (max(numbers) if directions[k] > 0 else min(numbers)) if k in directions and numbers else None
        out.append([k, *(_said(v, top, "not measured" if k in directions else "none") for v in values)])
    return out


def _said(v: Any, top: float | None, missing: str) -> str:
    if v is None:
        return missing
    text = value(v) if isinstance(v, float | int) else str(v)
    return f"**{text}**" if top is not None and v == top else text


def on_other_rows(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether these candidates were measured on different test rows: their values can't be compared."""
    return len({(r["env"], r["data"].get("gold_test")) for r in rows}) > 1
