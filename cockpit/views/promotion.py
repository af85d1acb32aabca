"""Champion against challenger as a page shows them: two sides, a verdict with what would change it, gates, the difference."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cockpit.words import ago, clock, metric, money, plain, plural, time_ago, value
from esml_engine.door.policy import MONEY

_METRIC_GATES = {
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
class Became:
    """What became of the newest request for a version into an environment."""

    state: str  # waiting | refused
    said: str = ""  # who refused it, and why


Asked = Mapping[str, Mapping[int, Became]]
"""By environment and version."""


def asked_up(row: Mapping[str, Any], became: Asked) -> Became | None:
    """What became of the request to take a candidate up that the gates call ready; None: nobody asked."""
    return became.get(row["ready_to"], {}).get(row["model_version"]) if row["ready"] else None


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


def limit_of(g: Mapping[str, Any]) -> float | None:
    """What a gain was held against: difference and margin are both turned so that positive is better."""
    if g.get("difference") is None or g.get("margin") is None:
        return None
    return float(g["difference"]) - float(g["margin"])


def _gain(name: str, limit: float | None) -> str:
    """The gate on a gain, in words that fit its threshold's sign."""
    if limit is None:
        return f"{name} better by at least its threshold"
    if abs(limit) < 1e-12:
        return f"{name} not worse"
    return (
        f"{name} better by at least {value(limit)}"
        if limit > 0
        else f"{name} not worse by more than {value(-limit)}"
    )


def gate_name(gate: str, limit: float | None = None) -> str:
    """A gate in words."""
    kind, _, name = gate.partition(":")
    if name and kind == "min_gain":
        return _gain(metric(name), limit)
    if name and kind in _METRIC_GATES:
        return _METRIC_GATES[kind].format(m=metric(name))
    return _GATES.get(gate, gate.replace("_", " "))


def decision(
    document: dict[str, Any],
    rows: dict[int, dict[str, Any]],
    now: dt.datetime,
    when: Callable[[str], str] = clock,
) -> Decision:
    """From a comparison's document. `rows`: the registered versions by number, for estimator, age and where each `leads`."""
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
            apart = abs(mine - theirs)
            delta = f"{apart:.4g} {'better' if better else 'worse'}" if apart else "as good as champion"  # fmt: skip
    failed = [g for g in document["gates"] if not g["passed"]]
    test = document["data"]["gold_test"]
    where = (
        f"{test['env']} gold_test v{test['version']}, {plural(document['rows'], 'row')}"
        if test
        else "no rows"
    )
    return Decision(
        champion=_side(document["champion"], "champion", document, rows, theirs, "", None, now, when)
        if document["champion"] is not None
        else None,
        challenger=_side(
            document["challenger"], "challenger", document, rows, mine, delta, better, now, when
        ),
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
    when: Callable[[str], str],
) -> Side:
    row = rows.get(version, {})
    env = document["to"] if who == "champion" else document["from"]
    since = (row.get("leads") or {}).get(env)
    gold = (document["data"].get(who) or {}).get("gold")
    trained = (document["data"].get(who) or {}).get("env")
    note = " · ".join(
        x
        for x in (
            f"champion of {env} since {when(since)}" if since else "",
            f"trained in {trained} {time_ago(row.get('at'), now)}" if row else "",
            f"gold v{gold}" if gold else "",
        )
        if x
    )
    name = str(row.get("estimator") or "").replace("_", " ")
    title = f"v{version} · {name}" if name else f"v{version}"
    return Side(title, note, metric(document["primary"]), value(figure), delta, better)


def _change(gate: dict[str, Any]) -> str:
    said = (gate.get("would_pass_if") or {}).get("text")
    return f"**{gate_name(gate['gate'], limit_of(gate))}**: {gate['reason']}." + (
        f" It would pass with {said}." if said else ""
    )


def line(gate: dict[str, Any]) -> GateLine:
    """A gate's line."""

    def number(x: float | None, sign: bool = False) -> str:
        if x is not None and 0 < abs(x) < 1e-4:
            way = "− " if x < 0 else "+ " if sign else ""
            return f"{way}under 0.0001"  # money of scoring, mostly: no powers of ten before people
        return "" if x is None else f"{x:+.4g}" if sign and x else value(x)

    return GateLine(
        gate_name(gate["gate"], limit_of(gate)),
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
    tie = [a <= 0 <= b for a, b, n in zip(edges, edges[1:], counts, strict=False) if n] == [True]
    return [
        {
            "left": a,
            "right": b,
            "count": n,
            "side": "no difference" if tie else "challenger better" if (a + b) / 2 > 0 else "champion better",
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
        return what, f"{by} · {plain(d.get('reason') or '')}"
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


def expires(request: dict[str, Any], now: dt.datetime) -> str:
    """`expires in 4 d`, `expires in 3 h`."""
    left = dt.datetime.fromisoformat(request["expires"]) - now
    if left.total_seconds() <= 0:
        return "expired"
    return f"expires in {left.days} d" if left.days else f"expires in {int(left.total_seconds() // 3600)} h"


def grounds(
    document: dict[str, Any],
    request: dict[str, Any],
    run: dict[str, Any] | None,
    currency: str,
    when: Callable[[str], str],
) -> list[tuple[str, str]]:
    """Data, cost and people behind a promotion's request, a line each."""
    data = document["data"]
    test = data["gold_test"]
    on = (
        f"{test['env']} gold_test v{test['version']}, {plural(document['rows'], 'row')}"
        if test
        else "no rows"
    )
    trained = [
        f"{who} on gold v{side['gold']} of {side.get('env', '')}".removesuffix(" of ")
        for who in ("challenger", "champion")
        if (side := data.get(who)) and side.get("gold")
    ]
    cost = document.get("cost_1000_rows")
    scoring = f"scoring 1,000 rows {money(cost, currency)}" if cost is not None else "scoring was not timed"
    price = document.get("price_hour")
    if cost is not None and price:
        scoring += f", at {money(price, currency)} a node hour"
    spent = (
        f"; this request's run {money(run['cost'], currency)} so far, metered" if run and run["cost"] else ""
    )
    yes = [d for d in request["decisions"] if d["verdict"] == "approve"]
    said = f"asked by {request['by']}" + (
        f" (signed in as {request['person']})" if request["person"] != request["by"] else ""
    )
    return [
        ("Data", f"both scored on the same {on}; trained: {', '.join(trained) or 'not recorded'}"),
        ("Cost", scoring + spent),
        ("People", f"{said} on {when(request['at'])}; {len(yes)} of {plural(request['needed'], 'approval')} given"),
    ]  # fmt: skip


def exception_grounds(
    request: dict[str, Any], month: float, budget: float, currency: str, when: Callable[[str], str]
) -> list[tuple[str, str]]:
    """What an exception would allow, against which money, until when."""
    d = request["detail"]
    left = budget - month
    key = d.get("key", MONEY[0])
    kept = key in MONEY  # lifts the limit for later runs, too
    how_far = "a run" if key == MONEY[0] else "in all" if kept else "for this run"
    return [
        ("Asks for", "; ".join(d.get("will") or [f"{d.get('act', 'a run')} for {money(d.get('amount'), currency)}"])),
        ("Why", plain(str(d.get("reason") or "no reason was given"))),
        ("Money",
            f"up to {money(d.get('amount'), currency)} {how_far}; the budget still holds {money(max(0.0, left), currency)} of {money(budget, currency)} this month"),
        *((("Asked after it", plain("; ".join(d["also"]))),) if d.get("also") else ()),
        ("Policy", str(d.get("origin") or "the estate's")),
        ("Holds until", "this run ends: no other run is covered" if not kept else f"the end of {d['until'][:10]}, UTC" if d.get("until") else f"{when(request['expires'])}, when the request expires"),
        ("People", f"asked by {request['by']} on {when(request['at'])}"),
    ]  # fmt: skip


def refusal(request: dict[str, Any], when: Callable[[str], str]) -> str:
    """`anna@x on 24 Nov 14:32: too few rows`: who refused a request, and why; the newest decision where several were."""
    said = next((d for d in reversed(request["decisions"]) if d["verdict"] == "refuse"), None)
    if said is None:
        return f"the gates on {when(request['decided'] or request['at'])}"
    return f"{said['by']} on {when(said['at'])}: {plain(said['reason'])}"


_COLORS = {"approved": "green", "refused": "red", "stale": "orange"}


def outcome(request: dict[str, Any]) -> str:
    """How a decided request ended, by whom and why, in a line."""
    said = "; ".join(f"{d['by']}: {plain(d['reason'])}" for d in request["decisions"]) or "nobody decided"
    state = request["state"]
    return f":{_COLORS.get(state, 'gray')}-badge[{_SIGNS.get(state, '·')} {state}] :small[{said} · asked by {request['by']}]"


_SIGNS = {"approved": "✓", "refused": "⊘", "expired": "–", "stale": "!", "withdrawn": "–"}


def decided(request: dict[str, Any], currency: str, now: dt.datetime, when: Callable[[str], str]) -> dict[str, str]:  # fmt: skip
    """A decided request as a line."""
    what, _ = asks(request, currency, now)
    return {
        "State": f"{_SIGNS.get(request['state'], '·')} {request['state']}", "Asked": what.replace("**", ""),
        "Decided": when(request["decided"] or request["expires"]),
        "Who, and why": "; ".join(f"{d['by']}: {d['reason']}" for d in request["decisions"]) or "nobody decided",
        "By": request["by"],
    }  # fmt: skip
