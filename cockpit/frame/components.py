"""What pages are laid out with: the page frame, the three kinds of message, times and badges, chips, selectors."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cockpit.facts.reads import who_can
from cockpit.frame import carrying, opening, reaching
from cockpit.frame.addressing import unread
from cockpit.frame.carrying import Link, to
from cockpit.frame.reaching import unreached
from cockpit.frame.saying import drawn_anew, failure, nothing_yet, said_elsewhere
from cockpit.frame.screens import on_phone
from cockpit.views.figures import Figure
from cockpit.views.plan import without_underscores
from cockpit.words import STATES, clock, sentence, tidy
from esml_engine.demo import why_stopped
from esml_engine.errors import (
    EsmlError,
)
from esml_engine.estate import Estate
from esml_engine.model import Model as EngineModel
from esml_engine.refining.staleness import in_rnd
from esml_engine.refs import ModelRef


# messages
def no_model_yet(estate: Estate) -> None:
    """Nothing in the estate that a page could be about, and the way to make it."""
    have = estate.projects()
    if have:
        nothing_yet("No model yet.", "Make one on the page of its project.", _first_model(have[0]))
    else:
        way = ("Make the first project", "create_new_folder", to("estate", new="project"))
        nothing_yet("No project yet.", "Make one, or load the demo: `esml demo`.", way)


def _first_model(project: str) -> tuple[str, str, Link]:
    return "Make the first model", "add", to("project", project=project, tab="New model")


def ways_on(place: DeltaGenerator, about: str, ways: Sequence[tuple[str, str, Link]]) -> None:
    """Where a chosen row leads: links (label, icon, target) above its table.

    Not `st.switch_page`: it writes a second entry into the browser's history, with this page's path and that one's query.
    """
    with place.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{about}**", width="content")
        for label, icon, target in ways:
            st.page_link(**target, label=label, icon=f":material/{icon}:")


def no_sight(estate: Estate) -> bool:
    """Say so when this person has no role anywhere, though there are projects."""
    if estate.projects() or not estate.site.files.projects:
        return False
    can = who_can(estate.site, "member_add", "") or "an administrator of the estate"
    st.warning(f"**You may not see any project.** {estate.actor.rights} has no role yet. Who can give one: {can}, and each project's manager.",
        icon=":material/lock:")  # fmt: skip
    return True


def away(estate: Estate, *envs: str) -> None:
    """Say which of these environments (none named: of all) did not answer when they were last asked: facts about them may be old."""
    for r in unreached(estate.site):
        if not envs or r.env in envs:
            last = (
                f"it last answered {when(r.answered)}"
                if r.answered
                else "it has not answered since this server began"
            )
            # what a check found may name any project's model
            why = f" ({tidy(r.why, opening.root())})" if r.why and estate.may("read_status").allowed else ""
            st.warning(
                f"**{r.env} can't be reached**; {last}{why}. What stands here about {r.env} is as it was recorded, and may be older than it looks.",
                icon=":material/cloud_off:",
            )


def demo_stopped(estate: Estate) -> None:
    """Say that the demo's story, which is told beside the worker, ended before its end."""
    if why := why_stopped(estate.site.root):
        st.error(
            f"**The demo stopped before its end:** {tidy(why, opening.root())}. Start `make cockpit` or `esml up --with-demo` again: it goes on where it was.",
            icon=":material/error:",
        )


def locked(estate: Estate, rule: str, project: str) -> bool:
    """Say so in the form's place when this person may not do what it asks for, with the reason and who can."""
    verdict = estate.may(rule, project)
    if verdict.allowed:
        return False
    who = who_can(estate.site, rule, project)
    end = f"Who can: {who}." if who else "Nobody was given such a role yet: ask an administrator."
    st.info(f"**You may not:** {without_underscores(verdict.reason)}. {end}", icon=":material/lock:")
    return True


def gone(what: str, name: str, *, instead: bool = True) -> None:
    """A link to something that is not there, or not for this person; never something else instead.

    `instead`: with a way on, where the page shows nothing else.
    """
    ask = " Ask the person who sent the link, or an owner of the project." if instead else ""
    st.warning(f"**{what} `{name}` is gone, or not yours to see.**{ask}", icon=":material/link_off:")
    if not instead:
        return
    st.page_link(**to("estate"), label="All models that you may see", icon=":material/dashboard:")


def page(show: Callable[[], None]) -> Callable[[], None]:
    """A page's frame: a skeleton while it is drawn for the first time, and errors of the engine as one of the messages; anything else is the server's."""
    name = show.__code__.co_filename

    @functools.wraps(show)
    def framed() -> None:
        drawn: set[str] = st.session_state.setdefault("_drawn", set())
        # later draws keep what stands there until the new one comes: a skeleton would only push it about
        loading = contextlib.nullcontext() if name in drawn else st.skeleton(height=360)
        head = st.container()
        drawn_anew()
        try:
            with loading:
                left_out()
                show()
        except EsmlError as e:
            if gone := _not_reached():
                nothing_yet(f"{gone} can't be reached.", "What lies there is shown when it answers again.")
            else:
                failure(e)
        with head:
            said_elsewhere()
        drawn.add(name)

    return framed


def _not_reached() -> str:
    """The environment that the page is about, where it does not answer; '' where it does, or the estate can't be opened at all."""
    env = st.query_params.get("env") or st.session_state.get("env") or ""
    try:
        return env if reaching.away(opening.estate().site, env) else ""
    except EsmlError:  # the page's own error says it
        return ""


def left_out() -> None:
    """Projects and models whose settings file can't be used, to those who may see them: they stand on no page meanwhile."""
    estate = opening.estate()
    for scope, error in estate.site.files.broken.items():
        if estate.may("read_status", scope.split("/")[0]).allowed:
            hint = f" {sentence(tidy(error.hint, opening.root()))}." if error.hint else ""
            st.error(f"**{scope} is left out until its settings are mended:** {tidy(error.message, opening.root())}.{hint}",
                icon=":material/settings_alert:")  # fmt: skip


# figures
def figures(cards: Sequence[Figure]) -> None:
    """Five figures beside each other, each with its days drawn; on a phone without them, so that what they are about comes sooner."""
    small = on_phone()
    with st.grid(5, min_column_width=160, gap="small"):
        for f in cards:
            drawn = list(f.series) if len(f.series) > 1 and not small else None
            st.metric(
                f.label, f.text, f.note, delta_color=f.tone, delta_arrow=f.arrow, border=True,
                height="content" if small else 150, help=f.help or None, chart_data=drawn, chart_type=f.chart,
            )  # fmt: skip


def profile_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """The profile of a table's columns, a line each; moments get the room that they need."""
    bar = st.column_config.ProgressColumn("Filled", min_value=0.0, max_value=1.0, format="percent")
    wide = {n for r in rows for n, x in r.items() if str(x).endswith(" UTC")}
    moments = {n: st.column_config.TextColumn(width=160) for n in wide}
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, column_config={"filled": bar, **moments}, height="content"
    )


# sight
def zone() -> str | None:
    """The viewer's time zone, where the browser told it."""
    return str(st.context.timezone) if st.context.timezone else None


def when(text: str | dt.datetime | None) -> str:
    """A moment in the viewer's zone."""
    return clock(text, zone())


def as_of() -> str:
    """`as of 24 Nov 14:32`."""
    return f"as of {when(dt.datetime.now(dt.UTC))}"


def badge(state: str, label: str = "") -> None:
    """A state as icon and word; its colour only repeats them."""
    icon, color, word = STATES.get(state, ("help", "gray", state))
    st.badge(label or word, icon=f":material/{icon}:", color=color)


@dataclass(frozen=True)
class Choice:
    """What the selectors say."""

    estate: Estate
    ref: ModelRef
    env: str

    @property
    def model(self) -> EngineModel:
        """The chosen model in the chosen environment."""
        return self.estate.model(str(self.ref), self.env)


_T = TypeVar("_T")


def chips(label: str, options: dict[str, str], key: str) -> list[str]:
    """Filters as chips (value: shown text) whose chosen values stand in the address under `key`.

    Not bound by Streamlit: a bound widget writes its shown text, and counts in it would break a link tomorrow.
    """
    if not options:
        return []
    widget = f"chips:{key}"
    now = st.session_state[widget] = [v for v in st.query_params.get_all(key) if v in options]

    def changed() -> None:
        st.query_params[key] = st.session_state[widget]

    return list(
        st.pills(
            label,
            list(options),
            selection_mode="multi",
            key=widget,
            label_visibility="collapsed",
            format_func=lambda v: lit(options[v], v in now) if v in options else str(v),
            on_change=changed,
        )
    )


def lit(text: str, chosen: bool) -> str:
    """The text of a segment or chip. The theme's primary colour is the ground of white text on buttons and, dark, can't be bright
    enough for text as well: the chosen one takes the theme's blue for text, which is."""
    return f":blue[{text}]" if chosen else text


def pick(
    label: str,
    options: list[_T],
    key: str,
    shown: Callable[[_T], str] = str,
    *,
    default: _T,
    width: int = 260,
) -> _T:
    """A selector whose value stands in the address under `key`; the default leaves it."""
    widget = f"one:{key}"
    unread(key, map(str, options))
    asked = st.query_params.get(key)
    now = next((o for o in options if str(o) == asked), default)
    st.session_state[widget] = now

    def changed() -> None:
        value = st.session_state[widget]
        if value == default:
            st.query_params.pop(key, None)
        else:
            st.query_params[key] = str(value)

    with st.container(width=width):
        chosen: _T = st.selectbox(
            label, options, key=widget, format_func=shown, label_visibility="collapsed", on_change=changed
        )
    return chosen


def _pick(key: str, also: Callable[[str], dict[str, str]] | None = None) -> None:
    """A selector was changed: the address is what counts."""
    value = st.session_state[f"pick:{key}"]
    st.query_params.update({key: value, **(also(value) if also else {})})


def reach(estate: Estate) -> dict[str, list[str]]:
    """Models by project, those that this person may see; a project without models is there as well."""
    out: dict[str, list[str]] = {p: [] for p in estate.projects()}
    for r in estate.visible():
        out.setdefault(r.project, []).append(r.model)
    return out


def lost(
    estate: Estate, seen: Mapping[str, Sequence[str]], asked: Mapping[str, str]
) -> tuple[str, str] | None:
    """What the address names that is not there, or not for this person: kind and name of the first.

    A model is looked for in the project that is named beside it, else in all of them.
    """
    project, model, env = (asked.get(k, "") for k in carrying.KEYS)
    if project and project not in seen:
        return "Project", project
    models = seen[project] if project else [m for its in seen.values() for m in its]
    if model and model not in models:
        return "Model", model
    return ("Environment", env) if env and env not in estate.environments else None


def none_there(estate: Estate, title: str) -> None:
    """Under the page's title, why there is nothing that it could be about."""
    st.title(title)
    if not no_sight(estate):
        no_model_yet(estate)


def _projects(estate: Estate, options: list[str], models: Mapping[str, Sequence[str]]) -> None:
    teams = {} if on_phone() else {p: estate.site.settings.project(p).team for p in options}
    st.selectbox(
        "Project", options, key="pick:project", label_visibility="collapsed",
        format_func=lambda p: f"{p} · {teams.get(p)}" if teams.get(p) else p,
        on_change=_pick, args=("project", lambda p: {"model": models[p][0]} if models[p] else {}),
    )  # fmt: skip


def choose(estate: Estate, title: str) -> Choice | None:
    """Project, model and environment in a row above the title; None after saying that there is none, or that a link's target is gone, under the page's `title`."""
    by_project = reach(estate)
    asked = {k: st.query_params.get(k, "") for k in carrying.KEYS}
    last = carrying.chosen()
    if bad := lost(estate, by_project, asked):
        st.title(title)
        gone(*bad)
        return None
    begun = [p for p, models in by_project.items() if models]
    if not begun and not asked["project"]:
        none_there(estate, title)
        return None
    holds = [p for p in begun if asked["model"] in by_project[p]] if asked["model"] else begun
    last_project = last.get("project", "")
    project = asked["project"] or (last_project if last_project in holds else holds[0])
    models = by_project[project]
    if not models:
        st.session_state["pick:project"] = project
        with st.container(width=220):
            _projects(estate, [project, *begun], by_project)
        st.title(title)
        nothing_yet(f"{project} has no model yet.", "Make one on its page.", _first_model(project))
        return None
    model = asked["model"] or (
        last["model"] if last_project == project and last.get("model") in models else models[0]
    )
    env = asked["env"] or (last["env"] if last.get("env") in estate.environments else estate.environments[0])
    chosen = {"project": project, "model": model, "env": env}
    carrying.choose(**chosen)
    if asked != chosen:
        st.query_params.update(chosen)  # so that the address can be forwarded
    for k, v in chosen.items():
        st.session_state[f"pick:{k}"] = v
    small = on_phone()  # both on one row, whatever the screen
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width=160 if small else 220):
            _projects(estate, begun, by_project)
        with st.container(width=180):
            st.selectbox(
                "Model",
                models,
                key="pick:model",
                label_visibility="collapsed",
                on_change=_pick,
                args=("model",),
            )
        st.segmented_control(
            "Environment",
            list(estate.environments),
            required=True,
            key="pick:env",
            label_visibility="collapsed",
            format_func=lambda e: lit(e, e == env),
            on_change=_pick,
            args=("env",),
        )
        ref = ModelRef(project, model)
        if in_rnd(estate.site.settings.model(ref), env):
            st.badge("R&D mode", icon=":material/science:", color="orange",
                help="One version is kept, of a sample of the rows; no scored rows; what is trained in it does not go up. It is switched on the page Lake.")  # fmt: skip
    away(estate)
    return Choice(estate, ref, env)
