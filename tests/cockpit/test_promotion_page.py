"""Promotion and My work: what was compared, who may decide, and what a decision does."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.promotion import reads
from tests.cockpit.conftest import Open, delivery, text_of

MODEL = "project001/m01_price"
WHERE = {"project": "project001", "model": "m01_price"}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    """Three environments; v1 is champion of dev and test; prod's request waits for one approval."""
    folder = tmp_path_factory.mktemp("promotion")
    root = folder / "estate"
    init_estate(root, ["dev", "test", "prod"], name="small")
    text = (root / "estate.toml").read_text(encoding="utf-8")
    (root / "estate.toml").write_text(
        text.replace("[serving]\n", "[policy.prod]\napprovals = 1\n\n[serving]\n", 1), encoding="utf-8"
    )
    open_estate(root).new_project("project001", "care")
    open_estate(root).new_model(MODEL, "regression", ["ds01_houses"], label="y", key="id")
    settings = root / "projects" / MODEL / "model.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(
        text.replace("[train.dev]", '[train.dev]\nestimators = ["linear"]', 1), encoding="utf-8"
    )
    out = open_estate(root)
    for actor, role in (
        ("scientist@small", "data_scientist"), ("approver@small", "approver"), ("reader@small", "reader"),
        ("engineer@small", "data_engineer"),
    ):  # fmt: skip
        out.member_add("project001", actor, role)
    for env in ("dev", "test", "prod"):
        out.model(MODEL, env).ingest("ds01_houses", [delivery(folder, "a.csv", 0, 150)], "2026-11-01")
    with out.hand.holding(warm=True):
        for env in ("dev", "test", "prod"):
            open_estate(root, act_as="engineer@small").model(MODEL, env).refine()
        scientist = open_estate(root, act_as="scientist@small").model(MODEL)
        said = scientist.pipeline("prod")
    assert said["state"] == "waiting"
    return out


def test_the_plan_that_is_looked_at_stands_in_the_address(asked: Estate, page: Open) -> None:
    def offered(**query: str) -> set[str]:
        at = page(asked.site.root, "promotion", **WHERE, env="prod", act="promote", **query)
        assert not at.exception and not at.error
        return {str(b.key) for b in at.button} & {"promotion:promote", "promotion:compare"}

    assert offered() == {"promotion:promote"} and offered(tab="Compare only") == {"promotion:compare"}


def test_champion_challenger_gates_and_the_open_request(asked: Estate, page: Open) -> None:
    at = page(asked.site.root, "promotion", **WHERE, env="prod")
    assert not at.exception and not at.error
    said = text_of(at)
    assert "test → prod · v1" in said and "None yet" in said and "It waits for approval" in said
    assert "champion of test since" in said
    gates = at.table[0].value
    assert "Better than the trivial baseline" in list(gates["Gate"])
    assert all("passed" in v for v in gates["Verdict"])
    assert "Request q-" in said


def test_an_address_says_from_where_and_into_which(asked: Estate, page: Open) -> None:
    for query in ({"from": "test", "to": "prod"}, {"to": "prod"}, {"from": "test"}):
        at = page(asked.site.root, "promotion", **WHERE, **query)
        assert "test → prod · v1" in text_of(at) and not at.warning, query
        assert at.query_params["env"] in ("prod", ["prod"])
    at = page(asked.site.root, "promotion", **WHERE, **{"from": "dev", "to": "prod"})
    assert "from test" in at.warning[0].value and "test → prod" in text_of(at)
    assert "nowhere" in page(asked.site.root, "promotion", **WHERE, to="nowhere").warning[0].value


def test_where_models_are_trained_nothing_is_promoted_into(asked: Estate, page: Open) -> None:
    assert "Models are trained in dev." in text_of(page(asked.site.root, "promotion", **WHERE, env="dev"))


def test_the_champion_stands_with_its_evidence(asked: Estate, page: Open) -> None:
    at = page(asked.site.root, "promotion", **WHERE, env="test")
    assert "v1 is the champion of test" in "\n".join(s.value for s in at.success)
    assert any("promoted from dev" in str(w) for w in at.table[-1].value["Why"])


def test_the_requester_and_a_reader_are_told_who_can(asked: Estate, page: Open) -> None:
    own = page(asked.site.root, "promotion", act_as="scientist@small", **WHERE, env="prod")
    assert "It is your own request: it needs another person." in text_of(own)
    assert "approver@small (Approver)" in text_of(own)
    assert next(b for b in own.button if b.label == "Approve").disabled
    reader = page(asked.site.root, "promotion", act_as="reader@small", **WHERE, env="prod")
    assert next(b for b in reader.button if b.label == "Refuse").disabled


def test_one_request_on_one_screen_with_data_cost_and_people(asked: Estate, page: Open) -> None:
    request = asked.requests("waiting")[0]["request"]
    at = page(asked.site.root, "approvals", act_as="approver@small", request=request)
    said = text_of(at)
    assert (
        "**Data**: both scored on the same prod gold_test v1" in said
        and "**Cost**: scoring 1,000 rows" in said
    )
    assert "**People**: asked by scientist@small" in said and "0 of 1 approval given" in said
    assert "expires in 6 d" in said and not at.dataframe, "the decided ones stand on the list"
    assert next(b for b in at.button if b.label == "Approve").disabled
    gone = page(asked.site.root, "approvals", act_as="approver@small", request="q-gone")
    assert "`q-gone` is gone, or not yours to see" in text_of(gone)


def test_evidence_that_changed_since_is_said_before_anybody_decides(
    asked: Estate, page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cockpit.acts.deciding.outdated", lambda site, row: "the champion of prod changed")
    request = asked.requests("waiting")[0]["request"]
    said = text_of(page(asked.site.root, "approvals", act_as="approver@small", request=request))
    assert "**Evidence changed since: compare again.** The champion of prod changed." in said


def test_a_decision_taken_meanwhile_is_not_taken_twice(asked: Estate, page: Open) -> None:
    request = asked.requests("waiting")[0]["request"]
    at = page(asked.site.root, "approvals", act_as="approver@small", request=request)
    at.text_input(key=f"reason:{request}").input("one reason")
    at = at.checkbox(key=f"read:{request}").check().run()
    approve = next(b for b in at.button if b.label == "Approve")
    assert not approve.disabled and "approve promotion" in approve.help
    at.session_state[f"reason:{request}"] = "another reason"  # changed in the same moment as the press
    at = approve.click().run()
    assert asked.requests("waiting"), "the plan of the old reason was not started"


def test_an_administrator_alone_does_not_decide(asked: Estate, page: Open) -> None:
    at = page(asked.site.root, "work")
    assert "Waits for others to decide · 1" in text_of(at)
    assert "Yours to decide" not in text_of(at)


def test_my_work_follows_the_role(asked: Estate, page: Open) -> None:
    approver = text_of(page(asked.site.root, "work", act_as="approver@small"))
    assert "Yours to decide · 1" in approver and "Promote **m01_price v1** to prod" in approver
    assert "You asked for · 1" in text_of(page(asked.site.root, "work", act_as="scientist@small"))
    assert "Nothing waits for you" in text_of(page(asked.site.root, "work", act_as="reader@small"))


def test_approving_needs_reason_and_tick_and_lets_the_run_go_on(asked: Estate, page: Open) -> None:
    request = asked.requests("waiting")[0]["request"]
    at = page(asked.site.root, "work", act_as="approver@small", request=request)
    assert not at.exception and not at.error
    assert next(b for b in at.button if b.label == "Approve").disabled
    at.text_input(key=f"reason:{request}").input("the ward agreed").run()
    assert "**Approve** will: approve promotion" in text_of(at) and "**Refuse** will:" in text_of(at)
    assert next(b for b in at.button if b.label == "Approve").disabled, "the evidence is not read yet"
    at = at.checkbox(key=f"read:{request}").check().run()
    at = next(b for b in at.button if b.label == "Approve").click().run()
    assert not at.exception and not at.error
    assert "**You approved** Promote m01_price v1 to prod. Its run goes on." in text_of(at)
    assert "request" not in at.query_params, "the list is next"
    assert asked.requests("decided")[0]["decisions"][0]["reason"] == "the ward agreed"
    run = asked.requests("decided")[0]["run"]
    for name, query in (("promotion", {**WHERE, "env": "prod"}), ("work", {}), ("approvals", {})):
        now = page(asked.site.root, name, act_as="approver@small", **query)
        assert f"run `{run}`" in text_of(now), "a pipeline of dev, whose end moves prod, is followed here"
    other = page(asked.site.root, "work", act_as="reader@small")
    assert f"run `{run}`" not in text_of(other), "only who let it go on"
    asked.hand.follow(run)
    assert asked.runs(run)[0]["result"]["state"] == "promoted"
    then = page(asked.site.root, "promotion", **WHERE, env="prod")
    assert "v1 is the champion of prod" in "\n".join(s.value for s in then.success)
    assert "It is the champion of prod" in text_of(then) and "It may go up" not in text_of(then)
    assert f"run `{run}`" in text_of(then), "how it ended stands there for some minutes"


def test_what_can_be_done_stands_beside_the_verdict_and_opens_its_plan(
    asked: Estate, page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = text_of(page(asked.site.root, "promotion", **WHERE, env="test"))
    assert "see the plan" not in champion and "Compare only" not in champion, "it stands there already"
    # as it was before v1 led there
    monkeypatch.setattr("esml_engine.training.records.champion", lambda *_: None)
    found = reads.comparisons
    with monkeypatch.context() as since:
        since.setattr(reads, "comparisons", lambda *a, **k: [r | {"current": False} for r in found(*a, **k)])
        at = page(asked.site.root, "promotion", act_as="scientist@small", **WHERE, env="test")
        assert "Compare again." in "\n".join(w.value for w in at.warning)
        assert any(b.label == "Promote v1 to test" for b in at.button), "its plans stand open"
    at = page(asked.site.root, "promotion", act_as="scientist@small", **WHERE, env="test")
    assert not any(b.label == "Promote v1 to test" for b in at.button)
    at = next(b for b in at.button if b.label == "Promote v1: see the plan").click().run()
    assert at.query_params["act"] in ("promote", ["promote"])
    assert any(b.label == "Promote v1 to test" for b in at.button)
    at = next(b for b in at.button if b.label == "Close the plan").click().run()
    assert "act" not in at.query_params and not any(b.label == "Promote v1 to test" for b in at.button)
    odd = page(asked.site.root, "promotion", **WHERE, env="test", act="crown")
    assert "`act=crown` in the address can't be read" in "\n".join(w.value for w in odd.warning)


def test_a_shared_link_to_a_request_of_others_shows_nothing_of_it(asked: Estate, page: Open) -> None:
    at = page(asked.site.root, "work", act_as="stranger@small", request="q-000")
    assert not at.exception and "m01_price" not in text_of(at)


def test_an_export_of_the_evidence_verifies(asked: Estate, tmp_path: Path) -> None:
    from esml_engine.promotion.evidence import verify

    for suffix in ("html", "json"):
        file = tmp_path / f"pack.{suffix}"
        asked.model(MODEL, "test").evidence(out=str(file))
        assert verify(file)["ok"]
        body = file.read_text(encoding="utf-8")
        assert "m01_price" in body
        file.write_text(body.replace("m01_price", "m01_prize", 1), encoding="utf-8")
        assert not verify(file)["ok"]
