"""Charts in the theme's own colours (Altair inherits them from Streamlit's theme)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from esml_engine.refs import ENVIRONMENTS

_LABELS = 12  # days that are each named below their bar


def over_versions(rows: list[dict[str, Any]], metric: str) -> Any:
    """Metric over registered versions, one line an environment; dashed: the trivial baseline on the same rows."""
    frame = pd.DataFrame(rows)
    way = [e for e in ENVIRONMENTS if e in set(frame["env"])]
    x = alt.X("version:O", title=None, axis=alt.Axis(labelAngle=0))
    scale = alt.Scale(zero=False, padding=12)
    line = alt.Chart(frame).mark_line(point=alt.OverlayMarkDef(size=70)).encode(
        x=x, y=alt.Y("value:Q", title=metric, scale=scale),
        color=alt.Color("env:N", title=None, sort=way, legend=alt.Legend(orient="top") if len(way) > 1 else None),
        tooltip=[alt.Tooltip("version:O", title="version"), alt.Tooltip("env:N", title="environment"),
            alt.Tooltip("value:Q", title=metric, format=".4g"), alt.Tooltip("baseline:Q", format=".4g")],
    )  # fmt: skip
    # a line of one version would be no line: its point is a stroke
    one = frame["version"].nunique() == 1
    stroke = alt.OverlayMarkDef(shape="stroke", size=900, color="#8a94a3") if one else False
    base = (
        alt.Chart(frame)
        .mark_line(strokeDash=[5, 4], opacity=0.7, color="#8a94a3", point=stroke)
        .encode(x=x, y=alt.Y("baseline:Q", scale=scale))
    )
    return (base + line).properties(height=190)


def distribution(bars: list[dict[str, Any]], metric: str, resamples: int) -> Any:
    """The bootstrap's differences as bars, coloured by who is better there; the dashed line is no difference."""
    frame = pd.DataFrame(bars)
    sides = {"challenger better": "#0f6cbd", "champion better": "#8a94a3"}
    if any(r["side"] not in sides for r in bars):
        sides = {"no difference": "#b8860b"}
    colors = alt.Scale(domain=list(sides), range=list(sides.values()))
    shape = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("left:Q", bin="binned", title=f"gain in {metric}, {resamples:,} resamples"),
            x2="right:Q",
            y=alt.Y("count:Q", title=None, axis=None),
            color=alt.Color("side:N", scale=colors, legend=alt.Legend(orient="top", title=None)),
            tooltip=[alt.Tooltip("left:Q", format=".4g"), alt.Tooltip("right:Q", format=".4g"), "count:Q"],
        )
    )
    zero = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(strokeDash=[4, 3]).encode(x="x:Q")
    return (shape + zero).properties(height=180)


def by_day(rows: list[dict[str, Any]]) -> Any:
    """Rows a UTC day as bars; a stretch of days can be drawn (parameter `days`), or a bar clicked (`day`), to filter by it.

    A day is a text and its moment in UTC, so that a browser's own zone moves neither bars nor what is chosen.
    """
    frame = pd.DataFrame(rows).rename(columns={"day": "date"})
    frame["day"] = pd.to_datetime(frame["date"], utc=True)
    drawn = alt.selection_interval(name="days", encodings=["x"])
    clicked = alt.selection_point(name="day", fields=["date"])
    each = [alt.DateTime(year=d.year, month=d.month, date=d.day, utc=True) for d in frame["day"]]
    ticks: dict[str, Any] = {"values": each} if len(each) <= _LABELS else {"tickCount": _LABELS}
    around = pd.Timedelta(hours=18)  # room beside the first and the last bar, and for one day alone
    ends = ((frame["day"].min() - around), (frame["day"].max() + around))
    span = alt.Scale(type="utc", domain=[alt.DateTime(year=e.year, month=e.month, date=e.day, hours=e.hour, utc=True) for e in ends])  # fmt: skip
    return (
        alt.Chart(frame)
        .mark_bar(color="#0f6cbd", size=max(4, min(28, 600 // max(1, len(frame)))))
        .encode(
            x=alt.X("day:T", title=None, scale=span, axis=alt.Axis(format="%d %b", labelAngle=0, **ticks)),
            y=alt.Y("rows:Q", title="rows a day"),
            tooltip=[alt.Tooltip("date:N", title="day (UTC)"), alt.Tooltip("rows:Q", format=","),
                alt.Tooltip("calls:Q", format=",")],
        )
        .add_params(drawn, clicked)
        .properties(height=180)
    )  # fmt: skip


def spread(bars: list[dict[str, Any]], column: str) -> Any:
    """A column's values as bars, in their own order."""
    frame = pd.DataFrame(bars)
    return (
        alt.Chart(frame)
        .mark_bar(color="#0f6cbd")
        .encode(
            x=alt.X("label:N", sort=None, title=column, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
            y=alt.Y("rows:Q", title="rows"),
            tooltip=[alt.Tooltip("label:N", title=column), alt.Tooltip("rows:Q", format=",")],
        )
        .properties(height=190)
    )


def versions(rows: list[dict[str, Any]], chosen: int) -> Any:
    """Rows of each version of a table as bars; the chosen one stands out."""
    frame = pd.DataFrame(rows)
    frame["shown"] = ["chosen" if v == chosen else "other" for v in frame["version"]]
    colors = alt.Scale(domain=["chosen", "other"], range=["#0f6cbd", "#8a94a3"])
    return (
        alt.Chart(frame)
        .mark_bar(size=max(4, min(28, 300 // max(1, len(frame)))))
        .encode(
            x=alt.X("version:O", title="version", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("rows:Q", title="rows"),
            color=alt.Color("shown:N", scale=colors, legend=None),
            tooltip=[alt.Tooltip("version:O"), alt.Tooltip("rows:Q", format=","), alt.Tooltip("change:Q", format="+,"),
                alt.Tooltip("at:T", format="%d %b %Y %H:%M")],
        )
        .properties(height=150)
    )  # fmt: skip


def money_by_day(spent: Mapping[str, float], first: dt.date, end: dt.date, currency: str) -> Any:
    """Metered money a UTC day as bars, days without a run included."""
    days = [first + dt.timedelta(n) for n in range((end - first).days)]
    frame = pd.DataFrame(
        {"day": [d.isoformat() for d in days], "spent": [spent.get(d.isoformat(), 0.0) for d in days]}
    )
    return (
        alt.Chart(frame)
        .mark_bar(color="#0f6cbd", size=max(3, min(20, 400 // max(1, len(frame)))))
        .encode(
            x=alt.X("day:T", title=None, axis=alt.Axis(format="%d %b", labelAngle=0)),
            y=alt.Y("spent:Q", title=f"{currency} a day"),
            tooltip=[alt.Tooltip("day:T", format="%d %b %Y"), alt.Tooltip("spent:Q", format=".4f")],
        )
        .properties(height=190)
    )  # fmt: skip


def predicted(rows: list[dict[str, Any]], currency: str) -> Any:
    """A point a run: predicted p50 across, what came upwards; on the line the prediction was exact."""
    frame = pd.DataFrame(rows)
    top = float(max(frame["predicted"].max(), frame["actual"].max()))
    colors = alt.Scale(domain=["at most p90", "over p90"], range=["#0f6cbd", "#c2570c"])
    shape = alt.Shape("side:N", legend=None)
    marks = (
        alt.Chart(frame)
        .mark_point(filled=True, size=55, opacity=0.75)
        .encode(
            x=alt.X("predicted:Q", title=f"predicted p50, {currency}"),
            y=alt.Y("actual:Q", title=f"metered, {currency}"),
            color=alt.Color("side:N", scale=colors, legend=alt.Legend(orient="top", title=None)),
            shape=shape,
            tooltip=["run:N", "act:N", alt.Tooltip("predicted:Q", format=".4g"), alt.Tooltip("p90:Q", format=".4g"),
                alt.Tooltip("actual:Q", format=".4g")],
        )
    )  # fmt: skip
    line = (
        alt.Chart(pd.DataFrame({"x": [0.0, top], "y": [0.0, top]}))
        .mark_line(strokeDash=[5, 4], opacity=0.7, color="#8a94a3")
        .encode(x="x:Q", y="y:Q")
    )
    return (line + marks).properties(height=230)
