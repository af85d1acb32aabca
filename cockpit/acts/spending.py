"""The tabs of the page Costs."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from cockpit.acts.at_once import at_once
from cockpit.acts.editing import exception, setting
from cockpit.facts.costing import ACTS, Asked, as_it_is, judge, judged_runs
from cockpit.frame.components import gone, locked
from cockpit.frame.saying import failure, nothing_yet
from cockpit.overview import Overview
from cockpit.parts import charts
from cockpit.views import costs as view
from cockpit.views import policies
from cockpit.views.project import runs_table
from cockpit.words import plural
from esml_engine.errors import EsmlError
from esml_engine.estate import Estate
from esml_engine.refs import ModelRef


@dataclass(frozen=True)
class Ask:
    """What the page is about."""

    estate: Estate
    where: str  # estate, a project or a model
    env: str  # '' all
    first: str  # the environment that predictions are about
    seen: Overview
    runs: list[dict[str, Any]]
    idle: list[view.Endpoint]
    statuses: list[dict[str, Any]]


def upcoming(a: Ask) -> None:
    """The next run of each model."""
    if not a.runs:
        nothing_yet("No model yet.", "The next run of each is priced here.")
        return
    frame = pd.DataFrame(runs_table(a.runs))
    frame.insert(0, "Project", [r["model"].split("/")[0] for r in a.runs])
    st.dataframe(frame, hide_index=True, height="content" if len(frame) <= 12 else 420, row_height=34)
    st.caption(
        f"The next run of each model in {a.first}: those that are due first, then the dearest. Any other run is priced under *What if*."
    )


def _seed(asked: Asked) -> None:
    for name in ("model", "act", "env", "node", "nodes", "rows", "profile"):
        st.session_state[f"if:{name}"] = getattr(asked, name)


def _moved(a: Ask) -> None:
    """Another model, run or environment: its own rows and profile come with it, the nodes stay."""
    model, act, env = (str(st.session_state[f"if:{k}"]) for k in ("model", "act", "env"))
    if act != "refine" and a.estate.site.settings.model(ModelRef.parse(model)).task == "analytics":
        act = st.session_state["if:act"] = "refine"
    usual = as_it_is(a.estate.site, ModelRef.parse(model), act, env)
    st.session_state["if:rows"], st.session_state["if:profile"] = usual.rows, usual.profile


def what_if(a: Ask) -> None:
    """Other node type, nodes, rows, profile or environment, held against the next run as it is."""
    names = [s["model"] for s in a.statuses]
    if not names:
        nothing_yet("No model to ask about.", "Choose another project above.")
        return
    site, settings = a.estate.site, a.estate.site.settings
    text = st.query_params.get("scenario", "")
    if "if:model" not in st.session_state or text != st.session_state.get("_if", ""):
        dearest = a.runs[0]["model"] if a.runs and a.runs[0]["model"] in names else names[0]
        named = next((p[6:] for p in text.split(";") if p.startswith("model:")), dearest)
        if named not in names:
            gone("Model", named, instead=False)
            return
        task = settings.model(ModelRef.parse(named)).task
        base = as_it_is(site, ModelRef.parse(named), "refine" if task == "analytics" else "train", a.first)
        asked, bad = view.scenario(text, base)
        bad += tuple(x for x in (asked.env,) if x not in a.estate.environments)
        for b in bad:
            st.warning(f"`{b}` in the address can't be read and was left out.", icon=":material/link_off:")
        _seed(asked if not bad else base)
        st.session_state["_if_first"] = view.written(base)
    left, right = st.columns([3, 2], gap="large")  # so that the answer stands beside what it answers
    with left:
        asked = _fields(a, names)
    written = view.written(asked)
    if text or written != st.session_state.get(
        "_if_first"
    ):  # what was not changed does not stand in the address
        st.session_state["_if"] = st.query_params["scenario"] = written
    else:
        st.session_state["_if"] = ""
    try:
        then = judge(site, asked)
        now = judge(site, as_it_is(site, ModelRef.parse(asked.model), asked.act, a.first))
    except EsmlError as e:
        failure(e)
        return
    with right:
        st.table(pd.DataFrame(view.against(now, then, a.seen.currency)), border="horizontal", hide_index=True)
        st.caption("What it rests on: " + " · ".join(then.answer.basis))


def _fields(a: Ask, names: list[str]) -> Asked:
    site, settings = a.estate.site, a.estate.site.settings
    if st.session_state["if:model"] not in names:
        st.session_state["if:model"] = names[0]
    with st.grid(4, min_column_width=165, gap="small"):
        model = str(st.selectbox("Model", names, key="if:model", on_change=_moved, args=(a,)))
        its = settings.model(ModelRef.parse(model))
        acts = [x for x in ACTS if its.task != "analytics" or x == "refine"]
        if st.session_state["if:act"] not in acts:
            st.session_state["if:act"] = acts[0]
        act = str(
            st.selectbox(
                "Run",
                acts,
                key="if:act",
                format_func=lambda x: x.replace("_", " "),
                on_change=_moved,
                args=(a,),
            )
        )
        env = str(
            st.selectbox(
                "Environment", list(a.estate.environments), key="if:env", on_change=_moved, args=(a,)
            )
        )
        nodes = [k for k in settings.prices() if k != "as_of" and not k.startswith("storage")]
        if st.session_state["if:node"] not in nodes:
            nodes.append(st.session_state["if:node"])
        node = str(st.selectbox("Node type", nodes, key="if:node"))
        count = int(st.number_input("Nodes", 1, 1000, key="if:nodes"))
        rows = int(st.number_input("Rows", 0, key="if:rows", step=100,
            help="Of gold_train for training, of gold for refining, of to_score for scoring."))  # fmt: skip
        profiles: list[str] = [*its.train]
        if env not in profiles:
            profiles.append(env)
        profile = ""
        if act == "train":
            if st.session_state.get("if:profile") not in profiles:
                st.session_state["if:profile"] = env
            profile = str(st.selectbox("Training profile", profiles, key="if:profile"))
        with st.container(height="stretch", vertical_alignment="bottom"):
            st.button(
                "As it is", icon=":material/restart_alt:",
                on_click=lambda: _seed(as_it_is(site, ModelRef.parse(model), act, a.first))
            )  # fmt: skip
    return Asked(model, act, env, node, count, rows, profile)


def predicted(a: Ask) -> None:
    """How good past predictions were."""
    objects = None if len(a.statuses) == len(a.estate.site.files.models) else [s["model"] for s in a.statuses]
    runs = judged_runs(a.estate.site, objects=objects, env=a.env)
    if not runs:
        nothing_yet("No run with a prediction has ended in the last 90 days.", "Every run is held against its plan.")  # fmt: skip
        return
    found = view.accuracy(runs, a.seen.currency)
    st.markdown(found.said)
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.table(pd.DataFrame(found.lines), border="horizontal", hide_index=True)
        st.caption(f"{plural(len(runs), 'run')} of the last 90 days, the newest 2,000 at most. A first run has no history: its prediction is an upper bound.")  # fmt: skip
    with right:
        points = view.points(runs)
        if points:
            st.altair_chart(charts.predicted(points, a.seen.currency))


def endpoints(a: Ask) -> None:
    """Every endpoint, quietest first, and what it costs."""
    if not a.idle:
        nothing_yet("Nothing is deployed.", "An endpoint costs its node for every hour that it is up.")
        return
    now = dt.datetime.now(dt.UTC)
    st.table(pd.DataFrame(view.endpoint_table(a.idle, a.seen.currency, now)), border="horizontal", hide_index=True)  # fmt: skip
    st.caption("Idle: no call for seven days. On the local platform an endpoint shares this machine; its price is the list's.")  # fmt: skip


def policy(a: Ask) -> None:
    """What is in force, and where it comes from."""
    envs = (a.env,) if a.env else a.estate.environments
    for env in envs:
        st.markdown(f"**{env}**")
        lines = [{k: v for k, v in line.items() if k != "Key"} for line in policies.policy(a.estate.site.settings, a.where,
            env)]  # fmt: skip
        st.table(pd.DataFrame(lines), border="horizontal", hide_index=True)


def change(a: Ask) -> None:
    """Budget, policy, prices, an exception: each with its plan."""
    left, right = st.columns(2, gap="large")
    project = a.where.split("/")[0]
    with left:
        st.markdown("**Budget**")
        if a.where == "estate":
            st.caption("Each project has its own: choose one above.")
        elif not locked(a.estate, "budget", project):
            now = float(a.seen.budgets[project]["budget"])
            new = st.number_input(f"{project}, {a.seen.currency} a month", 0.0, value=now, step=10.0,
                key=f"budget:{project}")  # fmt: skip
            at_once(
                a.estate, lambda **how: a.estate.set(project, "budget.month", f"{new:g}", **how), "Set the budget",
                key="set_budget", icon="payments",
                done=f"The budget of {project} is {new:g} {a.seen.currency} a month.", ready=new != now,
                missing=f"It is {now:g} {a.seen.currency} a month now.",
            )  # fmt: skip
        st.markdown(f"**Exception** for {a.where.split('/')[-1]} in {a.first}" if "/" in a.where else "**Exception**")  # fmt: skip
        if "/" in a.where:
            exception(a.estate, a.where, a.first)
        else:
            st.caption("An exception is about one model: choose it above.")
    with right:
        st.markdown(f"**Policy** of {a.where}, {a.env or 'every environment'}")
        setting(a.estate, a.where, policies.policy_keys(a.env), key="policy", label="Set the policy")
        st.markdown("**Price list** of the estate")
        keys = [f"prices.{k}" for k in a.estate.site.settings.prices()]
        setting(a.estate, "estate", keys, key="prices", label="Set the price")
