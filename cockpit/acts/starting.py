"""New projects and new models: the form, then the plan, then the act."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cockpit.acts.at_once import at_once
from cockpit.frame.components import lit, locked
from esml_engine.estate import Estate

_RISKS = ("low", "medium", "high")
_TASKS = ("regression", "classification", "forecasting", "analytics")


def new_project_asked() -> None:
    """The button: the form's being open stands in the address."""
    st.query_params["new"] = "project"


def _closed() -> None:
    st.query_params.pop("new", None)


def new_project_dialog(estate: Estate) -> None:
    """The form over the page, when the address asks for it; a popover would close at each entry."""
    if st.query_params.get("new") == "project":
        st.dialog("New project", width="large", on_dismiss=_closed)(new_project)(estate)


def new_project(estate: Estate) -> None:
    """A team with its own data, access and budget."""
    if locked(estate, "new_project", ""):
        return
    with st.grid(2, min_column_width=200):
        name = st.text_input("Name", key="np:name", placeholder="project007",
            help="a-z, 0-9 and _, from the second letter on")  # fmt: skip
        team = st.text_input("Team", key="np:team", placeholder="care-analytics")
        owner = st.text_input("Owner", key="np:owner", placeholder="anna@company")
        contact = st.text_input("Contact", key="np:contact", placeholder="care@company")
    risk = (
        st.segmented_control(
            "Risk",
            _RISKS,
            default="medium",
            required=True,
            key="np:risk",
            format_func=lambda r: lit(r, r == st.session_state.get("np:risk", "medium")),
        )
        or "medium"
    )
    at_once(
        estate,
        lambda **how: estate.new_project(
            name.strip(), team.strip(), owner.strip(), contact.strip(), risk, **how
        ),
        "Make the project",
        key="new_project",
        icon="create_new_folder",
        done=f"Project {name} is made. Give people roles on its page.",
        ready=bool(name and team),
        missing="Name and team are needed.",
        clears=("np:name", "np:team"),
        leads=("project", f"Open {name.strip()}", {"project": name.strip()}),
    )


def new_model(estate: Estate, project: str) -> None:
    """A use case of a project."""
    if locked(estate, "new_model", project):
        return
    with st.grid(3, min_column_width=200):
        name = st.text_input("Name", key="nm:name", placeholder="m11_diabetes")
        task = str(st.selectbox("Task", _TASKS, key="nm:task", help="analytics ends at gold: no model"))
        sets = st.text_input("Datasets, by comma", key="nm:sets", placeholder="ds01_patients, ds02_labs")
        label = st.text_input("Column to predict", key="nm:label", disabled=task == "analytics")
        id_ = st.text_input("Key column", key="nm:key", help="joins datasets and names a row")
    forecast: dict[str, Any] = {}
    if task == "forecasting":
        with st.grid(3, min_column_width=200):
            forecast["time_column"] = st.text_input("Column of dates", key="nm:time")
            forecast["horizon"] = int(st.number_input("Steps ahead", 1, 1000, 12, key="nm:horizon"))
            forecast["frequency"] = st.text_input("Frequency", key="nm:freq", placeholder="D, W, MS, h")
            known = st.text_input("Columns known ahead, by comma", key="nm:known",
                help="such as holidays or prices: given for the days that are to be forecast")  # fmt: skip
            forecast["known"] = [c.strip() for c in known.split(",") if c.strip()]
    datasets = [d.strip() for d in sets.split(",") if d.strip()]
    at_once(
        estate,
        lambda **how: estate.new_model(
            f"{project}/{name.strip()}", task, datasets, label.strip() if task != "analytics" else "", id_.strip(),
            forecast=forecast or None, **how
        ),
        "Make the model",
        key="new_model",
        icon="add",
        done=f"{name} is made. Next: deliver an IN file.",
        ready=bool(name and datasets),
        missing="Name and at least one dataset are needed.",
        clears=("nm:name", "nm:sets", "nm:label", "nm:key", "nm:time", "nm:freq", "nm:known"),
        leads=("lake", f"Deliver files of {name.strip()}", {"project": project, "model": name.strip(), "act": "Deliver files"}),
    )  # fmt: skip
