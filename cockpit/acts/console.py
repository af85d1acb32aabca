"""The test console: rows shaped as the model's signature, one call to the endpoint, its answer, and the same call for a shell."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from cockpit.frame.carrying import to
from cockpit.frame.components import Choice, locked
from cockpit.frame.saying import failure
from cockpit.views import deployments as view
from cockpit.words import plural
from esml_engine.errors import EsmlError
from esml_engine.serving.reads import Served
from esml_engine.training import records as training

_SAID = "_console"


def console(choice: Choice, here: Served) -> None:
    """Rows to send, the call, and what came back; a call is an act like others: authorised, audited, kept as scored."""
    version = training.get_version(choice.estate.site.store, choice.ref, choice.env, here.version)
    example: dict[str, Any] = version["detail"]["example"]
    key = f"console:{choice.ref}:{choice.env}:{here.version}"
    st.caption(f"Rows shaped as the signature of v{here.version}; the first is its input example. A call is kept as scored data under your name." if here.save else f"Rows shaped as the signature of v{here.version}.")  # fmt: skip
    rows = st.data_editor(pd.DataFrame([example]), num_rows="dynamic", hide_index=True, key=key)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=240):
            caller = st.text_input("Caller", value=f"console:{choice.estate.actor.rights}", key=f"{key}:caller")  # fmt: skip
        verdict = choice.estate.may("score", choice.ref.project)
        pressed = st.button(
            "Send",
            icon=":material/send:",
            type="primary",
            key=f"{key}:send",
            disabled=not verdict.allowed or not here.running,
        )
        if not here.running:
            st.caption(":material/power_off: The endpoint does not run: start the worker with `esml up`.")
    locked(choice.estate, "score", choice.ref.project)
    if pressed:
        _send(choice, rows, caller, key)
    _answer(choice, key)
    with st.expander("The same call from a shell", icon=":material/terminal:"):
        st.code(view.curl(here.url, example), language="bash")
        st.caption(f"The key: `esml keys {choice.ref} --env {choice.env}` (audited).")


def _send(choice: Choice, rows: pd.DataFrame, caller: str, key: str) -> None:
    plain = [{k: None if pd.isna(v) else v for k, v in row.items()} for row in rows.to_dict(orient="records")]
    try:
        st.session_state[f"{_SAID}:{key}"] = choice.model.score(plain, caller=caller.strip() or "console")
    except EsmlError as e:
        st.session_state[f"{_SAID}:{key}"] = e
    st.rerun()  # the counts above the console are of before the call


def _answer(choice: Choice, key: str) -> None:
    said = st.session_state.get(f"{_SAID}:{key}")
    if isinstance(said, EsmlError):
        failure(said)
    elif said:
        with st.container(border=True, gap="small"):
            st.badge(
                f"v{said['model_version']} answered {plural(said['rows'], 'row')}",
                icon=":material/check:",
                color="green",
            )
            st.dataframe(pd.DataFrame(view.answered(said)), hide_index=True, height="content", placeholder="")
            st.page_link(
                **to(
                    "row",
                    project=choice.ref.project,
                    model=choice.ref.model,
                    env=choice.env,
                    request=said["request_id"],
                    row="0",
                ),
                label="Passport of the first row",
                icon=":material/badge:",
            )
