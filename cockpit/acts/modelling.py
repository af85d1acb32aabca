"""Acts on models that several pages have: train with a profile and a budget, register a past run, deploy a version, score a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from cockpit.acts.acting import act_card, planned
from cockpit.acts.uploads import kept
from cockpit.frame.components import Choice, pick
from cockpit.frame.saying import failure, nothing_yet
from esml_engine.errors import EsmlError, NotFoundError
from esml_engine.training import records as training
from esml_engine.training.acts import profile_of


def train_card(choice: Choice) -> None:
    """Train with a profile and a budget; the plan follows what is chosen."""
    settings = choice.estate.site.settings.model(choice.ref)
    names: list[str] = [*settings.train] or [choice.env]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        profile = pick("Profile", names, "profile", lambda n: f"profile {n}",
            default=choice.env if choice.env in names else names[0], width=220)  # fmt: skip
        usual = profile_of(
            choice.estate.site, choice.ref, choice.env, {"profile": "" if profile == choice.env else profile}
        )
        seconds = _budget(float(usual.seconds))
        st.caption(
            f"{usual.mode} · {usual.search} · at most {usual.trials} trials · {usual.folds} folds · {usual.metric}"
        )
    params: dict[str, Any] = {"profile": "" if profile == choice.env else profile}
    if seconds != usual.seconds:
        params["budget"] = seconds
    plan = planned(lambda: choice.model.plan_train(**params))
    if plan is None:
        return
    act_card(choice, plan, f"Train in {choice.env}", "train", icon="model_training", place="board:", **params)


def _budget(usual: float) -> float:
    """Seconds of search, which stand in the address when they are not the profile's."""
    asked = st.query_params.get("budget", "")
    try:
        now = max(1.0, float(asked)) if asked else usual
    except ValueError:
        st.warning(f"`budget={asked}` in the address is no number of seconds and was left out.",
            icon=":material/link_off:")  # fmt: skip
        now = usual
    st.session_state["train:budget"] = now

    def changed() -> None:
        new = float(st.session_state["train:budget"])
        if new == usual:
            st.query_params.pop("budget", None)
        else:
            st.query_params["budget"] = f"{new:g}"

    with st.container(width=200):
        return float(
            st.number_input(
                "Budget, seconds",
                min_value=1.0,
                step=5.0,
                key="train:budget",
                on_change=changed,
                help="The search ends after so many seconds, or after its trials.",
            )
        )


def register_card(choice: Choice, run: str) -> None:
    """A past run's model as a version."""
    plan = planned(lambda: choice.model.register(run, dry_run=True))
    if plan is None:
        return
    act_card(choice, plan, f"Register the model of {run}", "register", icon="bookmark_add", place=f"{run}:", run=run)  # fmt: skip


def deploy_card(choice: Choice) -> None:
    """Any version that stands in this environment, beside the one that serves."""
    store = choice.estate.site.store
    have = [r["version"] for r in training.versions(store, choice.ref, choice.env)]
    if not have:
        nothing_yet(f"No version in {choice.env} yet.", "Train here, or promote one into it.")
        return
    champion = training.champion(store, choice.ref, choice.env)
    first = champion["version"] if champion else have[0]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=260):
            version = st.selectbox(
                "Version", have, index=have.index(first), key=f"deploy:{choice.ref}:{choice.env}",
                format_func=lambda n: f"v{n} · champion" if champion and n == champion["version"] else f"v{n}",
            )  # fmt: skip
        st.caption("All traffic moves when the smoke test has passed; the old version stays beside it for the way back.")  # fmt: skip
    plan = planned(lambda: choice.model.plan_deploy(version=version))
    if plan is None:
        return
    act_card(choice, plan, f"Deploy v{version}", "deploy", icon="rocket_launch", place="deployments:",
        version=version)  # fmt: skip


def score_file_card(choice: Choice) -> None:
    """Score an uploaded file as a batch, or all that waits in to_score."""
    given = st.file_uploader("File to score", type=["csv", "parquet", "json"], key="score:file",
        help="Rows shaped as the model's signature. Without a file: everything in to_score that is not scored yet.")  # fmt: skip
    with st.container(width=260):
        caller = st.text_input("Caller", value=choice.estate.actor.rights.split("@")[0], key="score:caller",
            help="Who will be told: kept with every row.")  # fmt: skip
    params: dict[str, Any] = {"caller": caller.strip() or "batch"}
    if given is not None:
        params["file"] = kept(choice.estate, given)
    try:
        plan = choice.model.plan_score_batch(**params)
    except NotFoundError as e:
        if given is not None:
            failure(e)
        else:
            st.caption(":material/inbox: Nothing waits in to_score: choose a file above, or deliver files on the inference side of the page Lake.")  # fmt: skip
        return
    except EsmlError as e:
        failure(e)
        return
    act_card(choice, plan, f"Score {Path(params['file']).name}" if given is not None else "Score what waits", "score_batch",
        icon="calculate", place="score:", **params)  # fmt: skip
