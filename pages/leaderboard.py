"""Leaderboard: which model is best, why, and is it ready to go up?"""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from cockpit.acts.acting import follow
from cockpit.acts.deciding import became, promotions
from cockpit.acts.modelling import register_card, train_card
from cockpit.facts.reads import runs_by_id
from cockpit.frame import opening
from cockpit.frame.carrying import to
from cockpit.frame.choosing import opens, switched
from cockpit.frame.components import Choice, as_of, choose, gone, page, pick, when
from cockpit.frame.saying import nothing_yet
from cockpit.frame.screens import deciding_first
from cockpit.parts.boards import asked_lines, best_by_environment, figure, over_versions, ticked
from cockpit.views import candidates, intervals
from cockpit.views import leaderboard as view
from cockpit.views.promotion import Asked
from cockpit.words import metric, plural
from esml_engine.training import records as training
from esml_engine.training.facts import DIRECTION, TASK_METRICS


@page
def show() -> None:
    """The page."""
    choice = choose(opening.estate(), "Leaderboard")
    if choice is None:
        return
    site, task = choice.estate.site, choice.estate.site.settings.model(choice.ref).task
    choice.estate.require("read_status", choice.ref.project)
    if task == "analytics":
        st.title("Leaderboard")
        nothing_yet("An analytics model ends at gold.", "There is nothing to train.")
        return
    usual = site.settings.profile(choice.ref, choice.env).metric
    names = [usual, *(n for n in TASK_METRICS[task] if n != usual)]
    if (asked := st.query_params.get("metric")) and asked not in names:
        st.title("Leaderboard")
        gone("Metric", asked)
        return
    head, side = st.columns([3, 2], vertical_alignment="bottom")
    with side, st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="bottom"):
        main = pick("Metric", names, "metric", metric, default=usual, width=150)
        train = opens("Train: see the plan", "Close the plan", "train", icon="model_training")
    sign = DIRECTION.get(main, 1)
    rows = sorted(
        view.with_costs(choice.model.leaderboard("all")),
        key=lambda r: (r["metrics"].get(main) is None, -sign * (r["metrics"].get(main) or 0.0)),
    )
    with head:
        st.title("Leaderboard")
        st.caption(f"{task} · {metric(main)} on gold_test, {'higher' if sign > 0 else 'lower'} is better · {plural(view.trainings(rows), 'training')} · {as_of()}")  # fmt: skip
    if train or not rows:
        st.subheader(f"Train in {choice.env}")
        train_card(choice)
    follow(choice, ("train", "register"), key="board-run", recent=300.0)
    if not rows:
        nothing_yet("No candidate yet.", "Train the model: its plan is above, once gold is split.")
        return
    # what a training will stand among, or what is compared, comes before how it was so far
    last = train or len(st.query_params.get_all("runs")) > 1
    asked = became(promotions(choice.estate, str(choice.ref)))
    if not last:
        _overview(choice, rows, main, asked)
    _candidates(choice, rows, main, names, asked)
    if last:
        _overview(choice, rows, main, asked)


def _overview(choice: Choice, rows: list[dict[str, Any]], main: str, asked: Asked) -> None:
    way = choice.estate.environments
    up = next(iter(way[way.index(choice.env) + 1 :]), "")
    versions = training.versions(choice.estate.site.store, choice.ref)
    covered = intervals.by_version(versions)
    sides = st.grid(2, min_column_width=430)  # a narrow page: below each other, so that no column is cut off
    with sides.cell(), st.container(border=True, height="stretch"):
        st.markdown("**Best by environment**")
        best_by_environment(view.best(rows, main, choice.estate.environments, asked, covered), metric(main))
        asked_lines(asked)
        said, label = view.way_up(rows, choice.env, up, asked) if up else ("", "")
        if said:
            st.caption(said)
        elif label:
            st.page_link(**to("promotion", env=up), label=label, icon=":material/upgrade:")
    with sides.cell(), st.container(border=True, height="stretch"):
        over_versions(versions, main)


def _candidates(
    choice: Choice, rows: list[dict[str, Any]], main: str, names: list[str], asked: Asked
) -> None:
    ids, named = [view.id_of(r) for r in rows], st.query_params.get_all("runs")
    lost = [i for i in named if i not in ids]
    for i in lost:
        gone("Candidate", i, instead=False)
    picked = [i for i in named if i in ids][: view.MOST]
    if view.on_other_rows(rows):
        st.caption(":material/info: Not all on the same rows: values of different versions of gold, or of two environments, can't be compared directly. *Promotion* scores two models afresh on the same rows.")  # fmt: skip
    currency = choice.estate.site.settings.estate.currency
    frame = pd.DataFrame(candidates.table(rows, main, currency, asked))
    frame["at"] = frame["at"].map(when)
    bar = figure(metric(main), 0.0, float(max(frame["baseline"].max(), frame["metric"].max()) or 1.0))
    config = {"metric": bar, "Ready?": st.column_config.TextColumn(width=200),
        "Estimator": st.column_config.TextColumn(width=92), "Version": st.column_config.TextColumn(width=104),
        "baseline": st.column_config.NumberColumn("Baseline", format="%.4g"), "at": "When"}  # fmt: skip
    order = deciding_first(["Beside", *frame.columns], ("Beside", "metric", "Env", "Version", "Ready?"))
    chosen = ticked(
        frame, ids, picked, view.MOST, key=f"board:{choice.ref}:{main}", order=order, config=config
    )
    if chosen != picked:
        st.query_params["runs"] = chosen
        st.rerun()
    if picked:
        _beside(choice, rows, [rows[ids.index(i)] for i in picked], names)


def _beside(
    choice: Choice, every_row: list[dict[str, Any]], rows: list[dict[str, Any]], names: list[str]
) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Beside each other" if len(rows) > 1 else "One candidate")
        every = switched("All facts", "diff") or len(rows) == 1
    if view.on_other_rows(rows):
        st.warning("**Not on the same rows.** These were measured on different test rows: compare them in *Promotion*.",
            icon=":material/difference:")  # fmt: skip
    trained = view.trained_in(every_row, choice.estate.environments)
    its = {r["run"]: trained.get(r["model_version"], r["run"]) for r in rows}  # a promotion trains nothing
    runs = runs_by_id(choice.estate, list(its.values()))
    currency = choice.estate.site.settings.estate.currency
    covered = intervals.by_version(training.versions(choice.estate.site.store, choice.ref))
    facts = [
        view.facts(r, run := runs.get(its[r["run"]]), (run or {}).get("profile", {}), names, currency, covered) for r in rows
    ]  # fmt: skip
    head = [f"{n}. {f['Estimator']} · {f['Environment']} · {f['Version']}" for n, f in enumerate(facts, 1)]
    st.table(pd.DataFrame(view.beside(facts, names, all_=every), columns=["", *head]), border="horizontal", hide_index=True)  # fmt: skip
    without = view.unregistered(every_row, choice.env)
    for run in dict.fromkeys(r["run"] for r in rows):  # a training makes several
        st.page_link(**to("run", run=run), label=f"Run {run}: steps, log, importance", icon=":material/list:")
        if run in without:
            register_card(choice, run)


show()
