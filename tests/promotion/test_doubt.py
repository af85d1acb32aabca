"""Through the door: what is tampered with, changed, missing or trained on refuses, and is never promoted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from esml_engine.errors import EsmlError, PlatformError
from esml_engine.estate import Estate
from esml_engine.handing import RunFailedError
from esml_engine.lake.catalogue import table_uri
from esml_engine.promotion import reads
from esml_engine.refs import ModelRef
from esml_engine.store import schema as t
from esml_engine.training import records as models
from tests.promotion.conftest import MODEL, do, promote, setting

REF = ModelRef.parse(MODEL)


def failed(said: dict) -> dict[str, str]:
    return {g["gate"]: g["reason"] for g in said["gates"] if not g["passed"]}


def change_row(estate: Estate, **values: object) -> None:
    with estate.site.store.write() as c:
        c.execute(t.model_versions.update().where(t.model_versions.c.env == "dev").values(**values))


def folder(estate: Estate) -> Path:
    return Path(estate.site.outside(models.get_version(estate.site.store, REF, "dev")["folder"]))


def tampered(estate: Estate) -> None:
    path = folder(estate) / "model.json"
    path.write_text(path.read_text().replace('"linear"', '"linear" '))


def gone(estate: Estate) -> None:
    for p in folder(estate).iterdir():
        p.unlink()


def signature(estate: Estate) -> None:
    row = models.get_version(estate.site.store, REF, "dev")
    change_row(estate, detail={**row["detail"], "signature": [{"name": "z", "type": "double"}]})


def no_data(estate: Estate) -> None:
    change_row(estate, inputs=[])


def rnd(estate: Estate) -> None:
    change_row(estate, rnd=True)


def task(estate: Estate) -> None:
    change_row(estate, task="classification")


def trained_on(estate: Estate) -> None:
    estate.model(MODEL, "test").split(train=0.2, validate=0.2, test=0.6)


def expectations(estate: Estate) -> None:
    with estate.site.store.write() as c:
        c.execute(
            t.versions.update()
            .where(t.versions.c.env == "dev", t.versions.c.name == "gold")
            .values(quality=[{"check": "unique", "level": "error", "passed": False}])
        )


@pytest.mark.parametrize(
    ("harm", "gate"),
    [(tampered, "models"), (gone, "models"), (signature, "models"), (no_data, "rows"), (rnd, "rnd"), (task, "models"),
        (trained_on, "rows"), (expectations, "expectations")],
)  # fmt: skip
def test_doubt_refuses(three: Estate, harm, gate: str) -> None:
    with three.hand.holding(warm=True):
        harm(three)
        said = promote(three, "dev", "test")
    assert said["state"] == "refused" and said["decided_by"] == "gates"
    assert gate in failed(said), failed(said)
    assert models.champion(three.site.store, REF, "test") is None
    assert models.versions(three.site.store, REF, "test") == []
    json.dumps(said, allow_nan=False)
    if harm in (rnd, expectations):
        assert reads.readiness(three.site, REF, 1, "dev")["ready"] is False


def test_following_the_split_that_a_refused_gate_names_makes_it_pass(three: Estate) -> None:
    def rows(said: dict) -> dict:
        return next(g for g in said["gates"] if g["gate"] == "rows")

    dev, test = three.model(MODEL), three.model(MODEL, "test")
    with three.hand.holding(warm=True):
        trained_on(three)
        found = rows(do(three, "compare", "test", source="dev"))
        assert not found["passed"] and "found by key" in found["reason"]
        assert "esml split p1/m1 --env test --train 0.6" in found["would_pass_if"]["text"]
        test.split(**found["would_pass_if"]["value"])
        assert rows(do(three, "compare", "test", source="dev"))["passed"]
        assert promote(three, "dev", "test")["state"] == "promoted"
        # and where the challenger comes from another split than the champion
        dev.split(seed=7)
        version = dev.train()["model_version"]
        found = rows(do(three, "compare", "test", source="dev", version=version))
        assert not found["passed"]
        text = found["would_pass_if"]["text"]
        assert (
            "--env dev" in text and "--env test" not in text and "a version trained in dev after it" in text
        )
        dev.split(**found["would_pass_if"]["value"])
        version = dev.train()["model_version"]
        assert rows(do(three, "compare", "test", source="dev", version=version))["passed"]


def test_a_model_tampered_with_after_the_comparison_is_not_copied(three: Estate) -> None:
    from tests.promotion.conftest import as_, decide

    setting(three, "[policy.test]\napprovals = 1\n")
    with three.hand.holding(warm=True):
        asked = promote(as_(three, "scientist@p1"), "dev", "test")
        tampered(three)
        said = decide(as_(three, "approver@p1"), "approve", asked)
    assert said["after"]["state"] == "stale" and "hash" in said["after"]["reason"]
    assert models.champion(three.site.store, REF, "test") is None
    assert three.site.store.first(t.requests.select())["state"] == "stale"


def test_an_approval_whose_promotion_did_not_go_up_is_a_refusal_with_the_fresh_state(three: Estate) -> None:
    from esml_engine.errors import RefusedError
    from tests.promotion.conftest import as_

    setting(three, "[policy.test]\napprovals = 1\n")
    with three.hand.holding(warm=True):
        asked = promote(as_(three, "scientist@p1"), "dev", "test")
        tampered(three)
        with pytest.raises(RefusedError, match="ended stale") as e:
            as_(three, "approver@p1").approve(asked["request"], "looked at it")
    assert e.value.exit_code == 3 and e.value.details["state"] == "stale"
    assert e.value.details["released"]["state"] == "stale" and e.value.details["decisions"]
    assert models.champion(three.site.store, REF, "test") is None


def test_a_target_without_gold_test_refuses_unless_its_policy_takes_the_source(three: Estate) -> None:
    for name in ("gold_train", "gold_validate", "gold_test"):
        shutil.rmtree(table_uri(three.site, REF, "prod", name))
    with three.site.store.write() as c:
        c.execute(t.versions.delete().where(t.versions.c.env == "prod", t.versions.c.name.like("gold_%")))
    with three.hand.holding(warm=True):
        said = do(three, "compare", "prod", source="dev")
        assert said["verdict"] == "refuse" and "prod has no gold_test" in failed(said)["rows"]
        assert said["rows"] == 0
        three.set("estate", "policy.prod.evidence", "source")
        said = do(three, "compare", "prod", source="dev")
        assert said["verdict"] == "promote" and said["evidence_from"] == "dev"
        rows = next(g for g in said["gates"] if g["gate"] == "rows")
        assert "evidence of dev, by policy" in rows["reason"]


def test_a_lost_race_for_the_crown_is_a_conflict(three: Estate) -> None:
    from esml_engine.errors import ConflictError

    with three.site.store.write() as c:
        models.crown(c, REF, "test", 1, run="r", by="x", why="y", expected=0)
    with pytest.raises(ConflictError), three.site.store.write() as c:
        models.crown(c, REF, "test", 2, run="r", by="x", why="y", expected=0)
    assert issubclass(ConflictError, EsmlError)
    assert models.champion(three.site.store, REF, "test")["version"] == 1


def test_where_it_was_trained_can_not_be_reached(three: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise PlatformError("no right to read the lake", hint="az role assignment create")

    with monkeypatch.context() as m, pytest.raises(RunFailedError) as e:
        m.setattr("esml_engine.promotion.comparing.behind", away)
        promote(three, "dev", "test")
    assert (
        e.value.message == "what v1 was trained on lies in dev, and can't be read: no right to read the lake"
    )
    assert "retry the run then" in e.value.hint and models.champion(three.site.store, REF, "test") is None
    assert three.retry(e.value.details["run"])["state"] == "promoted"
