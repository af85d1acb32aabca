"""No role, no sight: also of plans; an idempotency key belongs to one act on one object."""

from __future__ import annotations

import pytest

from esml_engine.door import requests
from esml_engine.door.facts import Actor
from esml_engine.errors import NotAllowedError, NotFoundError, UsageError
from esml_engine.estate import Estate, open_estate
from esml_engine.refs import ModelRef
from esml_engine.serving import records as deployments


def test_a_stranger_sees_no_plan(empty: Estate, numbers) -> None:
    empty.model("p1/m1").ingest("d1", [numbers("a.csv", 0, 50)], "2026-01-01")
    stranger = open_estate(empty.site.root, act_as="nobody@x").model("p1/m1")
    for plan in (stranger.plan_refine, stranger.plan_train, stranger.plan_deploy):
        with pytest.raises(NotAllowedError):
            plan()
    empty.member_add("p1", "reader@x", "reader")
    seen = open_estate(empty.site.root, act_as="reader@x").model("p1/m1").plan_refine()
    assert not seen.allowed, "who has sight sees it, and that they may not"


def test_a_key_names_one_act_on_one_object(empty: Estate, numbers) -> None:
    empty.new_model("p1/m2", "regression", ["d1"], label="y", key="id")
    estate = open_estate(empty.site.root)
    estate.model("p1/m1").ingest("d1", [numbers("a.csv", 0, 50)], "2026-01-01")
    first = estate.model("p1/m1").refine(idempotency_key="k1")
    with pytest.raises(UsageError, match="another act"):
        estate.model("p1/m1").split(idempotency_key="k1")
    with pytest.raises(UsageError, match="another act"):
        estate.model("p1/m2").refine(idempotency_key="k1")
    again = estate.model("p1/m1").refine(idempotency_key="k1")
    assert again["run"] == first["run"]
    assert estate.audit(limit=1)[0]["result"] == "joined"
    estate.member_add("p1", "reader@x", "reader")
    before = len(estate.audit())
    with pytest.raises(NotAllowedError):
        open_estate(empty.site.root, act_as="reader@x").model("p1/m1").refine(idempotency_key="k1")
    events = estate.audit()
    assert len(events) == before + 1 and events[0]["result"] == "refused"


def test_a_key_of_an_act_at_once_is_answered_as_before(empty: Estate, numbers) -> None:
    first = empty.set("p1/m1", "split.seed", "7", idempotency_key="k1")
    empty.set("p1/m1", "split.seed", "8")
    before = len(empty.audit())
    assert empty.set("p1/m1", "split.seed", "7", idempotency_key="k1") == first
    estate = open_estate(empty.site.root)
    assert estate.site.settings.model(ModelRef.parse("p1/m1")).split.seed == 8, "it was not done again"
    assert len(estate.audit()) == before + 1 and estate.audit(limit=1)[0]["result"] == "joined"
    with pytest.raises(UsageError, match="another act"):
        estate.member_add("p1", "reader@x", "reader", idempotency_key="k1")
    made = estate.new_model("p1/m2", "regression", ["d1"], label="y", key="id", idempotency_key="k2")
    estate = open_estate(empty.site.root)
    assert estate.new_model("p1/m2", "regression", ["d1"], label="y", key="id", idempotency_key="k2") == made


def test_a_repeated_key_makes_no_second_secret(empty: Estate) -> None:
    with empty.site.store.write() as c:
        deployments.put(
            c, {"object": "p1/m1", "env": "dev", "endpoint": "p1-m1-dev", "live": "blue", "slots": {"blue": {"model_version": 1}},
                "port": 1, "save": True, "at": "", "by": "", "run": ""},
        )  # fmt: skip
    model = empty.model("p1/m1")
    first = model.keys(rotate=True, idempotency_key="KR")
    assert model.keys(rotate=True, idempotency_key="KR") == first and model.keys()["key"] == first["key"]
    assert first["key"] not in str(empty.audit()), "no secret is kept"
    assert model.keys(rotate=True, idempotency_key="KR2")["key"] != first["key"]


@pytest.mark.parametrize(
    "ask", [lambda m: m.status(), lambda m: m.train(), lambda m: m.plan_refine(), lambda m: m.dataset("d1"), lambda m: m.gold.show(),
            lambda m: m.leaderboard(), lambda m: m.scored(), lambda m: m.cost()]
)  # fmt: skip
def test_a_stranger_is_told_the_same_of_what_is_and_of_what_is_not(empty: Estate, ask) -> None:
    heard = set()
    for name in ("p1/m1", "p1/nothing", "p9/m1"):
        before = len(empty.audit())
        with pytest.raises(NotAllowedError) as said:
            ask(open_estate(empty.site.root, act_as="nobody@x").model(name))
        heard.add((str(said.value).replace("p9", "p1"), said.value.hint, len(empty.audit()) - before))
    assert len(heard) == 1, heard


def test_a_stranger_is_told_the_same_of_a_run_and_a_request_that_is_there(empty: Estate, numbers) -> None:
    model = empty.model("p1/m1")
    model.ingest("d1", [numbers("a.csv", 0, 50)], "2026-01-01")
    run = model.refine()["run"]
    with empty.site.store.write() as c:
        request = requests.ask(
            c, kind="exception", object_="p1/m1", env="dev", run=run, actor=Actor("boss@x"), needed=1, facts="f",
            detail={"reason": "too dear"},
        )  # fmt: skip
    stranger = open_estate(empty.site.root, act_as="nobody@x")
    for act, there in (
        *((a, run) for a in ("cancel", "retry")),
        *((a, request) for a in ("approve", "refuse", "ask", "answer", "delegate")),
    ):
        heard = set()
        for name in (there, "nothing"):
            more = ("why",) if act in ("ask", "answer", "delegate") else ()
            with pytest.raises(NotFoundError) as said:
                getattr(stranger, act)(name, *more)
            heard.add((said.value.message.replace(name, "X"), said.value.hint, said.value.exit_code))
        assert len(heard) == 1, f"{act}: {heard}"
    assert sum(e["result"] == "refused" for e in empty.audit()) == 7, (
        "what was tried on what is there is kept"
    )
