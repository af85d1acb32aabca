"""Asking, answering and handing over on the pages: the form, its plan, and whose turn My work says it is."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from cockpit.views import talk as view
from esml_engine.door import talk
from esml_engine.estate import Estate, init_estate, open_estate
from tests.cockpit.conftest import Open, text_of

MODEL = "p1/m1"
SCIENTIST, FIRST, SECOND = "scientist@small", "first@small", "second@small"


@pytest.fixture
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Estate, str]:
    """An estate with a request for an exception that waits, and the request."""
    root = tmp_path_factory.mktemp("talk") / "estate"
    init_estate(root, ["dev"], name="small")
    estate = open_estate(root)
    estate.new_project("p1", "care")
    open_estate(root).new_model(MODEL, "regression", ["d1"], label="y", key="id")
    for actor, role in (
        (SCIENTIST, "data_scientist"), ("colleague@small", "data_scientist"), ("reader@small", "reader"), (FIRST, "approver"),
        (SECOND, "approver"),
    ):  # fmt: skip
        estate.member_add("p1", actor, role)
    request = open_estate(root, act_as=SCIENTIST).model(MODEL).ask_exception(7.0, "a wide search")["request"]
    return open_estate(root), request


def press(at: AppTest, key: str) -> AppTest:
    return at.button(key=key).click().run()


def test_ask_answer_and_what_my_work_says_on_the_way(asked: tuple[Estate, str], page: Open) -> None:
    estate, q = asked
    root = estate.site.root
    at = page(root, "approvals", act_as=FIRST, request=q)
    assert not at.exception and "Write the question: what asking will do is shown then." in text_of(at)
    at.text_input(key=f"ask:{q}").input("Why so wide?").run()
    assert f"- ask {SCIENTIST} about {q}" in text_of(at)
    at = press(at, f"do-ask:{q}")
    assert not at.exception and not at.error
    assert (
        at.success[0].value == f"Asked: it is {SCIENTIST}'s turn."
        and at.text_input(key=f"ask:{q}").value == ""
    )
    assert f"**{FIRST}** asked: Why so wide?" in text_of(at)
    assert "A question is not answered yet" in text_of(at) and "can still be decided" in text_of(at)

    mine = text_of(page(root, "work", act_as=SCIENTIST))
    assert "Asked of you · 1" in mine and ":orange-badge[:material/help: asked of you]" in mine
    assert "You asked for" not in mine
    listed = text_of(page(root, "approvals", act_as=SCIENTIST))
    assert "1 question for you to answer" in listed
    reader = text_of(page(root, "approvals", act_as="reader@small", request=q))
    assert "Why so wide?" in reader and "Your answer" not in reader

    at = page(root, "work", act_as=SCIENTIST, request=q)
    at.text_input(key=f"answer:{q}").input("Three new wards.").run()
    at = press(at, f"do-answer:{q}")
    assert not at.exception and not at.error
    assert f"**{SCIENTIST}** answered: Three new wards." in text_of(at)
    first = text_of(page(root, "work", act_as=FIRST))
    assert "Yours to decide · 1" in first and "answered: your turn" in first
    assert "answered: first@small's turn" in text_of(page(root, "work", act_as=SECOND))
    assert estate.requests()[0]["talk"][1]["text"] == "Three new wards."


def test_another_who_may_ask_for_the_same_may_answer(asked: tuple[Estate, str], page: Open) -> None:
    estate, q = asked
    open_estate(estate.site.root, act_as=FIRST).ask(q, "Why?")
    at = page(estate.site.root, "work", act_as="colleague@small", request=q)
    at.text_input(key=f"answer:{q}").input("Because.").run()
    press(at, f"do-answer:{q}")
    assert estate.requests()[0]["talk"][-1]["by"] == "colleague@small"


def test_handing_over_lists_who_could_decide_and_is_first_there(
    asked: tuple[Estate, str], page: Open
) -> None:
    estate, q = asked
    root = estate.site.root
    sooner = open_estate(root, act_as=SCIENTIST).model(MODEL).ask_exception(8.0, "another")["request"]
    with estate.site.store.write() as c:
        c.exec_driver_sql(
            f"UPDATE requests SET expires = '2998-12-01T00:00:00+00:00' WHERE request = '{sooner}'"
        )
        c.exec_driver_sql(f"UPDATE requests SET expires = '2999-12-01T00:00:00+00:00' WHERE request = '{q}'")
    at = page(root, "approvals", act_as=FIRST, request=q)
    to = at.selectbox(key=f"to:{q}")
    assert to.options == [SECOND], "neither the requester nor a reader, nor oneself"
    to.select(SECOND).run()
    assert f"to {SECOND}" in text_of(at) and "nobody's rights change" in text_of(at)
    at = press(at, f"do-delegate:{q}")
    assert at.success[0].value == f"Handed to {SECOND}." and f"handed it to **{SECOND}**" in text_of(at)
    said = text_of(page(root, "work", act_as=SECOND))
    assert f"handed to you by {FIRST}" in said
    order = [b.key for b in page(root, "work", act_as=SECOND).button if (b.key or "").startswith("review:")]
    assert order == [f"review:{q}", f"review:{sooner}"], (
        "whose turn is mine comes first, though it expires later"
    )
    assert f"handed to {SECOND}" in text_of(page(root, "work", act_as=FIRST))
    with_rights = page(root, "approvals", act_as=FIRST, request=q)
    assert not with_rights.text_input(key=f"reason:{q}").disabled, "who handed it over still may decide"


def test_a_question_put_meanwhile_redraws_the_plan(asked: tuple[Estate, str], page: Open) -> None:
    estate, q = asked
    at = page(estate.site.root, "approvals", act_as=FIRST, request=q)
    at.text_input(key=f"ask:{q}").input("Why?").run()
    open_estate(estate.site.root, act_as=SECOND).ask(q, "How long?")
    at = press(at, f"do-ask:{q}")
    assert "The facts changed since you looked" in text_of(at)
    assert [x["text"] for x in estate.requests()[0]["talk"]] == ["How long?"]
    assert [x["text"] for x in open_estate(estate.site.root).requests()[0]["talk"]] == ["How long?"]
    at = press(at, f"do-ask:{q}")
    assert len(estate.requests()[0]["talk"]) == 2, "the new plan is started by the next press"


NOW = dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
ENTRY: dict[str, Any] = {
    "by": "a",
    "person": "p",
    "text": "why [x]?",
    "to": "",
    "at": "2026-11-26T00:00:00+00:00",
}


def request(*talk_: dict[str, Any], state: str = "waiting") -> dict[str, Any]:
    row = {"by": "r", "state": state, "talk": list(talk_), "decisions": [], "expires": "2026-12-01"}
    return {**row, "turn": talk.turn(row)}


def test_whose_turn_it_is_in_words() -> None:
    question, answer = {**ENTRY, "kind": "question"}, {**ENTRY, "kind": "answer", "by": "r"}
    handed = {**ENTRY, "kind": "delegation", "to": "b"}
    assert view.mark(request(), "a") is None and view.mark(request(question, state="refused"), "r") is None
    for said, me, turn_of, words in (
        ((question,), "r", "r", "asked of you"),
        ((question,), "a", "r", "question to r is open"),
        ((question, answer), "a", "a", "answered: your turn"),
        ((question, answer), "c", "a", "answered: a's turn"),
        ((handed,), "b", "b", "handed to you by a"),
        ((handed,), "a", "b", "handed to b"),
        ((question, handed), "b", "r", "question to r is open"),
        ((question, handed, answer), "b", "b", "handed to you by a"),
    ):
        mark = view.mark(request(*said), me)
        assert mark is not None and mark.text == words
        assert mark.mine == (turn_of == me)


def test_what_was_said_reads_as_lines_and_marks_no_markup() -> None:
    lines = view.lines(request({**ENTRY, "kind": "question"}), NOW, lambda at: "26 Nov")
    assert lines == [":material/help: **a** asked: why \\[x\\]? :small[· 26 Nov, just now]"]
