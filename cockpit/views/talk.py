"""What was said about a request, and whose turn it is, as a page shows them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from cockpit.words import plain, time_ago
from esml_engine.door.talk import ANSWER, DELEGATION, QUESTION, open_questions

Color = Literal["orange", "blue", "gray"]


class Mark(NamedTuple):
    """Whose turn a request is, beside it."""

    text: str
    icon: str
    color: Color
    mine: bool


def mark(request: dict[str, Any], me: str) -> Mark | None:
    """Whose turn, when somebody's it is; orange and blue when it is mine."""
    turn = request["turn"]
    if turn is None or turn["who"] is None:
        return None
    who = turn["who"]
    mine = who == me
    if turn["do"] == ANSWER:
        return Mark("asked of you" if mine else f"question to {who} is open", "help", "orange" if mine else "gray",
            mine)  # fmt: skip
    called = next(x for x in reversed(request["talk"]) if x["kind"] != ANSWER)
    if called["kind"] == DELEGATION:
        return Mark(f"handed to you by {called['by']}" if mine else f"handed to {who}", "forward", "orange" if mine else "gray",
            mine)  # fmt: skip
    return Mark("answered: your turn" if mine else f"answered: {who}'s turn", "reply", "blue" if mine else "gray",
        mine)  # fmt: skip


def first_mine(request: dict[str, Any], me: str) -> tuple[int, str]:
    """The order of requests: those whose turn is mine, those that are anybody's, those that are another's; then by their end."""
    said = mark(request, me)
    return (1 if said is None else 0 if said.mine else 2, request["expires"])


def asked_of(requests: list[dict[str, Any]], me: str) -> list[dict[str, Any]]:
    """Requests with a question that I am to answer."""
    return [r for r in requests if r["turn"] == {"do": ANSWER, "who": me}]


_SIGNS = {QUESTION: "help", ANSWER: "reply", DELEGATION: "forward"}


def lines(request: dict[str, Any], now: dt.datetime, when: Callable[[str], str]) -> list[str]:
    """What was said, a line each, oldest first."""
    out = []
    for x in request["talk"]:
        by, text, at = x["by"], plain(x["text"]), f"{when(x['at'])}, {time_ago(x['at'], now)}"
        what = {
            QUESTION: f"**{by}** asked: {text}",
            ANSWER: f"**{by}** answered: {text}",
            DELEGATION: f"**{by}** handed it to **{x['to']}**" + (f": {text}" if text else ""),
        }[x["kind"]]
        out.append(f":material/{_SIGNS[x['kind']]}: {what} :small[· {at}]")
    return out


def unanswered(request: dict[str, Any]) -> str:
    """What to know before deciding with a question open; '' where none is."""
    open_ = open_questions(request["talk"])
    if not open_ or request["turn"] is None:
        return ""
    n = "A question is" if len(open_) == 1 else f"{len(open_)} questions are"
    return f"{n} not answered yet: it is {request['by']}'s turn. The request can still be decided."
