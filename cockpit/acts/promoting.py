"""What the promotion page does: compare, promote, roll back, hand out the evidence, show who was champion when."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

from cockpit.acts.acting import act_card, planned
from cockpit.frame.addressing import unread
from cockpit.frame.carrying import to
from cockpit.frame.choosing import open_tabs, opens
from cockpit.frame.components import Choice, when
from cockpit.frame.saying import nothing_yet
from esml_engine.door.facts import Plan
from esml_engine.door.policy import others
from esml_engine.lake.catalogue import all_latest
from esml_engine.model import Model
from esml_engine.promotion import evidence as packs
from esml_engine.promotion import records


def evidence(choice: Choice, version: int) -> None:
    """The newest evidence pack about this version in the environment, as one file."""
    site = choice.estate.site
    if not choice.estate.may("read_evidence", choice.ref.project).allowed:
        return
    found = records.evidence_of(site.store, choice.ref, choice.env, version)
    if found:
        pack = found[0]["evidence"]
        st.download_button(
            "Evidence pack",
            data=lambda: packs.html(packs.pack(site, pack)),
            file_name=f"evidence-{choice.ref.model}-{choice.env}-{pack}.html",
            mime="text/html",
            icon=":material/download:",
            key="evidence",
        )


def not_compared(choice: Choice, version: int) -> None:
    """There is no evidence yet, and what makes some."""
    what = f"v{version} was not compared with {choice.env} yet."
    if "gold_test" in all_latest(choice.estate.site.store, choice.ref, choice.env):
        nothing_yet(what, "Comparing scores both models afresh on the same rows.")
    else:
        nothing_yet(what, f"There is no gold_test in {choice.env}: without it every version is refused. Deliver, refine and split there first.",
            (f"Lake of {choice.env}", "waves", to("lake")))  # fmt: skip


def opened() -> bool:
    """Whether the address asks for the plans of what can be done."""
    unread("act", ("promote",))
    return bool(st.query_params.get("act") == "promote")


def offer(version: int, *, passed: bool) -> None:
    """The button that opens and closes the plans, beside the verdict."""
    label = f"Promote v{version}: see the plan" if passed else "Compare again: see the plan"
    opens(label, "Close the plan", "act", "promote", primary=passed, icon="upgrade")


def acts(choice: Choice, source: str, version: int) -> None:
    """Promote, or compare only, each under its plan."""
    model = choice.estate.model(str(choice.ref), source)
    policy, origin = choice.estate.site.settings.policy(choice.ref, choice.env)
    if policy.approvals:
        st.caption(f":material/approval: Into {choice.env} with the approval of {others(policy.approvals)}, as {origin['approvals']} says.")  # fmt: skip
    for tab, name in open_tabs(["Promote", "Compare only"]):
        with tab:
            if name == "Promote":
                _card(choice, lambda: model.plan_promote(choice.env, version), f"Promote v{version} to {choice.env}", "promote",
                    "upgrade", model, version)  # fmt: skip
            else:
                _card(choice, lambda: model.plan_compare(choice.env, version), "Compare", "compare", "compare_arrows", model,
                    version)  # fmt: skip


def _card(
    choice: Choice, plan: Callable[[], Plan], label: str, act: str, icon: str, model: Model, version: int
) -> None:
    made = planned(plan)
    if made is None:
        return
    source = Choice(choice.estate, choice.ref, model.env_name)
    act_card(source, made, label, act, icon=icon, place="promotion:", to=choice.env, version=version)


def history(choice: Choice) -> None:
    """Who was champion when, the evidence behind it, and the way back."""
    line = choice.model.timeline()
    if not line:
        return
    st.subheader(f"Champions of {choice.env}")
    frame = pd.DataFrame(
        [
            {"Version": f"v{k['version']}", "Since": when(k["at"]), "By": k["by"], "Why": k["why"] or "",
                "Evidence": k.get("evidence") or ""}
            for k in line
        ]
    )  # fmt: skip
    st.table(frame, border="horizontal", hide_index=True)
    if len({k["version"] for k in line}) > 1:
        plan = planned(lambda: choice.model.rollback(dry_run=True))
        if plan is None:
            return
        act_card(
            choice,
            plan,
            f"Roll back {choice.env}",
            "rollback",
            icon="undo",
            place="promotion:",
            primary=False,
        )
