"""The lake's acts: deliver files, refine (all, a layer, a dataset), split, the pipeline, R&D mode; each with its plan."""

from __future__ import annotations

import datetime as dt
from typing import Any

import streamlit as st

from cockpit.acts.acting import act_card, follow, plan_card, planned
from cockpit.acts.uploads import kept
from cockpit.frame.carrying import to
from cockpit.frame.choosing import one_of
from cockpit.frame.components import Choice, locked
from cockpit.frame.saying import done_now, nothing_yet, said_done
from cockpit.views import lake as view
from cockpit.words import plural
from esml_engine.refining.staleness import in_rnd
from esml_engine.refs import Purpose

_DELIVERED = "_delivered"


def refine(choice: Choice, purpose: Purpose, m: view.Matrix) -> None:
    """Only what is stale; narrowed to a layer or a dataset when asked."""
    layers = {"bronze": "to bronze", "silver": "to silver", "gold": "gold alone"}
    if m.away:
        nothing_yet(
            f"{choice.env} can't be reached.", "What was delivered there is known when it answers again."
        )
        return
    if not any(c[0].label != "none yet" for c in m.datasets.values()):
        nothing_yet("No IN file yet.",
            f"Deliver one under *Deliver files*, or put it into the dataset's IN folder of {choice.env}, into its day's: in/yyyy/mm/dd.",
            ("Deliver files", "upload", to("lake", act="Deliver files")))  # fmt: skip
        return
    with st.container(horizontal=True):
        with st.container(width=180):
            layer = one_of("Layer", list(layers), "layer", "all layers", format_func=layers.__getitem__)
        with st.container(width=220):
            dataset = one_of("Dataset", list(m.datasets), "dataset", "all datasets", disabled=layer == "gold")
    params: dict[str, Any] = {"purpose": purpose, "layer": layer, "dataset": "" if layer == "gold" else dataset}  # fmt: skip
    plan = planned(lambda: choice.model.plan_refine(**params))
    if plan:
        label = f"Refine {plural(m.waiting, 'file')}" if m.waiting and not layer and not dataset else "Refine"
        act_card(choice, plan, label, "refine", **params)


def deliver(choice: Choice, purpose: Purpose) -> None:
    """Upload files into a dataset's IN folder, under the date that they are of."""
    if locked(choice.estate, "ingest", choice.ref.project):
        return
    sets = choice.estate.site.settings.model(choice.ref).datasets
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=220):
            dataset = st.selectbox("Dataset", list(sets), key=f"deliver:{choice.ref}")
        with st.container(width=180):
            date = st.date_input("Date of the data", value=dt.datetime.now(dt.UTC).date(), key="deliver:date",
                format="YYYY-MM-DD")  # fmt: skip
    said_done("ingest")
    given = st.file_uploader(
        f"Files of {dataset}: .{sets[dataset].format}", accept_multiple_files=True, type=[sets[dataset].format],
        key=f"deliver:files:{choice.ref}:{dataset}:{st.session_state.get(_DELIVERED, 0)}",
        help="A file is known by dataset, date and name; delivered again with other content it replaces the old one.",
    )  # fmt: skip
    if not given:
        st.caption(f"Files delivered to {choice.env}'s lake by other means are found too.")
        return
    files: list[Any] = [kept(choice.estate, f) for f in given]
    day = str(date)
    plan = planned(lambda: choice.model.ingest(dataset, files, day, purpose, dry_run=True))
    if plan is None:
        return
    for r in plan.draft.params["files"]:
        if r["status"] == "refused":
            st.warning(f"**{r['path'].rsplit('/', 1)[-1]} will not be delivered**: {r['reason']}.",
                icon=":material/report:")  # fmt: skip

    def delivered(plan_hash: str) -> dict[str, Any]:
        answer = dict(choice.model.ingest(dataset, files, day, purpose, plan=plan_hash))
        side = {"purpose": purpose} if purpose != "train" else {}
        done_now("ingest", f"Delivered to {dataset} of {choice.env}: {view.delivery_in_words(answer)}.",
            ("lake", "See the plan of refining", {"env": choice.env, **side}))  # fmt: skip
        st.session_state[_DELIVERED] = st.session_state.get(_DELIVERED, 0) + 1  # an empty field for the next
        return answer

    plan_card(
        choice.estate, plan, f"Deliver {plural(len(files), 'file')}", delivered,
        key="ingest", icon="upload", durable=False,
    )  # fmt: skip


def split(choice: Choice, m: view.Matrix) -> None:
    """Gold into train, validate and test; the settings' values stand until others are given."""
    if m.split is None:
        nothing_yet("This side is not split.", "Only gold of the train side is, and not for analytics.")
        return
    if not m.gold.label.startswith("v"):
        nothing_yet("No gold yet.", "Refine first.", ("Refine", "play_arrow", to("lake")))
        return
    now = choice.estate.site.settings.model(choice.ref).split
    usual = now.model_dump(by_alias=True)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        shares = []
        for name in ("train", "validate", "test"):
            with st.container(width=120):
                shares.append(st.number_input(name, 0.0, 1.0, float(usual[name]), 0.05,
                    key=f"split:{name}:{choice.ref}"))  # fmt: skip
        with st.container(width=120):
            by = st.selectbox("by", ["key", "group", "time"], index=["key", "group", "time"].index(now.by),
                key=f"split:by:{choice.ref}")  # fmt: skip
        with st.container(width=100):
            seed = st.number_input("seed", 0, value=int(now.seed), key=f"split:seed:{choice.ref}")
        stratify = st.checkbox("stratify", value=bool(now.stratify), key=f"split:stratify:{choice.ref}",
            help="The label's shares alike in all three parts.")  # fmt: skip
    group = ""
    if by == "group":
        with st.container(width=220):
            group = st.text_input("Group column", value=now.group or "", key=f"split:group:{choice.ref}")
    asked = {"train": shares[0], "validate": shares[1], "test": shares[2], "by": by, "seed": int(seed), "stratify": stratify,
        "group": group}  # fmt: skip
    params = {k: v for k, v in asked.items() if v != usual[k]}
    plan = planned(lambda: choice.model.plan_split(**params))
    if plan:
        act_card(choice, plan, "Split gold", "split", icon="call_split", **params)


def pipeline(choice: Choice, purpose: Purpose) -> None:
    """The whole chain as one run: to gold, trained, test or prod; on the inference side refine and score."""
    if purpose == "inference":
        st.caption("Refines what was delivered to score, and scores what is new with the champion.")
        params: dict[str, Any] = {"purpose": "inference"}
    else:
        analytics = choice.estate.site.settings.model(choice.ref).task == "analytics"
        later = [e for e in choice.estate.environments if e in ("test", "prod")]
        stages = ["gold"] if analytics else ["gold", "trained", *later]
        with st.container(width=220):
            until = st.selectbox("Until", stages, index=0 if analytics else 1, key=f"until:{choice.ref}")
        params = {"until": until}
    plan = planned(lambda: choice.model.plan_pipeline(**params))
    if plan:
        act_card(choice, plan, "Run the pipeline", "pipeline", icon="conversion_path", **params)


def rnd(choice: Choice) -> None:
    """R&D mode of this model and environment: a sample, one version, nothing kept, nothing promoted."""
    on = in_rnd(choice.estate.site.settings.model(choice.ref), choice.env)
    st.markdown(
        f"R&D mode is **{'on' if on else 'off'}** in {choice.env}. On: a 20 % sample of the rows by key, one version of each table, "
        "no scored rows kept, and what is trained in it can't be promoted. It is for trying things cheaply."
    )
    key, value = f"rnd.{choice.env}", "false" if on else "true"
    plan = planned(lambda: choice.estate.set(str(choice.ref), key, value, dry_run=True))
    if plan:
        plan_card(
            choice.estate, plan, f"Turn R&D mode {'off' if on else 'on'}",
            lambda h: dict(choice.estate.set(str(choice.ref), key, value, plan=h)),
            key="rnd", icon="science", durable=False,
        )  # fmt: skip


def newest(choice: Choice, purpose: Purpose) -> None:
    """The newest run on this side, live, and what it made."""
    follow(choice, ("refine", "split", "pipeline"), key="refine-run", purpose=purpose)
