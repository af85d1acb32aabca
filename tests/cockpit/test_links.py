"""Addresses: what they carry from page to page, and links to what is gone or can't be read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from cockpit import places
from cockpit.frame import carrying, opening
from cockpit.frame.addressing import ADDRESS, UNKNOWN
from cockpit.frame.components import lost
from cockpit.frame.navigation import HIDDEN, LATER, SECTIONS, lost_page
from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.refs import ModelRef
from tests.cockpit.conftest import MODEL, Open
from tests.conftest import copy_of

WHERE = {"project": "project001", "model": "m01_price"}
VISIBLE = [ModelRef("project001", "m01_price"), ModelRef("project001", "m02"), ModelRef("project002", "m03")]


def said_by(at: AppTest) -> str:
    return "\n".join(x.value for x in (*at.warning, *at.info, *at.error, *at.markdown, *at.caption))


@pytest.fixture(scope="module")
def asked(estate: Estate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with a request: where none was ever made, Approvals says that alone."""
    root = copy_of(estate.site.root, tmp_path_factory.mktemp("links") / "estate")
    open_estate(root).model(MODEL).ask_exception(9.0, "a trial")
    return root


@pytest.mark.parametrize(
    ("name", "query", "said"),
    [
        ("promotion", {**WHERE, "env": "test", "version": "99"}, "Version of dev `99` is gone"),
        ("scored", {**WHERE, "env": "dev", "view": "gone"}, "View `gone` is gone"),
        ("work", {"request": "q-nope"}, "Request `q-nope` is gone"),
        ("approvals", {"request": "q-nope"}, "Request `q-nope` is gone"),
        ("deployments", {**WHERE, "env": "dev", "endpoint": "nope"}, "Endpoint `nope` is gone"),
        ("leaderboard", {**WHERE, "env": "dev", "runs": "r-nope:linear"}, "`r-nope:linear` is gone"),
        ("model", {**WHERE, "tab": "Nothing"}, "`tab=Nothing` in the address can't be read"),
        ("lake", {**WHERE, "act": "Nothing"}, "`act=Nothing` in the address can't be read"),
        ("lake", {**WHERE, "purpose": "both"}, "`purpose=both` in the address can't be read"),
        ("runs", {"state": "odd"}, "`state=odd` in the address can't be read"),
        ("approvals", {"kind": "odd"}, "`kind=odd` in the address can't be read"),
        ("estate", {"stage": "odd"}, "`stage=odd` in the address can't be read"),
        ("estate", {"sort": "odd"}, "`sort=odd` in the address can't be read"),
        ("leaderboard", {**WHERE, "train": "true", "profile": "odd"}, "`profile=odd` in the address can't be read"),
        ("leaderboard", {**WHERE, "train": "true", "budget": "odd"}, "`budget=odd` in the address is no number"),
    ],
)  # fmt: skip
def test_a_link_to_what_is_not_there_says_so(
    asked: Path, page: Open, name: str, query: dict[str, str], said: str
) -> None:
    at = page(asked, name, **query)
    assert not at.exception and said in said_by(at)


def test_a_filter_that_fits_no_model_now_stays_a_filter(estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "estate", attention="failed")
    assert "No model passes these filters" in said_by(at)
    assert any("Failed run · 0" in str(p.options) for p in at.pills) or "Failed run · 0" in str(at)


@pytest.mark.parametrize("name", ["estate", "runs", "approvals", "work", "scored", "lake", "project"])
def test_somebody_without_a_role_is_told_so(estate: Estate, page: Open, name: str) -> None:
    at = page(estate.site.root, name, act_as="nobody@x")
    said = said_by(at)
    assert not at.exception
    assert "**You may not see any project.** nobody@x has no role yet" in said and "esml " not in said
    assert "No run yet" not in said and "No model yet" not in said


@pytest.mark.parametrize(
    "name", ["lake", "model", "scored", "leaderboard", "promotion", "deployments", "dataset"]
)
def test_a_project_without_a_model_is_not_said_to_be_gone(tmp_path: Path, page: Open, name: str) -> None:
    init_estate(tmp_path / "estate", ["dev"])
    open_estate(tmp_path / "estate").new_project("begun", "team")
    at = page(tmp_path / "estate", name, project="begun")
    assert not at.exception and "begun has no model yet" in said_by(at) and "is gone" not in said_by(at)


def test_train_settings_come_from_the_address(estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "leaderboard", **WHERE, env="dev", train="true", budget="7")
    assert at.number_input(key="train:budget").value == 7.0
    assert "at most 7 s" in said_by(at)


def seen(*environments: str) -> Any:
    """What settling asks of an estate."""
    return SimpleNamespace(visible=lambda: VISIBLE, environments=environments)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    state: dict[str, object] = {}
    monkeypatch.setattr(st, "session_state", state)
    monkeypatch.setattr(st, "query_params", {})
    return state


def test_links_hold_what_was_chosen(session: dict[str, object]) -> None:
    carrying.settle(seen("dev", "prod"))
    first = {"project": "project001", "model": "m01_price", "env": "dev"}
    assert carrying.to("lake")["query_params"] == first, "nothing was chosen yet: the first there is"
    assert carrying.to("costs")["query_params"] == {} == carrying.to("runs")["query_params"]
    carrying.choose(project="project001", model="m02", env="prod")
    session["act_as"] = "anna@x"
    assert carrying.to("scored", caller="web")["query_params"] == {
        "project": "project001", "model": "m02", "env": "prod", "caller": "web", "as": "anna@x",
    }  # fmt: skip
    assert carrying.to("costs")["query_params"] == {"project": "project001", "as": "anna@x"}
    carrying.narrow("")
    assert carrying.to("costs")["query_params"] == {"as": "anna@x"}, "all of them were chosen"
    carrying.choose(project="project001", model="m02", env="dev")
    assert carrying.to("costs")["query_params"] == {"as": "anna@x"}, (
        "and stay chosen while the project is the same"
    )
    carrying.choose(project="project002")
    carrying.settle(seen("dev", "prod"))
    assert carrying.to("model")["query_params"] == {
        "project": "project002",
        "model": "m03",
        "env": "dev",
        "as": "anna@x",
    }
    assert carrying.to("settings")["query_params"]["project"] == "project002"


def test_the_address_is_taken_over_where_it_is_right(
    session: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    carrying.choose(project="project001", model="m02", env="dev")
    monkeypatch.setattr(st, "query_params", {"project": "project009", "model": "m1", "env": "dev"})
    carrying.settle(seen("dev"))
    assert carrying.chosen()["project"] == "project001", "gone, or not theirs to see"
    monkeypatch.setattr(st, "query_params", {"project": "project002", "model": "m03", "env": "dev"})
    carrying.settle(seen("dev"))
    assert carrying.chosen() == {"project": "project002", "model": "m03", "env": "dev"}


class _Reach:
    environments = ("dev", "prod")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, None),
        ({"project": "p1", "model": "m1", "env": "prod"}, None),
        ({"model": "m2"}, None),
        ({"project": "p9", "model": "m1"}, ("Project", "p9")),
        ({"project": "p1", "model": "m2"}, ("Model", "m2")),
        ({"model": "m9"}, ("Model", "m9")),
        ({"project": "p3", "model": "m1"}, ("Model", "m1")),
        ({"project": "p3", "env": "moon"}, ("Environment", "moon")),
    ],
)
def test_what_an_address_names_is_there_and_permitted_or_said(
    asked: dict[str, str], said: tuple[str, str] | None
) -> None:
    seen = {"p1": ["m1"], "p2": ["m2"], "p3": []}
    assert lost(cast(Estate, _Reach()), seen, asked) == said


def test_each_page_is_in_the_navigation_or_only_linked_to() -> None:
    pages = {p.stem for p in (Path(__file__).parents[2] / "pages").glob("*.py")}
    assert pages == set(HIDDEN) | {name for its in SECTIONS.values() for name in its}


@pytest.mark.parametrize(
    ("url", "base", "lost"),
    [
        (None, "", ""),
        ("http://h:1/", "", ""),
        ("http://h:1/home?as=a", "", ""),
        ("http://h:1/work?x=1", "", ""),
        ("http://h:1/run", "", ""),
        ("http://h:1/nonsense?x=1", "", "nonsense"),
        ("http://h:1/a/b/", "", "a/b"),
        ("http://h:1/esml/", "/esml", ""),
        ("http://h:1/esml/work", "esml", ""),
        ("http://h:1/esml/x%60y", "esml", "xy"),
    ],
)
def test_an_address_beside_every_page_is_known(url: str | None, base: str, lost: str) -> None:
    assert lost_page(url, base) == lost


@pytest.mark.parametrize("name", ["nonsense", *LATER])
def test_a_page_that_is_not_there_says_so(estate: Estate, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(opening.ENVIRONMENT, str(estate.site.root))
    monkeypatch.setattr("cockpit.frame.navigation._lost", lambda: name)
    at = AppTest.from_file(str(places.APP), default_timeout=60).run()
    said = said_by(at)
    assert not at.exception and at.title[0].value == "No such page" and f"`/{name}`" in said
    assert ("comes later" in said) == (name in LATER)


def test_a_path_of_several_parts_is_named_whole(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(opening.ENVIRONMENT, str(estate.site.root))
    monkeypatch.setattr("cockpit.frame.navigation._lost", lambda: UNKNOWN)
    at = AppTest.from_file(str(places.APP), default_timeout=60)
    at.query_params[ADDRESS] = "lake/mo`re"
    said = said_by(at.run())
    assert at.title[0].value == "No such page" and "There is no page `/lake/more`" in said
    bare = AppTest.from_file(str(places.APP), default_timeout=60).run()
    assert "There is no page `/unknown`" in said_by(bare)
