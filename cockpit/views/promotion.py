"""Champion against challenger as a page shows them: two sides, a verdict with what would change it, gates, the difference."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from cockpit.words import ago, metric, money, plural, value

_METRIC_GATES = {
    "min_gain": "{m} better by at least its threshold",
    "interval": "Interval of the gain in {m} excludes 0",
    "floor": "{m} within its absolute limit",
}
_GATES = {
    "weights": "Weighted gains add up to more than 0",
    "baseline": "Better than the trivial baseline",
    "expectations": "Expectations of its gold",
    "rnd": "Not from R&D mode",
    "signature": "Signature compatible",
    "cost": "Scoring cost within policy",
    "rows": "Same rows, none trained on",
    "models": "Models are the registered ones",
    "settings": "Gate settings valid",
}


@dataclass(frozen=True)
class Side:
    """One of the two cards."""

    title: str
    note: str
    metric: str
    value: str
    delta: str
    better: bool | None


@dataclass(frozen=True)
class GateLine:
    """One line of the table of gates."""

    gate: str
    passed: bool
    champion: str
    challenger: str
    difference: str
    margin: str
    reason: str


@dataclass(frozen=True)
class Decision:
    """One comparison, ready to be laid out."""

    champion: Side | None
    challenger: Side
    verdict: str
    failed: int
    count: int
    change: tuple[str, ...]
    gates: tuple[GateLine, ...]
    evidence: str


def gate_name(gate: str) -> str:
    """A gate in words."""
    kind, _, name = gate.partition(":")
    if name and kind in _METRIC_GATES:
        return _METRIC_GATES[kind].format(m=metric(name))
    return _GATES.get(gate, gate.replace("_", " "))


def decision(document: dict[str, Any], rows: dict[int, dict[str, Any]], now: dt.datetime) -> Decision:
    """From a comparison's document. `rows`: the registered versions by number, for estimator and age."""
    primary = document["primary"]
    metrics = document["metrics"]
    mine = (metrics["challenger"] or {}).get(primary)
    theirs = (metrics["champion"] or {}).get(primary)
    direction = (document.get("direction") or {}).get(primary) or 1
    delta, better = "no champion stands here", None
    if document["champion"] is not None:
        delta = "not measured"
        if mine is not None and theirs is not None:
            better = direction * (mine - theirs) >= 0
            delta = f"{mine - theirs:+.4g} against champion"
    failed = [g for g in document["gates"] if not g["passed"]]
    test = document["data"]["gold_test"]
    where = (
        f"{test['env']} gold_test v{test['version']}, {plural(document['rows'], 'row')}"
        if test
        else "no rows"
    )
    return Decision(
        champion=_side(document["champion"], "champion", document, rows, theirs, "", None, now)
        if document["champion"] is not None
        else None,
        challenger=_side(document["challenger"], "challenger", document, rows, mine, delta, better, now),
        verdict=document["verdict"],
        failed=len(failed),
        count=len(document["gates"]),
        change=tuple(_change(g) for g in failed),
        gates=tuple(line(g) for g in document["gates"]),
        evidence=where,
    )


def _side(
    version: int,
    who: str,
    document: dict[str, Any],
    rows: dict[int, dict[str, Any]],
    figure: float | None,
    delta: str,
    better: bool | None,
    now: dt.datetime,
) -> Side:
    row = rows.get(version, {})
    gold = (document["data"].get(who) or {}).get("gold")
    trained = (document["data"].get(who) or {}).get("env")
    note = " · ".join(
        x
        for x in (
            f"trained in {trained} {ago(row.get('at'), now)} ago".replace(" just now ago", " just now")
            if row
            else "",
            f"gold v{gold}" if gold else "",
        )
        if x
    )
    name = str(row.get("estimator") or "").replace("_", " ")
    title = f"v{version} · {name}" if name else f"v{version}"
    return Side(title, note, metric(document["primary"]), value(figure), delta, better)


def _change(gate: dict[str, Any]) -> str:
    said = (gate.get("would_pass_if") or {}).get("text")
    return f"**{gate_name(gate['gate'])}**: {gate['reason']}." + (
        f" It would pass with {said}." if said else ""
    )


def line(gate: dict[str, Any]) -> GateLine:
    """A gate's line."""

    def number(x: float | None, sign: bool = False) -> str:
        return "" if x is None else f"{x:+.4g}" if sign else value(x)

    return GateLine(
        gate_name(gate["gate"]),
        bool(gate["passed"]),
        number(gate["champion"]),
        number(gate["challenger"]),
        number(gate["difference"], True),
        number(gate["margin"], True),
        gate["reason"],
    )


def bars(distribution: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The difference's distribution as bars: left, right, count, who is better there."""
    if not distribution:
        return []
    edges, counts = distribution["edges"], distribution["counts"]
    return [
        {
            "left": a,
            "right": b,
            "count": n,
            "side": "challenger better" if (a + b) / 2 > 0 else "champion better",
        }
        for a, b, n in zip(edges, edges[1:], counts, strict=False)
    ]


def asks(request: dict[str, Any], currency: str, now: dt.datetime) -> tuple[str, str]:
    """A request in two lines: what is asked, and by whom, how long ago, with which evidence."""
    d = request["detail"]
    model = request["object"].split("/")[-1]
    by = f"asked by {request['by']} · {ago(request['at'], now)}"
    if request["kind"] == "exception":
        what = f"Exception: {d.get('act', 'a run').replace('_', ' ')} of **{model}** in {request['env']} for {money(d.get('amount'), d.get('currency', currency))}"
        return what, f"{by} · {d.get('reason', '')}"
    gates = d.get("gates") or []
    passed = sum(1 for g in gates if g["passed"])
    main = d.get("primary") or next(iter((d.get("metrics") or {}).get("challenger") or {}), "")
    mine = ((d.get("metrics") or {}).get("challenger") or {}).get(main)
    theirs = ((d.get("metrics") or {}).get("champion") or {}).get(main)
    figures = (
        f"{metric(main)} {value(theirs)} → {value(mine)}"
        if theirs is not None
        else f"{metric(main)} {value(mine)}"
    )
    what = f"Promote **{model} v{d.get('challenger')}** to {request['env']}"
    return what, f"{by} · {passed} of {len(gates)} gates · {figures}"
