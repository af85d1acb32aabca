"""Estate's lenses, Project, Costs, Settings and Audit over a small estate: states, links, acts under their plan."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from cockpit.facts import attention
from cockpit.facts.evidence import evidence
from cockpit.frame import reaching
from esml_engine.costs.records import meter
from esml_engine.errors import PlatformError
from esml_engine.estate import Estate, init_estate, open_estate
from tests.cockpit.conftest import Open, text_of

MODEL = "project001/m01_price"


@pytest.fixture
def small(tmp_path: Path) -> Estate:
    """Two projects; one model with a delivered file and metered money; a manager, an engineer, a reader."""
    root = tmp_path / "estate"
    init_estate(root, ["dev", "test"], name="small")
    open_estate(root).new_project("project001", "care", owner="manager@small")
    open_estate(root).new_project("project002", "other")
    open_estate(root).new_model(MODEL, "regression", ["ds01_houses"], label="y", key="id")
    open_estate(root).new_model("project002/m02_secret", "regression", ["ds01_x"], label="y", key="id")
    out = open_estate(root)
    for actor, role in (("manager", "project_manager"), ("engineer", "data_engineer"), ("reader", "reader")):
        out.member_add("project001", f"{actor}@small", role)
    file = tmp_path / "a.csv"
    file.write_text("id,size,y\n1,2,3\n", encoding="utf-8")
    out.model(MODEL).ingest("ds01_houses", [file], "2026-11-01")
    return out


def pay(estate: Estate, seconds: float, run: str = "r-1", act: str = "train") -> None:
    with estate.site.store.write() as c:
        meter(c, run=run, step=act, attempt=1, object_=MODEL, env="dev", act=act, node="local.small", price=36.0, seconds=seconds,
            size=1.0)  # fmt: skip


def press(at: Any, key: str) -> Any:
    return next(b for b in at.button if b.key == key).click().run()


# estate
@pytest.mark.parametrize(
    "lens,column,value",
    [("progress", "prod", "not set up"), ("health", "Drift", "not measured"), ("money", "Idle", "nothing deployed"),
        ("governance", "Owner", "manager@small")],
)  # fmt: skip
def test_each_lens_stands_in_the_address(
    small: Estate, page: Open, lens: str, column: str, value: str
) -> None:
    at = page(small.site.root, "estate", lens=lens)
    assert not at.exception and not at.error and len(at.metric) == 5
    frame = at.dataframe[0].value
    assert list(frame["Model"]) == ["m02_secret", "m01_price"], (
        "the one without any data needs somebody first"
    )
    assert value in list(frame[column])


def test_filters_and_order_stand_in_the_address(small: Estate, page: Open) -> None:
    at = page(small.site.root, "estate", team="care")
    assert list(at.dataframe[0].value["Model"]) == ["m01_price"]
    at = page(small.site.root, "estate", sort="model")
    assert list(at.dataframe[0].value["Model"]) == ["m01_price", "m02_secret"]
    at = page(small.site.root, "estate", attention="nodata")
    assert list(at.dataframe[0].value["Model"]) == ["m02_secret"]
    at = page(small.site.root, "estate", lens="colour")
    assert "`lens=colour` in the address can't be read" in text_of(at)


def test_a_new_project_is_planned_then_made(small: Estate, page: Open) -> None:
    at = page(small.site.root, "estate", new="project")
    assert "Name and team are needed." in text_of(at)
    at.text_input(key="np:name").input("project007")
    at = at.text_input(key="np:team").input("new team").run()
    assert "write projects/project007/project.toml" in text_of(at)
    assert not (small.site.root / "projects" / "project007").exists(), "nothing happened yet"
    at = press(at, "new_project")
    assert not at.exception and (small.site.root / "projects" / "project007" / "project.toml").is_file()
    assert "Project project007 is made" in "\n".join(s.value for s in at.success)
    reader = page(small.site.root, "estate", act_as="reader@small", new="project")
    assert "You may not" in text_of(reader) and not [b for b in reader.button if b.key == "new_project"]


def test_an_environment_that_cannot_be_reached_keeps_its_rows_with_a_mark(
    small: Estate, page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from esml_engine.platforms.local.platform import LocalPlatform

    good = reaching.check(small.site, "test")
    assert good.ok and good.answered

    def away(self: LocalPlatform, prices: Any = None) -> list[dict[str, Any]]:
        if self.env == "test":
            raise PlatformError("the network is away", hint="wait")
        return []

    monkeypatch.setattr(LocalPlatform, "check", away)
    gone = reaching.check(small.site, "test")
    assert gone.ok is False and gone.answered == good.answered
    at = page(small.site.root, "estate")
    assert "**test can't be reached**; it last answered" in text_of(at) and "the network is away" in text_of(
        at
    )
    assert len(at.dataframe[0].value) == 2, "rows stay"
    at = page(small.site.root, "settings")
    assert "the network is away" in " ".join(str(x) for x in at.table[-1].value["What it said"])


def test_what_was_read_is_kept_until_something_happens(
    small: Estate, page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cockpit import overview

    times = []
    real = overview.read
    monkeypatch.setattr(overview, "read", lambda e: times.append(1) or real(e))
    at = page(small.site.root, "estate")
    assert len(times) == 1, "my work, opened first, read it"
    at.run()
    assert len(times) == 1
    small.member_add("project001", "new@small", "reader")
    at.run()
    assert len(times) == 2, "an act shows at once"


def test_a_large_estate_is_read_behind_the_page_but_for_ones_own_acts(
    small: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cockpit import overview

    first = overview.overview(small)
    kept = next(k for key, k in overview._kept.items() if key[0] == str(small.site.root))
    kept.took = 2.0  # as if reading took long
    open_estate(small.site.root, act_as="manager@small").member_add("project001", "a@small", "reader")
    assert overview.overview(small) is first, "somebody else's act: shown as it was, read behind the page"
    assert kept.behind is not None
    kept.behind.join(30)
    second = overview.overview(small)
    assert second is not first
    kept = overview._kept[next(key for key in overview._kept if key[0] == str(small.site.root))]
    kept.took = 2.0
    small.member_add("project001", "b@small", "reader")
    assert overview.overview(small) is not second, "one's own act is waited for"
    kept = overview._kept[next(key for key in overview._kept if key[0] == str(small.site.root))]
    kept.took, kept.at = 2.0, kept.at - 700
    assert overview.overview(small) is not kept.seen, "nobody looked for long: read first"


def test_a_fixed_number_of_queries(small: Estate) -> None:
    import sqlalchemy as sa

    from cockpit.overview import read

    def count() -> int:
        seen: list[str] = []
        sa.event.listen(small.site.store.engine, "before_cursor_execute", lambda *a: seen.append(a[2]))
        read(small)
        return len([s for s in seen if s.lstrip().upper().startswith("SELECT")])

    before = count()
    for n in range(5):
        small.new_model(f"project001/m1{n}_more", "regression", ["ds01_x"], label="y", key="id")
    more = open_estate(small.site.root)
    small.site, more = more.site, small
    assert count() <= before + 1


def test_a_promise_that_is_broken_is_late(small: Estate, page: Open) -> None:
    path = small.site.root / "projects" / MODEL / "model.toml"
    path.write_text(path.read_text("utf-8").replace('# arrives = "" ', 'arrives = "hourly" #'), "utf-8")
    estate = open_estate(small.site.root)
    old = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=5)).isoformat()
    from esml_engine.store import schema as t

    with estate.site.store.write() as c:
        c.execute(t.in_files.update().values(at=old))
    found = evidence(estate.site, [MODEL], "2026-01-01", "2026-01-01")
    assert found.late[MODEL][0] == "ds01_houses"
    at = page(small.site.root, "work", act_as="engineer@small")
    assert "**m01_price**: ds01_houses is late" in text_of(at)


# project
def test_a_project_says_how_far_and_whose_turn(small: Estate, page: Open) -> None:
    at = page(small.site.root, "project", project="project001")
    said = text_of(at)
    assert at.title[0].value == "project001" and "owner manager@small" in said
    assert "**1 of 1 model needs somebody.** First: *m01_price*: 1 IN file waits. Whose turn: **Data engineer**." in said  # fmt: skip
    assert ":orange-badge[:material/inbox: IN]" in said, "a file waits"
    assert "Prod: not set up" in said
    assert "Open the blocked step" in str([x.proto.label for x in at.get("page_link")])


def test_a_project_of_others_is_refused_in_one_sentence(small: Estate, page: Open) -> None:
    for name in ("project002", "gone"):
        at = page(small.site.root, "project", act_as="engineer@small", project=name)
        assert f"**You are not a member of `{name}`.** Ask its owner." in text_of(at)
        assert "m02_secret" not in text_of(at) and not at.button and at.title[0].value == "Project"


def test_people_come_and_go_by_plan(small: Estate, page: Open) -> None:
    at = page(small.site.root, "project", act_as="manager@small", project="project001", tab="People")
    at.query_params["tab"] = "People"
    at.run()
    at.text_input(key="member:who").input("anna@small")
    at = at.selectbox(key="member:role").select("approver").run()
    assert "give anna@small the role approver on project001" in text_of(at)
    at = press(at, "member_add")
    assert {"actor": "anna@small", "role": "approver", "on": "project001"} in small.members("project001")
    said = "\n".join(s.value for s in at.success)
    assert "anna@small is approver of project001 now" in said and not at.error, (
        "one message, and an empty form for the next"
    )
    assert not at.text_input(key="member:who").value
    at.text_input(key="member:who").input("anna@small")
    at = at.selectbox(key="member:role").select("approver").run()
    assert "that role is given already" in text_of(at).lower()
    at = press(at, "member_remove")
    assert "Taken from anna@small" in "\n".join(s.value for s in at.success)
    assert not [m for m in small.members("project001") if m["actor"] == "anna@small"]
    reader = page(small.site.root, "project", act_as="reader@small", project="project001")
    reader.query_params["tab"] = "People"
    reader.run()
    assert not [b for b in reader.button if b.key == "member_add"]
    assert "Who can: manager@small (Project manager)" in text_of(reader)


def test_a_plan_that_went_stale_changes_nothing_and_is_drawn_again(small: Estate, page: Open) -> None:
    at = page(small.site.root, "project", project="project001")
    at.query_params["tab"] = "Budget"
    at.run()
    at = at.number_input(key="budget:project001").set_value(70.0).run()
    assert "set budget.month of project001 to 70" in text_of(at)
    path = small.site.root / "projects" / "project001" / "project.toml"
    path.write_text(path.read_text("utf-8").replace("# month = 100.0", "month = 33.0"), "utf-8")
    from cockpit.frame.opening import opened

    opened(small.site.root).site().reload()
    at = press(at, "set_budget")
    assert "The facts changed since you looked" in text_of(at)
    assert open_estate(small.site.root).site.settings.project("project001").budget.month == 33.0


def test_a_new_model_is_planned_then_made(small: Estate, page: Open) -> None:
    at = page(small.site.root, "project", project="project001")
    at.query_params["tab"] = "New model"
    at.run()
    at.text_input(key="nm:name").input("m02_new")
    at = at.text_input(key="nm:sets").input("ds01_a, ds02_b").run()
    assert "write projects/project001/m02_new/model.toml" in text_of(at)
    press(at, "new_model")
    assert (small.site.root / "projects/project001/m02_new/model.toml").is_file()


# costs
def test_without_a_metered_run_bounds_are_shown(small: Estate, page: Open) -> None:
    at = page(small.site.root, "costs")
    assert not at.exception and not at.error
    assert "No run metered yet: showing upper bounds." in text_of(at)
    assert at.metric[3].value.startswith("€") and "upper bounds" in (at.metric[3].help or "")


def test_spend_by_anything_in_the_address(small: Estate, page: Open) -> None:
    pay(small, 300.0)
    pay(small, 100.0, "r-2", "refine")
    at = page(small.site.root, "costs", by="act")
    frame = at.dataframe[0].value
    assert list(frame["Act"]) == ["train", "refine"] and list(frame["Spent"]) == ["€ 3.00", "€ 1.00"]
    assert at.metric[0].value == "€ 4.00"
    at = page(small.site.root, "costs", project="project002")
    assert at.metric[0].value == "€ 0"
    at = page(small.site.root, "costs", act_as="engineer@small", project="project002")
    assert "`project002` is gone, or not yours to see" in text_of(at) and not at.metric


def test_a_scenario_is_priced_from_its_address(small: Estate, page: Open) -> None:
    scenario = f"model:{MODEL};act:refine;env:dev;node:local.large;nodes:2;rows:500;profile:"
    at = page(small.site.root, "costs", scenario=scenario)
    at.query_params["tab"] = "What if"
    at.query_params["scenario"] = scenario
    at.run()
    assert not at.exception and not at.error
    said = {r[""]: r["If"] for r in at.table[0].value.to_dict("records")}
    assert said["Nodes"] == "local.large × 2"
    assert said["Policy"].startswith("refused: 2 nodes, 1 allowed (built-in)")
    assert "upper bound" in said["Cost"]
    at = at.number_input(key="if:nodes").set_value(1).run()
    assert "nodes:1" in "".join(at.query_params["scenario"])
    assert "node type local.large is not among those allowed" in at.table[0].value["If"].iloc[-1]


def test_an_exception_is_asked_for_from_the_page(small: Estate, page: Open) -> None:
    at = page(small.site.root, "costs", act_as="engineer@small", project="project001", model="m01_price")
    at.query_params["tab"] = "Change"
    at.run()
    at.number_input(key="exception:amount").set_value(12.0)
    at = at.text_input(key="exception:reason").input("the yearly load").run()
    assert "up to 12 EUR" in text_of(at) and not small.requests()
    press(at, "ask_exception")
    (asked,) = small.requests()
    assert (asked["kind"], asked["by"], asked["detail"]["amount"]) == ("exception", "engineer@small", 12.0)
    said = text_of(page(small.site.root, "approvals", request=asked["request"]))
    assert "the yearly load" in said and "the budget still holds € 100.00" in said


def test_a_price_is_set_by_an_act(small: Estate, page: Open) -> None:
    at = page(small.site.root, "settings")
    at.query_params["tab"] = "Prices"
    at.run()
    at = at.selectbox(key="prices:key").select("prices.local.small").run()
    at = at.number_input(key="prices:value:estate:prices.local.small").set_value(0.25).run()
    assert "set prices.local.small of estate to 0.25" in text_of(at)
    at = press(at, "prices:set")
    assert not at.exception
    assert open_estate(small.site.root).site.settings.prices()["local.small"] == 0.25
    at = at.selectbox(key="prices:key").select("prices.as_of").run()
    at = at.text_input(key="prices:value:estate:prices.as_of").input("2026-11-25").run()
    press(at, "prices:set")
    assert open_estate(small.site.root).site.settings.prices()["as_of"] == "2026-11-25"


# settings
@pytest.mark.parametrize("tab", ["Environments", "Policies", "People", "Secrets", "Prices", "All settings"])
@pytest.mark.parametrize("who", ["", "reader@small"])
def test_every_tab_of_settings(small: Estate, page: Open, tab: str, who: str) -> None:
    small.site.platform("dev").put_secret("endpoint-project002-m02_secret-dev", "the value")
    at = page(small.site.root, "settings", act_as=who)
    at.query_params["tab"] = tab
    at.run()
    assert not at.exception and not at.error
    shown = text_of(at) + " ".join(t.value.to_string() for t in at.table) + " ".join(d.value.to_string() for d in at.dataframe)  # fmt: skip
    assert "the value" not in shown and str(small.site.root) not in shown
    if tab == "Secrets":
        assert ("m02_secret" in shown) == (not who), "names of others' endpoints stay theirs"
    if tab == "Policies":
        assert "Most that a run may cost" in shown and "built-in" in shown


def test_policies_tell_file_override_and_what_was_superseded(small: Estate, page: Open) -> None:
    from cockpit.views.policies import policy

    small.set("project001", "policy.max_cost_run", "9")
    lines = {x["Key"]: x for x in policy(small.site.settings, "project001", "dev")}
    assert lines["policy.max_cost_run"]["In force"] == "9 EUR"
    assert lines["policy.max_cost_run"]["Override here"].startswith("9 EUR by ")
    path = small.site.root / "projects" / "project001" / "project.toml"
    path.write_text(path.read_text("utf-8").replace("[policy] ", "[policy]\nmax_cost_run = 7.0\n#"), "utf-8")
    fresh = open_estate(small.site.root)
    lines = {x["Key"]: x for x in policy(fresh.site.settings, "project001", "dev")}
    assert lines["policy.max_cost_run"]["In force"] == "7 EUR", "the file changed after the override: it wins"
    assert lines["policy.max_cost_run"]["Override here"].startswith("superseded: 9 EUR by ")
    at = page(small.site.root, "settings", project="project001")
    assert "**1 override no longer count:**" in text_of(at)


def test_an_environment_is_asked_by_its_button(small: Estate, page: Open) -> None:
    at = page(small.site.root, "settings")
    at = press(at, "check:dev")
    assert reaching.known(small.site, "dev").ok
    assert any("dev lake" in list(t.value["Part"]) for t in at.table)
    at = press(at, "doctor")
    assert any("audit" in list(t.value["Part"]) for t in at.table)


# audit
def test_audit_filters_stand_in_the_address(small: Estate, page: Open) -> None:
    at = page(small.site.root, "audit", act="ingest")
    shown = at.dataframe[0].value
    assert list(shown["Act"]) == ["ingest"] * 2 and list(shown["Result"].str[2:]) == ["done", "started"]
    at = page(small.site.root, "audit", object="project001", result="done")
    assert set(at.dataframe[0].value["Object"]) == {"project001", MODEL}
    at = page(small.site.root, "audit", to="2026-01-01")
    assert "No event matches." in text_of(at)
    at = page(small.site.root, "audit", **{"from": "soon"})
    assert "**soon** is no date" in text_of(at) and not at.dataframe
    at = page(small.site.root, "audit")
    at = next(b for b in at.button if b.label == "Verify the chain").click().run()
    assert "The chain holds" in at.success[0].value
    mine = page(small.site.root, "audit", act_as="manager@small")
    assert "of your projects only" in text_of(mine)
    assert not next(b for b in mine.button if b.label == "Verify the chain").disabled, (
        "whoever may read some of it"
    )


def test_a_broken_chain_names_the_first_bad_event(small: Estate, page: Open) -> None:
    from esml_engine.store import schema as t

    with small.site.store.write() as c:
        c.execute(t.audit.update().where(t.audit.c.n == 3).values(result="forged"))
    at = page(small.site.root, "audit")
    at = next(b for b in at.button if b.label == "Verify the chain").click().run()
    assert "The chain is broken** at event 3" in at.error[0].value


def test_a_project_survives_moving_between_pages_until_all_are_chosen(small: Estate, page: Open) -> None:
    at = page(small.site.root, "project", project="project002")
    at = at.switch_page("../pages/costs.py").run()
    assert "project002 · all environments" in text_of(at)
    at = at.selectbox(key="one:project").select("").run()
    assert "all 2 projects" in text_of(at)
    at = at.switch_page("../pages/estate.py").run()
    at = at.switch_page("../pages/costs.py").run()
    assert "all 2 projects" in text_of(at)


def test_looks_less_than_an_hour_apart_are_one_visit(small: Estate) -> None:
    from cockpit.frame.visits import came

    monday = dt.datetime(2026, 11, 23, 9, 12, tzinfo=dt.UTC)
    assert came(small.site, "anna", monday) is None
    assert came(small.site, "anna", monday + dt.timedelta(minutes=50)) is None, "still the first visit"
    assert came(small.site, "li", monday) is None
    later = monday + dt.timedelta(days=2)
    assert came(small.site, "anna", later) == monday + dt.timedelta(minutes=50)
    assert came(small.site, "anna", later + dt.timedelta(minutes=5)) == monday + dt.timedelta(minutes=50)
    (small.site.state / "cockpit" / "visits.json").write_text("{cut", encoding="utf-8")
    assert came(small.site, "anna", later) is None, (
        "a file that was cut makes everybody new, and no page fail"
    )


def test_the_count_of_needs_is_kept_a_day_for_thirty_days(
    small: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monday = dt.date(2026, 11, 23)
    assert attention.by_day(small.site, "anna", monday, 4) == {"2026-11-23": 4}
    assert attention.by_day(small.site, "anna", monday, 3) == {"2026-11-23": 3}, "the day's newest"
    assert attention.by_day(small.site, "li", monday, 1) == {"2026-11-23": 1}, "each as they see the estate"
    tuesday = monday + dt.timedelta(days=1)
    assert attention.by_day(small.site, "anna", tuesday, 5) == {"2026-11-23": 3, "2026-11-24": 5}
    later = monday + dt.timedelta(days=30)
    assert attention.by_day(small.site, "anna", later, 2) == {"2026-11-24": 5, "2026-12-23": 2}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(attention.kept, "write", full)
    assert attention.by_day(small.site, "anna", later, 1)["2026-12-23"] == 1, "a full disk fails no page"


def test_the_list_as_a_file_holds_all_lenses_and_no_formula(small: Estate) -> None:
    import csv as csv_
    import io

    from cockpit.overview import overview
    from cockpit.parts.listing import csv

    path = small.site.root / "projects" / "project001" / "project.toml"
    path.write_text(path.read_text("utf-8").replace('owner = "manager@small"', 'owner = "=cmd()"'), "utf-8")
    fresh = open_estate(small.site.root)
    text = csv(overview(fresh), [1]).decode("utf-8-sig")
    (row,) = csv_.DictReader(io.StringIO(text))
    assert row["Model"] == "m01_price" and row["Owner"] == "'=cmd()"
    assert row["Drift"] == "not measured" and row["Spent, month"] == "€ 0" and row["prod"] == "not set up"
