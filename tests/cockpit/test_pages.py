"""Every page over a live estate, an empty one, a failing engine and a person who may not."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import streamlit as st

from cockpit.facts import evidence
from cockpit.frame import reaching
from esml_engine.costs.records import month_start
from esml_engine.errors import FailedError, PlatformError, StalePlanError
from esml_engine.estate import Estate
from esml_engine.platforms.local.platform import LocalPlatform
from tests.cockpit.conftest import MODEL, PAGES, Open, text_of
from tests.conftest import copy_of

TITLES = {
    "work": "My work",
    "approvals": "Approvals",
    "audit": "Audit",
    "scored": "Scored data",
    "promotion": "Promotion",
    "estate": "Estate",
    "project": "project001",
    "costs": "Costs",
    "settings": "Settings",
    "lake": "Lake",
    "dataset": "Dataset",
    "leaderboard": "Leaderboard",
    "deployments": "Deployments",
    "model": "m01_price",
    "runs": "Runs",
    "run": "Train of project001/m01_price in dev",
    "row": "Row",
}


def _query(estate: Estate, name: str) -> dict[str, str]:
    return {"run": estate.runs(act="train")[0]["run"]} if name == "run" else {}


@pytest.mark.parametrize("name", PAGES)
def test_shows_its_title_and_no_failure(name: str, estate: Estate, page: Open) -> None:
    at = page(estate.site.root, name, **_query(estate, name))
    assert not at.exception and not at.error
    assert at.title[0].value == TITLES[name]


@pytest.mark.parametrize("name", PAGES)
def test_an_empty_estate_says_what_fills_it(name: str, empty: Path, page: Open) -> None:
    at = page(empty, name)
    assert not at.exception and not at.error
    said = text_of(at)
    assert any(
        w in said
        for w in (
            "No project yet",
            "the whole estate",
            "No model yet",
            "No run yet",
            "No run was named",
            "Nothing waits for you",
            "No request yet",
            "1 event shown",  # the estate itself was made
        )
    ), said


@pytest.mark.parametrize("name", PAGES)
def test_a_failing_engine_is_one_sentence_with_its_id(
    name: str, estate: Estate, page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = _query(estate, name)

    def fail(*_: object, **__: object) -> None:
        raise PlatformError(f"{estate.site.root}/lake does not answer", hint="check the disk")

    for what in ("status", "runs", "visible", "projects", "requests", "audit"):
        monkeypatch.setattr(Estate, what, fail)
    at = page(estate.site.root, name, **query)
    assert not at.exception
    assert len(at.error) == 1 and "It failed:" in at.error[0].value and "`e-" in at.error[0].value
    assert str(estate.site.root) not in at.error[0].value, "no path of the server reaches the browser"


@pytest.mark.parametrize("name", PAGES)
def test_a_skeleton_stands_while_it_is_drawn_for_the_first_time(
    name: str, estate: Estate, page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[object] = []

    def skeleton(**how: object) -> contextlib.AbstractContextManager[None]:
        drawn.append(how)
        return contextlib.nullcontext()

    monkeypatch.setattr(st, "skeleton", skeleton)
    at = page(estate.site.root, name, **_query(estate, name))
    first = len(drawn)
    assert first == (1 if name == "work" else 2), "My work, opened first, and this page"
    at.run()
    assert len(drawn) == first, "later what stands there stays until the new comes"


@pytest.mark.parametrize("name", [p for p in PAGES if p not in ("audit", "run")])
def test_an_environment_that_is_away_is_said_and_what_was_recorded_stays(
    name: str, estate: Estate, page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = reaching.Reached("test", False, answered="2026-11-24T10:00:00+00:00",
        rows=({"part": "test lake", "ok": False, "message": "the network is away", "hint": ""},))  # fmt: skip
    monkeypatch.setattr("cockpit.frame.components.unreached", lambda site: [away])
    at = page(estate.site.root, name, project="project001", model="m01_price", env="test")
    said = text_of(at)
    assert not at.exception and at.title[0].value == TITLES[name]
    assert (
        "**test can't be reached**; it last answered 24 Nov 10:00 UTC (test lake: the network is away)"
        in said
    )


@pytest.mark.parametrize(
    ("name", "query", "key"),
    [
        ("lake", {"act": "Pipeline"}, "pipeline"),
        ("lake", {"act": "Split"}, "split"),
        ("leaderboard", {"train": "true"}, "board:train"),
    ],
)
def test_nothing_is_started_in_an_environment_that_is_away(
    name: str, query: dict[str, str], key: str, estate: Estate, page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = reaching.Reached("dev", False, answered="2026-11-24T10:00:00+00:00")
    monkeypatch.setattr(
        reaching, "known", lambda site, env: gone if env == "dev" else reaching.Reached(env, True)
    )
    at = page(estate.site.root, name, project="project001", model="m01_price", env="dev", **query)
    assert not at.exception
    button = next(b for b in at.button if b.key == key)
    assert (
        button.disabled
        and "The environment dev can't be reached: start it when dev answers again." in text_of(at)
    )


def test_what_is_next_in_an_environment_that_is_away_is_not_known(
    estate: Estate, page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "known", lambda site, env: reaching.Reached(env, False))
    said = text_of(page(estate.site.root, "model", project="project001", model="m01_price", env="dev"))
    assert "not reached" in said and "no file yet" not in said
    assert "dev can't be reached: what is next there is known when it answers again." in said


@pytest.mark.parametrize("name", PAGES)
def test_what_the_store_knows_is_shown_of_an_environment_that_is_away(
    name: str, estate: Estate, page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lake that does not answer is asked for nothing that the page can do without."""

    def fail(*_: object, **__: object) -> None:
        raise PlatformError("the lake of dev does not answer", hint="look at the network")

    monkeypatch.setattr(reaching, "known", lambda site, env: reaching.Reached(env, False))
    for what in ("list_files", "read_file", "write_file", "make_skeleton", "endpoint_state"):
        monkeypatch.setattr(LocalPlatform, what, fail)
    query = _query(estate, name)
    at = page(estate.site.root, name, **query)
    assert not at.exception
    assert not [e.value for e in at.error], name
    nothing = "What lies there is shown when it answers again" in text_of(at)
    assert nothing == (name == "dataset"), "rows lie in the lake alone"


@pytest.mark.parametrize("name", PAGES)
def test_somebody_without_a_role_sees_nothing_of_it(name: str, estate: Estate, page: Open) -> None:
    at = page(estate.site.root, name, act_as="stranger@small", **_query(estate, name))
    assert not at.exception
    assert "m01_price" not in text_of(at) and not at.dataframe


@pytest.mark.parametrize(
    "key,value", [("project", "gone"), ("project", "project002"), ("model", "m09_gone"), ("env", "prod")]
)
@pytest.mark.parametrize(
    "name", ["lake", "dataset", "model", "leaderboard", "promotion", "deployments", "scored"]
)
def test_a_link_to_something_gone_or_not_permitted_says_so(
    name: str, key: str, value: str, estate: Estate, page: Open
) -> None:
    query = {"project": "project001", "model": "m01_price", key: value}
    at = page(estate.site.root, name, act_as="engineer@small", **query)
    assert not at.exception
    assert f"`{value}` is gone, or not yours to see" in text_of(at)
    assert (
        at.title[0].value
        in ("Lake", "Dataset", "Model", "Leaderboard", "Promotion", "Deployments", "Scored data")
        and not at.button
        and "ds01_houses" not in text_of(at)
    )
    assert at.query_params[key] in (value, [value]), "the address stays what it was"


def test_a_run_that_is_gone(estate: Estate, page: Open) -> None:
    assert "`r-gone` is gone, or not yours to see" in text_of(page(estate.site.root, "run", run="r-gone"))


def test_estate_lists_by_need_and_filters(estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "estate")
    assert [m.value for m in at.metric][:2] == ["1 of 2", "2 of 2"]
    frame = at.dataframe[0].value
    assert list(frame["Needs attention"]) == ["No IN file yet", "1 IN file waits"]
    assert list(frame["prod"]) == ["not set up", "not set up"]
    at = page(estate.site.root, "estate", stage="trained")
    assert list(at.dataframe[0].value["Model"]) == ["m01_price"]
    at = page(estate.site.root, "estate")
    at = at.text_input(key="q").input("nothing like it").run()
    assert "No model passes these filters" in text_of(at)


def test_lake_plans_before_it_acts_and_says_why_not(estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "lake", project="project001", model="m01_price")
    refine = next(b for b in at.button if b.key == "refine")
    assert refine.label == "Refine 1 file" and refine.disabled
    assert "The worker is not running" in text_of(at)
    assert [m.label for m in at.metric][:4] == [
        "Will read",
        "Predicted time",
        "Predicted cost",
        "Budget left after",
    ]
    assert "Makes ds01_houses/bronze v2, ds01_houses/silver v2, gold v2" not in text_of(at), (
        "the reason stands in its place"
    )


def test_a_reader_is_told_who_can(estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "lake", act_as="reader@small", project="project001", model="m01_price")
    assert next(b for b in at.button if b.key == "refine").disabled
    assert "Who can: engineer@small (Data engineer)" in text_of(at)


def test_a_press_starts_one_run_under_the_plan(
    estate: Estate, page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from esml_engine import handing

    monkeypatch.setattr("cockpit.acts.acting.worker_alive", lambda site: True)
    monkeypatch.setattr(handing, "worker_lives", lambda site: True)
    at = page(estate.site.root, "lake", project="project001", model="m01_price")
    before = len(estate.runs())
    at = next(b for b in at.button if b.key == "refine").click().run()
    assert not at.exception
    assert next(b for b in at.button if b.key == "refine").disabled, "this very plan runs already"
    runs = estate.runs()
    assert len(runs) == before + 1 and runs[0]["state"] == "queued"
    assert runs[0]["run"] in text_of(at)
    assert f"Run `{runs[0]['run']}` does exactly this now" in text_of(at)
    cancel = next(b for b in at.button if b.key == "refine-run:cancel")
    cancel.click().run()
    assert estate.runs(runs[0]["run"])[0]["cancel"]
    monkeypatch.undo()
    with pytest.raises(FailedError, match="cancel"):
        estate.hand.follow(runs[0]["run"])
    assert estate.runs(runs[0]["run"])[0]["state"] == "cancelled"


def test_what_a_press_led_to_is_said_though_its_button_is_gone(estate: Estate, page: Open) -> None:
    """Somebody else did it meanwhile, so the card that was pressed is drawn no more."""
    at = page(estate.site.root, "leaderboard", project="project001", model="m01_price", env="dev")
    at.session_state["_said:promotion:promote"] = StalePlanError("the facts changed")
    at.run()
    assert "Nothing was started; this page shows how it is now." in text_of(at)
    assert "Nothing was started" not in text_of(at.run()), "once"


def test_a_stale_plan_starts_nothing(estate: Estate, page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from esml_engine import handing

    monkeypatch.setattr("cockpit.acts.acting.worker_alive", lambda site: True)
    monkeypatch.setattr(handing, "worker_lives", lambda site: True)
    at = page(estate.site.root, "lake", project="project001", model="m01_price", env="dev", purpose="train")
    before = len(estate.runs())
    file = estate.site.root.parent / "late.csv"
    file.write_text("id,size,rooms,y\n900,1,1,4\n", encoding="utf-8")
    estate.model(MODEL).ingest("ds01_houses", [file], "2026-11-09")
    at = next(b for b in at.button if b.key == "refine").click().run()
    assert len(estate.runs()) == before
    assert "The facts changed since you looked" in text_of(at)
    assert next(b for b in at.button if b.key == "refine").label == "Refine 2 files", (
        "redrawn with the new plan"
    )


def test_model_tells_champion_and_next_step(estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "model", project="project001", model="m01_price")
    said = text_of(at)
    assert "Next step in dev: refine" in said
    assert "This estate has no such environment." in said, "prod is not set up, which is no failure"
    assert any(m.label == "RMSE on gold_test" for m in at.metric)


@pytest.mark.parametrize(
    "tab,says",
    [
        ("Activity", "**train**"),
        ("Runs", ""),
        ("Versions", "**Who was champion when**"),
        ("Cost", ""),
        ("Serving", ""),
    ],
)
def test_every_tab_of_a_model(tab: str, says: str, estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "model", project="project001", model="m01_price")
    at.query_params["tab"] = tab
    at.run()
    assert not at.exception and not at.error
    assert says in text_of(at)
    if tab == "Runs":
        assert "linear" in list(at.dataframe[0].value["Estimator"])
    if tab == "Cost":
        assert "Spent by this model" in [m.label for m in at.metric]
    if tab == "Serving":
        assert any(b.key == "servingdeploy" for b in at.button)


def test_settings_are_read_again_when_a_file_changes(
    estate: Estate, page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cockpit.frame.opening._LOOK_AGAIN", 0.0)
    path = estate.site.root / "projects" / "project001" / "project.toml"
    old = path.read_text(encoding="utf-8")
    page(estate.site.root, "model", project="project001", model="m01_price")
    path.write_text(old.replace('team = "care"', 'team = "renamed"'), encoding="utf-8")
    try:
        assert "team renamed" in text_of(
            page(estate.site.root, "model", project="project001", model="m01_price")
        )
    finally:
        path.write_text(old, encoding="utf-8")


def test_evidence_takes_a_fixed_number_of_queries(estate: Estate) -> None:
    import sqlalchemy as sa

    seen = []
    names = [str(r) for r in estate.visible()]
    evidence.evidence(estate.site, names, "2026-01-01", "2026-01-01")
    sa.event.listen(estate.site.store.engine, "before_cursor_execute", lambda *a: seen.append(a[2]))
    evidence.evidence(estate.site, names, "2026-01-01", "2026-01-01")
    assert len([s for s in seen if s.lstrip().upper().startswith("SELECT")]) <= 13


def test_predictions_for_all_are_those_of_one(estate: Estate) -> None:
    names = [str(r) for r in estate.visible()]
    waits = evidence.evidence(estate.site, names, "2026-01-01", "2026-01-01").to_read
    assert any(env == "dev" for _, env in waits), "files wait, of another size than the last ones"
    said = evidence.predictions(estate.site, estate.visible(), "dev", waits)
    for ref in estate.visible():
        one = estate.cost(str(ref), "dev")
        assert {k: one["predicted"][k] for k in ("refine", "train")} == said[str(ref)]["predicted"]
        assert one["policy"]["limits"]["max_cost_run"] == said[str(ref)]["policy"]["limits"]["max_cost_run"]
    for project, b in evidence.budgets(estate.site, estate.projects(), month_start()).items():
        one = estate.cost(project, "dev")
        assert {k: pytest.approx(one[k], abs=1e-6) for k in b} == b


def test_a_wrong_settings_file_takes_only_its_own_model_off_the_pages(
    estate: Estate, page: Open, tmp_path: Path
) -> None:
    root = copy_of(estate.site.root, tmp_path / "estate")
    (root / "projects/project002/project.toml").unlink()
    at = page(root, "estate")
    assert at.title[0].value == "Estate" and list(at.dataframe[0].value["Model"]) == ["m01_price"]
    assert "project002 is left out until its settings are mended" in "\n".join(e.value for e in at.error)
    assert not page(root, "estate", act_as="reader@small").error, "it is not theirs to see"
    assert page(root, "model", project="project001", model="m01_price").title


def test_the_other_environments_stand_where_one_lake_is_away(
    estate: Estate, page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its endpoint is shown without what only its lake knows; a page about its rows says that it can't be reached."""
    root, where = estate.site.root, {"project": "project001", "model": "m01_price", "env": "dev"}
    (root / "lake/dev").rename(root / "elsewhere")
    monkeypatch.setattr(reaching, "known", lambda site, env: reaching.Reached(env, env != "dev"))
    try:
        at = page(root, "deployments", **where)
        assert not at.exception and not at.error, [e.value for e in at.error]
        at = page(root, "dataset", **where, table="gold")
        assert not at.exception and not at.error and "dev can't be reached." in text_of(at)
    finally:
        (root / "elsewhere").rename(root / "lake/dev")


def test_the_plan_of_a_retry_is_opened_by_its_button(demo: Path, page: Open) -> None:
    """A failed run says why on the list of runs; what doing it again takes comes when it is asked for."""
    at = page(demo, "runs")
    (button,) = [b for b in at.button if str(b.key).startswith("opens:retry:")]
    assert not any(b.label == "Retry" for b in at.button)
    button.click().run()
    assert at.query_params["retry"] == str(button.key).rpartition(":")[2]
    assert not at.exception and any(b.label == "Retry" for b in at.button)
