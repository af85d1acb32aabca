"""Before a decision: questions with their answers, and handing a request to another; nobody's rights grow by it."""

from __future__ import annotations

from typing import Any

import pytest

from esml_engine.door import audit, requests
from esml_engine.errors import (
    NotAllowedError,
    NotFoundError,
    RefusedError,
    StalePlanError,
    UsageError,
)
from esml_engine.estate import Estate
from esml_engine.promotion import evidence
from esml_engine.store import schema as t
from tests.conftest import cli
from tests.invariants import violations
from tests.promotion.conftest import MODEL, as_, promote, setting

SCIENTIST, APPROVER, SECOND, MANAGER = "scientist@p1", "approver@p1", "second@p1", "manager@p1"


@pytest.fixture
def waits(three: Estate) -> tuple[Estate, str]:
    """An estate whose scientist's request for promotion into test waits, and the request."""
    setting(three, "[policy.test]\napprovals = 1\n")
    three.member_add("p1", "colleague@p1", "data_scientist")
    three.member_add("p1", "engineer@p1", "data_engineer")
    return three, promote(as_(three, SCIENTIST), "dev", "test")["request"]


def now(estate: Estate, request: str) -> dict[str, Any]:
    return next(r for r in estate.requests("") if r["request"] == request)


def test_a_question_is_the_requesters_turn_and_its_answer_the_askers(waits: tuple[Estate, str]) -> None:
    estate, q = waits
    assert now(estate, q)["turn"] == {"do": "decide", "who": None} and now(estate, q)["talk"] == []
    plan = as_(estate, APPROVER).ask(q, "Why so few rows?", dry_run=True)
    assert plan.draft.will[0].startswith(
        f"ask {SCIENTIST} about {q} (v1 of {MODEL} from dev to test): Why so few"
    )
    assert (
        "can be decided without an answer" in plan.draft.will[1] and plan.policy["origin"] == "spends nothing"
    )
    said = as_(estate, APPROVER).ask(q, "Why so few rows?", plan=plan)
    assert said["state"] == "waiting" and said["turn"] == {"do": "answer", "who": SCIENTIST}
    assert [(x["kind"], x["by"], x["text"]) for x in said["talk"]] == [
        ("question", APPROVER, "Why so few rows?")
    ]
    (standing,) = estate.status(MODEL)
    assert (standing["turn"], standing["next"]) == ("data_scientist", "answer")
    assert (
        standing["blocked_by"]
        == f"v1 waits for an answer: {APPROVER} asked {SCIENTIST} before deciding on test"
    )
    said = as_(estate, SCIENTIST).answer(q, "The ward opened in May.")
    (standing,) = estate.status(MODEL)
    assert (standing["turn"], standing["next"]) == ("approver", "approve")
    assert said["turn"] == {"do": "decide", "who": APPROVER}
    assert said["talk"][1]["kind"] == "answer" and said["talk"][1]["person"] == estate.actor.name
    events = audit.events(estate.site.store, object_=MODEL)
    assert [(e["act"], e["result"]) for e in events[:2]] == [("answer", "done"), ("ask", "done")]
    pack = evidence.pack(estate.site, now(estate, q)["detail"]["evidence"])
    assert [x["text"] for x in pack["sections"]["request"]["talk"]] == [
        "Why so few rows?",
        "The ward opened in May.",
    ]
    assert "The ward opened in May." in evidence.html(pack) and evidence.verify(pack)["ok"]
    assert violations(estate.site.root) == []


def test_an_open_question_does_not_stop_a_decision_which_says_so(waits: tuple[Estate, str]) -> None:
    estate, q = waits
    approver = as_(estate, APPROVER)
    before = approver.refuse(q, "no", dry_run=True)
    approver.ask(q, "why?")
    with pytest.raises(StalePlanError):
        approver.refuse(q, "no", plan=before)
    plan = approver.refuse(q, "no", dry_run=True)
    assert plan.draft.will[1] == f"without an answer to the question of {APPROVER}"
    assert approver.refuse(q, "no", plan=plan)["state"] == "refused"
    assert now(estate, q)["turn"] is None and now(estate, q)["talk"][0]["text"] == "why?"
    kept = evidence.pack(estate.site, now(estate, q)["detail"]["evidence"])
    assert kept["sections"]["request"]["talk"][0]["text"] == "why?", (
        "what was said is sealed with the decision"
    )
    for act in (
        lambda: approver.ask(q, "x"),
        lambda: as_(estate, SCIENTIST).answer(q, "x"),
        lambda: approver.delegate(q, SECOND),
    ):
        with pytest.raises(RefusedError, match="is refused already"):
            act()


def test_who_may_ask_and_who_may_answer(waits: tuple[Estate, str]) -> None:
    estate, q = waits
    for actor in (MANAGER, SCIENTIST, "engineer@p1"):
        with pytest.raises(NotAllowedError):
            as_(estate, actor).ask(q, "why?")
    with pytest.raises(NotAllowedError, match="approve needs approver"):
        estate.ask(q, "why?")  # the estate's admin, without the role
    with pytest.raises(UsageError, match="no question about"):
        as_(estate, SCIENTIST).answer(q, "because")
    as_(estate, APPROVER).ask(q, "why?")
    as_(estate, SECOND).ask(q, "and when?")
    for actor in (APPROVER, "engineer@p1"):
        with pytest.raises(NotAllowedError, match="promote needs admin or data_scientist"):
            as_(estate, actor).answer(q, "because")
    plan = as_(estate, "colleague@p1").answer(q, "because", dry_run=True)
    assert f"answer {APPROVER} and {SECOND} about" in plan.draft.will[0]
    assert plan.draft.will[1:] == (f"{APPROVER} asked: why?", f"{SECOND} asked: and when?")
    assert as_(estate, "colleague@p1").answer(q, "because", plan=plan)["turn"]["who"] == SECOND


def test_nobody_decides_or_asks_on_their_own_request_nor_answers_themselves(
    waits: tuple[Estate, str],
) -> None:
    estate, q = waits
    estate.member_add("p1", SCIENTIST, "approver")
    estate.member_add("p1", APPROVER, "data_scientist")
    with pytest.raises(NotAllowedError, match="own"):
        as_(estate, SCIENTIST).ask(q, "why?")
    as_(estate, APPROVER).ask(q, "why?")
    with pytest.raises(NotAllowedError, match="a question of their own"):
        as_(estate, APPROVER).answer(q, "because")
    assert [x["kind"] for x in now(estate, q)["talk"]] == ["question"]


def test_handed_over_it_is_anothers_turn_and_everybody_elses_right(waits: tuple[Estate, str]) -> None:
    estate, q = waits
    approver = as_(estate, APPROVER)
    plan = approver.delegate(q, SECOND, "I am away", dry_run=True)
    assert f"to {SECOND}: I am away" in plan.draft.will[0] and "nobody's rights change" in plan.draft.will[1]
    said = approver.delegate(q, SECOND, "I am away", plan=plan)
    assert said["turn"] == {"do": "decide", "who": SECOND} and said["talk"][0]["to"] == SECOND
    again = approver.delegate(q, SECOND)
    assert again["turn"]["who"] == SECOND and len(now(estate, q)["talk"]) == 1, (
        "it is that person's turn already"
    )
    with pytest.raises(StalePlanError):
        approver.delegate(q, SECOND, "I am away", plan=plan)
    as_(estate, SECOND).ask(q, "why?")
    assert as_(estate, SCIENTIST).answer(q, "because")["turn"]["who"] == SECOND
    assert approver.refuse(q, "I am back")["state"] == "refused", "who handed it over still may"
    assert violations(estate.site.root) == []


def test_it_is_handed_only_to_somebody_who_could_decide_anyhow(waits: tuple[Estate, str]) -> None:
    estate, q = waits
    estate.member_add("p1", SCIENTIST, "approver")
    estate.new_project("p2", "team")
    estate.member_add("p2", "elsewhere@p2", "approver")
    approver = as_(estate, APPROVER)
    for to, why in (
        (MANAGER, "approve needs approver"), ("elsewhere@p2", "no role on p1"), (SCIENTIST, "request of their own"),
    ):  # fmt: skip
        with pytest.raises(NotAllowedError, match=why) as e:
            approver.delegate(q, to)
        assert e.value.hint == f"could decide: {APPROVER} or {SECOND}"
    with pytest.raises(NotFoundError, match="nobody is called"):
        approver.delegate(q, "stranger@p1")
    with pytest.raises(UsageError, match="to whom"):
        approver.delegate(q, "")
    with pytest.raises(NotAllowedError):
        as_(estate, MANAGER).delegate(q, SECOND)
    assert now(estate, q)["talk"] == []


def test_a_managers_exception_is_handed_within_the_budget_alone(three: Estate) -> None:
    three.member_add("p1", "manager2@p1", "project_manager")
    budget = three.site.settings.project("p1").budget.month
    dear = as_(three, SCIENTIST).model(MODEL).ask_exception(budget * 2, "a wide search")["request"]
    fair = as_(three, SCIENTIST).model(MODEL).ask_exception(budget / 10, "a search")["request"]
    with pytest.raises(NotAllowedError, match="budget of p1"):
        as_(three, MANAGER).ask(dear, "why?")
    with pytest.raises(NotAllowedError, match="budget of p1"):
        as_(three, APPROVER).delegate(dear, MANAGER)
    assert as_(three, APPROVER).delegate(fair, MANAGER)["turn"]["who"] == MANAGER
    assert as_(three, MANAGER).ask(fair, "why?")["turn"]["who"] == SCIENTIST
    assert as_(three, SCIENTIST).answer(fair, "because")["turn"]["who"] == MANAGER


def test_two_who_say_something_at_once_do_not_overwrite_each_other(waits: tuple[Estate, str]) -> None:
    estate, q = waits
    row = requests.get(estate.site.store, q)
    as_(estate, APPROVER).ask(q, "why?")
    from esml_engine.door import talk

    with pytest.raises(RefusedError, match="a moment ago"), estate.site.store.write() as c:
        talk.say(c, row, as_(estate, SECOND).actor, talk.QUESTION, "and when?")
    assert [x["text"] for x in now(estate, q)["talk"]] == ["why?"]


@pytest.mark.parametrize("text", ["", "  ", "x" * 2001])
def test_what_cannot_be_asked(waits: tuple[Estate, str], text: str) -> None:
    estate, q = waits
    with pytest.raises(UsageError, match="ask what"):
        as_(estate, APPROVER).ask(q, text)


def test_the_commands(waits: tuple[Estate, str]) -> None:
    estate, q = waits
    root = estate.site.root
    plan = cli(root, "--as", APPROVER, "ask", q, "--text", "why?", "--dry-run")["plan"]
    assert plan["act"] == "ask" and plan["allowed"]
    key = ("--plan", plan["hash"], "--idempotency-key", "k1")
    asked = cli(root, "--as", APPROVER, "ask", q, "--text", "why?", *key)
    assert asked["turn"] == {"do": "answer", "who": SCIENTIST}
    again = cli(root, "--as", APPROVER, "ask", q, "--text", "why?", "--idempotency-key", "k1")
    assert len(again["talk"]) == 1 and again["said"] == asked["said"], "the same key asks once"
    assert cli(root, "--as", SCIENTIST, "answer", q, "--text", "because")["turn"]["who"] == APPROVER
    assert cli(root, "--as", APPROVER, "delegate", q, "--to", SECOND)["turn"]["who"] == SECOND
    assert (
        cli(root, "--as", APPROVER, "delegate", q, "--to", MANAGER, check=3)["error"]["code"] == "not_allowed"
    )
    assert cli(root, "requests")[0]["talk"][2]["to"] == SECOND
    with estate.site.store.read() as c:
        assert c.execute(t.request_talk.select()).mappings().all()[0]["n"] == 0
