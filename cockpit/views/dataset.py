"""The dataset's page: which tables there are, a table's versions on a time line, its profile, what changed, its checks."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cockpit.words import ago, check_word, plural, value
from esml_engine.refs import TableName
from esml_engine.settings import ModelSettings

TABS = ("Preview", "Profile", "Changes", "Checks", "Quarantine", "Versions")
MENDED = "The next refinement mends rows after their file was delivered again under its name and date (its rows are replaced), or after the dataset's settings say another way to read it: types, delimiter, encoding, null or format (all of its files are read anew)."
"""How rows leave quarantine; checks keep none out."""


def quarantine_of(env: str, table: str) -> dict[str, str]:
    """Where a dataset's broken rows are read: beside the bronze that they were kept out of."""
    bronze = TableName.parse(table)
    return {"env": env, "table": str(replace(bronze, layer="bronze")), "tab": "Quarantine"}


_SPLIT = ("gold_train", "gold_validate", "gold_test")


def tables(settings: ModelSettings, may: Mapping[str, bool]) -> list[str]:
    """The tables that a person may open, in the order of the data. `may`: rule -> whether permitted."""
    out: list[str] = []
    if may["read_tables"]:
        out += [str(TableName(layer, ds)) for ds in settings.datasets for layer in ("bronze", "silver")]
    if may["read_gold"]:
        out += ["gold", *(_SPLIT if settings.task != "analytics" else ())]
    if may["read_tables"]:
        out += [
            str(TableName(layer, ds, "inference"))
            for ds in settings.datasets
            for layer in ("bronze", "silver")
        ]
    if may["read_gold"]:
        out.append("to_score")
    return out


def in_words(name: str) -> str:
    """`ds01_houses · silver`, `gold · test part`, `to score (inference)`."""
    t = TableName.parse(name)
    if t.dataset:
        return f"{t.dataset} · {t.layer}" + (" (inference)" if t.purpose == "inference" else "")
    return {
        "to_score": "to score (inference)",
        "gold_train": "gold · train part",
        "gold_validate": "gold · validate part",
        "gold_test": "gold · test part",
    }.get(name, name)


def time_line(versions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Oldest first: `{"version", "at", "rows", "change"}` for the chart."""
    out: list[dict[str, Any]] = []
    for v in reversed(versions):
        before = out[-1]["rows"] if out else None
        out.append(
            {
                "version": int(v["version"]),
                "at": v["at"],
                "rows": int(v["rows"]),
                "change": None if before is None else int(v["rows"]) - before,
            }
        )
    return out


def version_rows(versions: Sequence[Mapping[str, Any]], now: dt.datetime) -> list[dict[str, str]]:
    """The list of versions, newest first."""
    changes = {x["version"]: x["change"] for x in time_line(versions)}
    return [
        {
            "Version": f"v{v['version']}" + (" · R&D" if v["rnd"] else ""),
            "Rows": f"{v['rows']:,}",
            "Change": "first" if changes[v["version"]] is None else f"{changes[v['version']]:+,}",
            "Age": ago(v["at"], now),
            "Made from": made_from(v["inputs"]),
            "By": v["by"] or "",
            "Run": v["run"] or "",
            "Checks": checks_in_short(v["quality"]),
            "Note": v["note"] or "",
        }
        for v in versions
    ]


def made_from(inputs: Sequence[Mapping[str, Any]]) -> str:
    """`silver v3, silver v2` or `2 files`."""
    files = sum("file" in i for i in inputs)
    named = [f"{i['table']} v{i['version']}" for i in inputs if "table" in i]
    return ", ".join([*named, *([plural(files, "file")] if files else [])])


def checks_in_short(quality: Sequence[Mapping[str, Any]]) -> str:
    """`✓ 4 of 4` or `! 1 of 4 not met`."""
    judged = [q for q in quality if q.get("passed") is not None]
    bad = sum(not q["passed"] for q in judged)
    if not judged:
        return "none declared"
    return f"! {bad} of {len(judged)} not met" if bad else f"✓ {len(judged)} of {len(judged)}"


def checks_figure(quality: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """(`3 of 4`, `1 not met`) for the figure on top."""
    judged = [q for q in quality if q.get("passed") is not None]
    met = sum(bool(q["passed"]) for q in judged)
    if not judged:
        return "none", "declared for it"
    return f"{met} of {len(judged)}", "all met" if met == len(judged) else f"{len(judged) - met} not met"


def checks(quality: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Each expectation of a version with its result; those that were not met first."""
    ranked = sorted(quality, key=lambda q: (q.get("passed") is not False, q.get("column") or ""))
    return [
        {
            "Result": {True: "✓ met", False: "✕ not met", None: "skipped"}[q.get("passed")],
            "Check": check_word(q),
            "Column": q.get("column") or "",
            "Level": str(q.get("level", "")),
            "Rows that fail": f"{q['failed_rows']:,} of {q['rows']:,}"
            if q.get("failed_rows") is not None and q.get("rows") is not None
            else "",
            "Says": str(q.get("message") or ""),
        }
        for q in ranked
    ]


def profile(columns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line a column; figures that a type has not stay empty."""
    return [
        {
            "Column": c["name"],
            "Type": type_word(c["type"]),
            "filled": 1.0 if not c["rows"] else 1 - c["nulls"] / c["rows"],
            "Empty": f"{c['nulls']:,}",
            "Distinct, about": f"{c['distinct']:,}",
            "Least": _cell(c["min"]),
            "Median": _cell(c["median"]),
            "Mean": _cell(c["mean"]),
            "Most": _cell(c["max"]),
            "Std": _cell(c["std"]),
        }
        for c in columns
    ]


_WORDS = {
    "varchar": "text", "double": "number", "float": "number", "bigint": "whole number", "integer": "whole number",
    "smallint": "whole number", "tinyint": "whole number", "hugeint": "whole number",
    "boolean": "yes or no", "date": "date",
}  # fmt: skip


def type_word(kind: str) -> str:
    """A database's type as people say it; one that has no word stays as it is."""
    return "time" if kind.startswith("timestamp") else _WORDS.get(kind, kind)


_MOMENT = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d):\d\d(?:\.\d+)?\+00(?::00)?$")


def _cell(x: Any) -> str:
    return "" if x is None else value(x) if isinstance(x, float) else _MOMENT.sub(r"\1 UTC", str(x))


def changes(said: Mapping[str, Any]) -> list[str]:
    """What changed in the schema, in words."""
    schema = said["schema"]
    out = [f"column **{n}** came" for n in schema["added"]]
    out += [f"column **{n}** went" for n in schema["dropped"]]
    out += [f"column **{x['name']}** is {x['to']}, was {x['from']}" for x in schema["retyped"]]
    return out


def by_reason(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Reasons of quarantined rows with their counts, most frequent first."""
    counts: dict[str, int] = {}
    for r in rows:
        counts[r["reason"]] = counts.get(r["reason"], 0) + 1
    return sorted(counts.items(), key=lambda x: (-x[1], x[0]))


def bronze_behind(name: str, now: Mapping[str, Any]) -> int | None:
    """The version of bronze whose quarantine belongs to the version shown, of bronze or silver; None: the current one."""
    if name.endswith("/bronze"):
        return int(now["version"])
    bronze = name.removesuffix("silver") + "bronze"
    return next((int(i["version"]) for i in now["inputs"] if i.get("table") == bronze), None)


def _sampled(now: Mapping[str, Any], task: str) -> bool:
    """Whether a version is of R&D mode's sample; a series is read whole."""
    return bool(now["rnd"]) and task != "forecasting"


def all_read(now: Mapping[str, Any], task: str) -> str:
    """That nothing was rejected, of what was read."""
    if _sampled(now, task):
        return "Every row of the R&D sample, a fifth of what was delivered, could be read."
    return "Every row that was delivered could be read."


def of_sample(now: Mapping[str, Any], task: str) -> str:
    """What a count of quarantined rows is of, where it is not all that was delivered."""
    return " · of the R&D sample, a fifth of what was delivered" if _sampled(now, task) else ""
