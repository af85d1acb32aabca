"""What a promotion rests on in the target: its policy, whole data, a model whose bytes are the registered ones, a decision that stands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from esml_engine.door.facts import Call
from esml_engine.errors import EsmlError, PolicyError, RefusedError
from esml_engine.estate import Estate, open_estate
from esml_engine.refs import ModelRef
from esml_engine.store import schema as t
from esml_engine.training import records as models
from tests.invariants import violations
from tests.promotion.conftest import MODEL, as_, bent, decide, do, promote, setting

REF = ModelRef.parse(MODEL)


def test_a_pipeline_is_held_to_the_policy_of_each_environment(three: Estate) -> None:
    setting(three, "[policy.test]\nmax_cost_run = 0.0000001\nover = 'refuse'\n")
    plan = three.model(MODEL).plan_pipeline(until="test")
    assert (plan.policy["verdict"], plan.policy["env"], plan.policy["key"]) == (
        "refuse",
        "test",
        "max_cost_run",
    )
    assert plan.policy["reason"].startswith("in test: predicted") and plan.policy["origin"] == "estate [test]"
    with pytest.raises(PolicyError, match="in test"):
        three.model(MODEL).pipeline(until="test")
    assert models.champion(three.site.store, REF, "test") is None


def test_a_pipeline_that_another_environment_holds_goes_on_with_its_exception(three: Estate) -> None:
    setting(three, "[policy.test]\nmax_cost_run = 0.0000001\nover = 'ask'\n")
    said = three.model(MODEL).pipeline(until="test")
    asked = three.requests("waiting")[0]
    assert said["state"] == "waiting" and (asked["env"], asked["kind"]) == ("test", "exception")
    with three.hand.holding(warm=True):
        after = decide(as_(three, "approver@p1"), "approve", asked)["after"]
    assert after["stage"] == "test"
    with three.site.store.read() as c:
        m = t.meter
        spent = dict(
            c.execute(
                sa.select(m.c.env, sa.func.sum(m.c.cost)).where(m.c.run == said["run"]).group_by(m.c.env)
            ).all()  # type: ignore[arg-type]
        )
    assert set(spent) == {"test"} and spent["test"] > 0, "what was done in test is counted there"
    assert violations(three.site.root) == []


@pytest.mark.parametrize("how", ["gone", "other bytes"])
def test_a_rollback_to_a_model_that_is_not_the_registered_one_is_refused(three: Estate, how: str) -> None:
    three.set(MODEL, "gates.min_gain", "{ rmse = -1000.0 }")
    with three.hand.holding(warm=True):
        promote(three, "dev", "test")
        three.model(MODEL).ingest("d1", [bent(three.site.root / "more.csv", 240, 400)], "2026-01-02")
        three.model(MODEL).refine()
        three.model(MODEL).split()
        assert three.model(MODEL).train()["model_version"] == 2
        promote(three, "dev", "test", version=2)
        folder = Path(three.site.outside(models.get_version(three.site.store, REF, "test", 1)["folder"]))
        if how == "gone":
            shutil.rmtree(folder)
        else:
            next(p for p in folder.rglob("*") if p.is_file()).write_bytes(b"{}")
        with pytest.raises(EsmlError, match="can't be champion of test"):
            three.hand.do(Call("rollback", MODEL, "test"))
    standing = models.champion(three.site.store, REF, "test")
    assert standing is not None and (standing["version"], standing["previous"]) == (2, 1)


def test_an_rnd_sample_in_the_target_proves_nothing(three: Estate) -> None:
    three.set(MODEL, "rnd.test", "true")
    estate = open_estate(three.site.root)
    with estate.hand.holding(warm=True):
        estate.model(MODEL, "test").refine()
        estate.model(MODEL, "test").split()
        said = do(estate, "compare", "test", source="dev")
    rows = next(g for g in said["gates"] if g["gate"] == "rows")
    assert said["verdict"] == "refuse" and "is an R&D sample" in rows["reason"]


def test_a_decision_is_not_undone_by_trying_again(three: Estate) -> None:
    setting(three, "[policy.test]\napprovals = 1\n")
    with three.hand.holding(warm=True):
        asked = promote(three, "dev", "test")
        request = next(r for r in three.requests("waiting") if r["request"] == asked["request"])
        decide(as_(three, "approver@p1"), "refuse", request, "bias found")
        with pytest.raises(RefusedError, match="is refused"):
            three.retry(request["run"])
    run = three.runs(request["run"])[0]
    assert run["state"] == "cancelled" and "bias found" in run["error"]["message"]


def test_a_pipeline_meets_a_newer_lake_before_it_begins(three: Estate) -> None:
    (Path(three.site.platform("test").lake_root()) / "lake.json").write_text('{"design": 2}')
    before = len(three.runs())
    three.model(MODEL).ingest("d1", [bent(three.site.root / "more.csv", 240, 400)], "2026-01-02")
    with pytest.raises(EsmlError, match="this engine knows up to"):
        three.model(MODEL).pipeline(until="test")
    assert len(three.runs()) == before
    with pytest.raises(EsmlError, match="this engine knows up to"):
        three.catalogue_rebuild()
