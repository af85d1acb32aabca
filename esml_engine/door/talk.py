"""What people say about a request while it waits: questions, answers, and to whom it was handed; and whose turn it is then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from esml_engine.clock import now
from esml_engine.door.facts import Actor
from esml_engine.errors import RefusedError
from esml_engine.store import schema as t
from esml_engine.store.database import Store

QUESTION, ANSWER, DELEGATION = "question", "answer", "delegation"
LONGEST = 2000
"""Characters of one thing that is said."""


def of(store: Store, requests: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """By request, oldest first: `[{"kind", "by", "person", "text", "to", "at"}]`; kind: question, answer or delegation."""
    k = t.request_talk
    out: dict[str, list[dict[str, Any]]] = {r: [] for r in requests}
    for x in store.rows(k.select().where(k.c.request.in_(requests)).order_by(k.c.request, k.c.n)):
        out[x["request"]].append({key: x[key] for key in ("kind", "by", "person", "text", "to", "at")})
    return out


def say(
    c: sa.Connection, row: dict[str, Any], actor: Actor, kind: str, text: str, to: str = ""
) -> dict[str, Any]:
    """Add one entry after those that `row` knows.

    Raises:
        RefusedError: somebody said something meanwhile.
    """
    k, n = t.request_talk, len(row["talk"])
    there = c.execute(
        sa.select(sa.func.count()).select_from(k).where(k.c.request == row["request"])
    ).scalar_one()
    if there != n:
        raise RefusedError(
            f"somebody said something about {row['request']} a moment ago", hint="look at it again"
        )
    entry = {"kind": kind, "by": actor.rights, "person": actor.name, "text": text, "to": to, "at": now()}
    c.execute(k.insert().values(request=row["request"], n=n, **entry))
    return entry


def open_questions(talk: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Questions that nobody answered since, oldest first; an answer is to all that were open."""
    out: list[dict[str, Any]] = []
    for x in talk:
        if x["kind"] == QUESTION:
            out.append(x)
        elif x["kind"] == ANSWER:
            out = []
    return out


def askers(talk: Sequence[dict[str, Any]]) -> str:
    """Who waits for an answer, as words: `anna`, `anna and bo`."""
    return " and ".join(dict.fromkeys(x["by"] for x in open_questions(talk)))


def turn(row: dict[str, Any]) -> dict[str, Any] | None:
    """Whose turn a request is: `{"do": "answer" | "decide", "who"}`; `who` None: anybody who may; None: it waits no longer.

    A question is the requester's turn. Else whoever it was handed to, or who asked the last question, decides next;
    the others who may decide still can.
    """
    if row["state"] != "waiting":
        return None
    if open_questions(row["talk"]):
        return {"do": ANSWER, "who": row["by"]}
    called = next((x for x in reversed(row["talk"]) if x["kind"] != ANSWER), None)
    who = None if called is None else called["to"] or called["by"]
    said = {d["by"] for d in row["decisions"]}
    return {"do": "decide", "who": None if who in said else who}
