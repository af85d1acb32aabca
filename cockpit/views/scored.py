"""Scored data as a page shows it: filters in words, the address of the export, the rows, a row's passport."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from cockpit.words import clock, plural, safe_rows, value
from esml_engine.lake.deliveries import delivered_name
from esml_engine.scored.facts import VIEW_KEYS

ROWS = 100
OPS = ("=", "!=", "<", "<=", ">", ">=", "in", "contains", "is-null")
IDENTITY = ("request_id", "row", "scored_at", "scored_date", "caller_id", "model_version")
_CONDITION = re.compile(r"(.+?)(?:\s*(!=|<=|>=|=|<|>)|\s(is-null|in|contains)\b)(.*)", re.DOTALL)
_OPS_IN_WORDS = {"=": "is", "!=": "is not", "<=": "≤", ">=": "≥", "in": "is one of", "is-null": "is empty"}


@dataclass(frozen=True)
class Wanted:
    """What the address asks for."""

    since: str = ""
    until: str = ""
    callers: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()
    where: tuple[str, ...] = ()
    sort: str = ""
    page: int = 1
    bad: tuple[str, ...] = field(default_factory=tuple)
    cols: tuple[str, ...] = ()  # shown beside those that always are; none: all

    @property
    def filters(self) -> dict[str, Any]:
        """Arguments of `Model.scored`."""
        return {
            "since": self.since,
            "until": self.until,
            "caller": list(self.callers),
            "model_version": list(self.versions),
            "where": self.where,
        }


def wanted(one: Mapping[str, str], many: Mapping[str, Sequence[str]]) -> Wanted:
    """From the address: single values and those that may stand several times. What can't be read is named, not dropped."""
    numbers = [v for v in many.get("version", ()) if v.isdigit()]
    page = one.get("page", "")
    bad = tuple(f"version={v}" for v in many.get("version", ()) if not v.isdigit())
    bad += (f"page={page}",) if page and not (page.isdigit() and int(page) > 0) else ()
    return Wanted(
        one.get("from", ""),
        one.get("to", ""),
        tuple(many.get("caller", ())),
        tuple(int(v) for v in numbers),
        tuple(many.get("where", ())),
        one.get("sort", ""),
        int(page) if page.isdigit() and int(page) > 0 else 1,
        bad,
        tuple(dict.fromkeys(many.get("cols", ()))),
    )


@dataclass(frozen=True)
class Chip:
    """One filter in words, and what the address says for it."""

    key: str
    value: str
    text: str


def chips(w: Wanted) -> list[Chip]:
    """Every filter that is set."""
    out = []
    if w.since:
        out.append(Chip("from", w.since, f"scored from {w.since}"))
    if w.until:
        out.append(Chip("to", w.until, f"scored until {w.until}"))
    out += [Chip("caller", c, f"caller is {c}") for c in w.callers]
    out += [Chip("version", str(v), f"model is v{v}") for v in w.versions]
    out += [Chip("where", x, in_words(x)) for x in w.where]
    return out


def in_words(condition: str) -> str:
    """`prediction >= 200`, with or without spaces, as `prediction ≥ 200`."""
    found = _CONDITION.match(condition)
    if found is None:
        return condition
    name, sign, word, rest = found.groups()
    op = sign or word
    return f"{name.strip()} {_OPS_IN_WORDS.get(op, op)} {rest.strip()}".strip()


def without(w: Wanted, chip: Chip) -> Wanted:
    """The same filters without one."""
    left = {
        "from": dataclasses.replace(w, since=""),
        "to": dataclasses.replace(w, until=""),
        "caller": dataclasses.replace(w, callers=tuple(c for c in w.callers if c != chip.value)),
        "version": dataclasses.replace(w, versions=tuple(v for v in w.versions if str(v) != chip.value)),
        "where": dataclasses.replace(w, where=tuple(x for x in w.where if x != chip.value)),
    }[chip.key]
    return dataclasses.replace(left, page=1)


def address(w: Wanted) -> dict[str, str | list[str]]:
    """The address's keys for these filters; those that are not set leave it."""
    out: dict[str, str | list[str]] = {}
    for key, text in (("from", w.since), ("to", w.until), ("sort", w.sort)):
        if text:
            out[key] = text
    for key, texts in (("caller", list(w.callers)), ("version", [str(v) for v in w.versions]), ("where", list(w.where)),
        ("cols", list(w.cols))):  # fmt: skip
        if texts:
            out[key] = texts
    if w.page > 1:
        out["page"] = str(w.page)
    return out


def export_address(model: str, env: str, w: Wanted, kind: str, act_as: str = "") -> str:
    """Where the server streams the whole filtered result, every column of it."""
    keys = {k: v for k, v in address(w).items() if k not in ("page", "sort", "cols")} | {"env": env}
    if act_as:
        keys["as"] = act_as
    return f"/api/v1/scored/{quote(model)}.{kind}?{urlencode(keys, doseq=True)}"


def kept(w: Wanted) -> dict[str, str | list[str]]:
    """What a named view keeps of these filters."""
    return {k: v for k, v in address(w).items() if k in VIEW_KEYS}


def of_view(filters: Mapping[str, Any]) -> Wanted:
    """The filters of a named view."""
    one = {k: str(v) for k, v in filters.items() if isinstance(v, str)}
    many = {k: [str(x) for x in v] for k, v in filters.items() if isinstance(v, list)}
    return wanted(one, many)


def bars(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A column's histogram as bars: `{"label", "low", "high", "rows"}`, or `{"label", "rows"}` for texts."""
    if "bins" in said:
        return [
            {
                "label": f"{value(b['low'])} to {value(b['high'])}",
                "low": b["low"],
                "high": b["high"],
                "rows": b["rows"],
            }
            for b in said["bins"]
        ]
    out = [{"label": str(v["value"]), "rows": v["rows"]} for v in said["values"]]
    return out + ([{"label": "others", "rows": said["others"]}] if said["others"] else [])


def days_of(selection: Mapping[str, Any], days: Sequence[str]) -> list[str]:
    """The days that were drawn over (`days`: a span in milliseconds) or clicked on (`day`: points), of those there are."""
    drawn = selection.get("days")
    span = drawn.get("day") if isinstance(drawn, Mapping) else None
    if span and len(span) == 2:
        first, last = sorted(_moment(x) for x in span)
        return [d for d in days if first <= _moment(d) <= last]
    clicked = selection.get("day")
    points = {p["date"] for p in clicked if "date" in p} if isinstance(clicked, Sequence) else set()
    return [d for d in days if d in points]


def _moment(x: Any) -> float:
    """Where a day's bar stands, or an end of a span (milliseconds, or ISO text), in seconds of UTC."""
    if isinstance(x, int | float):
        return x / 1000
    at = dt.datetime.fromisoformat(str(x))
    return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()


def choosable(said: Mapping[str, Any]) -> list[str]:
    """Columns that may be left out of the table, in the contract's order; who, when, which version and what are always there."""
    return [c["name"] for c in said["columns"] if c["name"] not in (*IDENTITY, "prediction")]


def table(said: Mapping[str, Any], zone: str | None, cols: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows for the table: when, who, model, prediction, then the rest in the contract's order; `cols`: only these of it.

    No cell is a formula: the table's own download is a CSV.
    """
    every = choosable(said)
    rest = [c for c in every if c in cols] or every
    return safe_rows(
        {
            "Scored at": clock(r["scored_at"], zone),
            "Caller": r["caller_id"],
            "Model": f"v{r['model_version']}",
            "Prediction": r["prediction"],
            **{name: r[name] for name in rest},
            "Request": r["request_id"],
            "Row": r["row"],
        }
        for r in said["rows"]
    )


@dataclass(frozen=True)
class Stop:
    """One stop of a row's passport."""

    kind: str
    name: str
    version: str
    rows: str
    at: str


_KINDS = {"row": "Scored row", "model": "Model", "table": "Table", "file": "IN file"}


def passport(lineage: Mapping[str, Any], zone: str | None) -> list[Stop]:
    """From the row back to the IN files, in the order in which they were found."""
    out = []
    for n in lineage["nodes"]:
        env = n["id"].split("/")[0]
        name = delivered_name(n["name"]) if n["kind"] == "file" else n["name"]
        out.append(
            Stop(
                _KINDS.get(n["kind"], n["kind"]),
                f"{name} · {env}",
                f"v{n['version']}" if n["version"] is not None else "",
                f"{n['rows']:,}" if n["rows"] is not None else "",
                clock(n["at"], zone) if n["at"] else "",
            )
        )
    return out


def calls_note(said: Mapping[str, Any], callers: int) -> str:
    """`4.5 a day · 3 callers in all`: calls on the mean of the days that have some."""
    days = [d["calls"] for d in said["by_day"] if d["calls"]]
    daily = f"{sum(days) / len(days):,.3g} a day · " if len(days) > 1 else ""
    return f"{daily}{plural(callers, 'caller')} in all"


def figures(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was said: the prediction, its interval, probabilities."""
    x = row["prediction"]
    out = [("Prediction", value(x) if isinstance(x, float) else str(x))]
    if row.get("low") is not None:
        out.append(("Interval", f"{value(row['low'])} … {value(row['high'])}"))
    out += [
        (k.removeprefix("probability_"), f"{v:.1%}")
        for k, v in row.items()
        if k.startswith("probability_") and v is not None
    ]
    return out
