"""The leaderboard's parts: the best of each environment as a table or, on a phone, as a list; a figure's column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from cockpit.frame.screens import on_phone
from cockpit.parts import charts
from cockpit.views import candidates as view
from cockpit.views.leaderboard import Best
from cockpit.views.promotion import Asked
from cockpit.words import metric


def figure(label: str, low: float, high: float) -> Any:
    """A column of figures, with a bar where there is room for one."""
    if on_phone():
        return st.column_config.NumberColumn(label, format="%.4g", width=80)
    return st.column_config.ProgressColumn(label, min_value=low, max_value=high, format="%.4g", width=118)


def best_by_environment(found: Sequence[Best], name: str) -> None:
    """A line an environment: version, state, metric with its interval, what it gains on the baseline, its data."""
    covered = any(b.coverage for b in found)
    if on_phone():
        for b in found:
            facts = [b.value, b.against.split(" than")[0], b.data, b.coverage]
            st.markdown(f"**{b.env}** {b.version} :{b.color}-badge[:material/{b.icon}: {b.state}]  \n" + " · ".join(x for x in facts if x))  # fmt: skip
        st.caption(f"{name}, its 95 % interval, against the trivial baseline")
        return
    lines = [
        {
            "": b.env, "Version": b.version, "State": f":{b.color}-badge[:material/{b.icon}: {b.state}]",
            f"{name} (95 % interval)": b.value,
            "Baseline": b.against.split(" than")[0], "Gold": b.data.removeprefix("gold "),
            **({"Intervals": b.coverage or "not measured"} if covered and b.version else {}),
        }
        for b in found
    ]  # fmt: skip
    st.table(pd.DataFrame(lines).fillna(""), border="horizontal", hide_index=True)


def asked_lines(asked: Asked) -> None:
    """A line for each version that waits for people, or that they refused."""
    for env, its in asked.items():
        for version, b in its.items():
            said = f"block: v{version} to {env} was refused by {b.said}" if b.said else f"hourglass_top: v{version} waits for approval into {env}"  # fmt: skip
            st.markdown(f":material/{said}")


def over_versions(versions: list[dict[str, Any]], main: str) -> None:
    """How a metric went from registered version to version."""
    st.markdown("**Metric over registered versions** · dashed: the trivial baseline")
    points = view.over_versions(versions, main)
    if points:
        st.altair_chart(charts.over_versions(points, metric(main)))
    else:
        st.caption("No version is registered yet.")


def ticked(
    frame: pd.DataFrame,
    ids: list[str],
    picked: list[str],
    most: int,
    *,
    key: str,
    order: list[str],
    config: dict[str, Any],
) -> list[str]:
    """The lines of `frame` (named by `ids`) with a tick each; those that are ticked, at most `most`.

    One tick too many is taken out again and said: the table is drawn anew without it.
    """
    shown = frame.copy()
    shown.insert(0, "Beside", [i in picked for i in ids])
    again = f"_again:{key}"
    tick = st.column_config.CheckboxColumn("Beside", help=f"Two to {most} beside each other")
    edited = st.data_editor(
        shown,
        hide_index=True,
        disabled=list(frame.columns),
        column_config={**config, "Beside": tick},
        column_order=order,
        height="content" if len(ids) <= 8 else 340,
        key=f"{key}:{','.join(picked)}:{st.session_state.get(again, 0)}",
    )
    chosen = [i for i, on in zip(ids, edited["Beside"], strict=True) if on]
    if len(chosen) > most:
        st.session_state[again] = st.session_state.get(again, 0) + 1
        st.toast(f"At most {most} stand beside each other: take one out first.", icon=":material/block:")
        st.rerun()
    return chosen
