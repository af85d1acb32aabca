"""From what was measured to a verdict: the gates of training, and those that only a comparison between environments has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from esml_engine.promotion.facts import Case
from esml_engine.training.facts import DIRECTION, Evidence, Gate, Verdict
from esml_engine.training.judging.gates import judge
from esml_engine.training.judging.gates import rnd as rnd_gate
from esml_engine.training.judging.overlap import BY_ROW
from esml_engine.training.judging.ways import command

Measured = Mapping[str, Any]


def judged(
    case: Case, measured: Measured | None, *, expectations: bool | None, rnd: bool | None, price: float | None
) -> Verdict:
    """The verdict on a case.

    Args:
        measured: what the job `promotion.compare` left; None: there were no rows to measure on.
        expectations, rnd: of the data behind the challenger; None: not known, which refuses.
        price: of a node hour in the target; None: not known.
    """
    own = [_rows(case, measured), _models(case, measured)]
    evidence = evidence_of(case, measured, expectations=expectations, rnd=rnd, price=price)
    said = judge(evidence, case.thresholds)
    gates = (*said.gates, *own)
    return Verdict("promote" if all(g.passed for g in gates) else "refuse", gates)


def evidence_of(
    case: Case, measured: Measured | None, *, expectations: bool | None, rnd: bool | None, price: float | None
) -> Evidence:
    """What the gates of training judge: fresh metrics of both, on the same rows."""
    m = measured or {}
    mine, theirs = m.get("challenger") or {}, m.get("champion") or {}
    intervals = ((m.get("difference") or {}).get("intervals")) or {}
    return Evidence(
        task=case.challenger.task,
        challenger=mine.get("metrics"),
        baseline=m.get("baseline") or {},
        has_champion=case.champion is not None,
        champion=theirs.get("metrics"),
        champion_task=case.champion.task if case.champion else None,
        challenger_signature=case.challenger.signature,
        champion_signature=case.champion.signature if case.champion else None,
        challenger_classes=mine.get("classes"),
        champion_classes=theirs.get("classes"),
        expectations=expectations,
        rnd=rnd,
        intervals={k: (float(v[0]), float(v[1])) for k, v in intervals.items()},
        rows=int(m.get("rows") or 0),
        cost_1000_rows=cost_1000_rows(mine, price),
        primary=case.primary,
    )


def cost_1000_rows(mine: Measured, price: float | None) -> float | None:
    """Seconds that the challenger took for the test rows × price of a node hour, for 1,000 rows; None: not known."""
    seconds, rows = mine.get("seconds"), mine.get("rows")
    if price is None or seconds is None or not rows:
        return None
    return float(seconds) / float(rows) * 1000 / 3600 * price


def without_rows(case: Case, *, expectations: bool | None, rnd: bool | None) -> tuple[Gate, ...]:
    """The refusals that need no measuring."""
    evidence = evidence_of(case, None, expectations=expectations, rnd=rnd, price=None)
    names = ("expectations", "signature")
    # R&D mode first: what else is wrong with a sample follows from it
    found = [rnd_gate(evidence), *(g for g in judge(evidence, {}).gates if g.gate in names)]
    if case.test is None or not case.test["rows"]:
        found.append(_rows(case, None))
    return tuple(g for g in found if not g.passed)


def _rows(case: Case, measured: Measured | None) -> Gate:
    """There are test rows, and neither model was trained on any of them."""
    if case.test is None:
        change: dict[str, Any] = {
            "setting": f"policy.{case.target}.evidence",
            "value": "source",
            "text": f"a split of gold in {case.target}, or policy evidence = 'source'",
        }
        if case.policy.get("evidence") == "source":
            change = {
                "setting": "",
                "value": None,
                "text": f"a split of gold in {case.target} or {case.source}",
            }
        return Gate(
            "rows", False, reason=f"{case.target} has no gold_test to compare on", would_pass_if=change
        )
    where = f"gold_test v{case.test['version']} of {case.test['env']}"
    if measured is None:
        return Gate("rows", False, reason=f"{where} was not measured")
    if measured.get("sample"):
        return Gate("rows", False,
            reason=f"{where} is an R&D sample, which proves nothing: take {case.test['env']} out of R&D mode, refine and split it")  # fmt: skip
    rows = measured.get("rows")
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        return Gate("rows", False, reason=f"{where} has no row")
    for who, side in (("challenger", case.challenger), ("champion", case.champion)):
        if side is None:
            continue
        said = (measured.get("trained_on") or {}).get(who)
        known = all(side.data_version(t) is not None for t in ("gold_train", "gold_validate"))
        if said is None or not known or said.get("rows") is None:
            why = (said or {}).get("error") or "the data behind it is not recorded"
            return Gate("rows", False, reason=f"what the {who} v{side.version} was trained on: {why}")
        if said["rows"]:
            examples = "; ".join(said["examples"])
            return Gate(
                "rows",
                False,
                margin=-float(said["rows"]),
                reason=f"the {who} v{side.version} was trained on {said['rows']} of the {measured['rows']} rows of {where}, {_found_by(said['by'])}: {examples}",
                would_pass_if=_other_split(case, measured.get("splits") or {}),
            )
    source = "" if case.test["env"] == case.target else f" (evidence of {case.test['env']}, by policy)"
    return Gate("rows", True, reason=f"{measured['rows']} rows of {where}, none trained on{source}")


def _found_by(by: str) -> str:
    return "found by key" if by == "key" else BY_ROW


def _other_split(case: Case, splits: Mapping[str, Any]) -> dict[str, Any] | None:
    """The split of the test rows that leaves none that a model learned; None where no split is known to do that."""
    assert case.test is not None
    mine, standing, env = splits.get("challenger"), splits.get("champion"), case.test["env"]
    wanted = mine if case.champion is None else standing
    if wanted is None:
        return None
    where = [env] if splits.get("test") != wanted else []
    if mine != wanted and case.source != env:
        where.append(case.source)
    if not where and mine == wanted:
        return None  # split so already: what was learned came there otherwise
    commands = " and ".join(command(case.object, e, wanted) for e in where)
    said = f" ({commands})" if commands else ""
    same_rows = ", on the same IN files" if wanted["by"] == "time" else ""
    if mine == wanted:
        text = f"{env} split as the models' data was{same_rows}{said}"
    else:
        assert case.champion is not None
        text = f"gold split as the data of the champion v{case.champion.version} was{same_rows}{said}, and a version trained in {case.source} after it"
    value = {k: wanted[k] for k in ("train", "validate", "test", "seed", "by", "group")}
    return {"setting": "split", "value": value, "text": text}


def _models(case: Case, measured: Measured | None) -> Gate:
    """Both models are the registered ones and answered every row."""
    if measured is None:
        return Gate("models", False, reason="no model was scored")
    for who, side in (("challenger", case.challenger), ("champion", case.champion)):
        if side is None:
            continue
        said = measured.get(who) or {}
        if said.get("error") or said.get("metrics") is None:
            why = said.get("error") or "it left no metrics"
            return Gate("models", False, reason=f"the {who} v{side.version} could not be scored: {why}")
    if case.champion is not None:
        if measured.get("difference_error"):
            return Gate("models", False, reason=measured["difference_error"])
        if measured.get("difference") is None:
            return Gate("models", False, reason="the difference between the models was not measured")
    return Gate("models", True, reason="loaded by their registered hashes and scored on the same rows")


def document(
    case: Case, measured: Measured | None, verdict: Verdict, *, expectations: bool | None, rnd: bool | None, price: float | None,
    seconds: float
) -> dict[str, Any]:  # fmt: skip
    """The contract's answer of `compare`, with everything that an evidence pack needs of it."""
    m = measured or {}
    mine, theirs = m.get("challenger") or {}, m.get("champion") or {}
    difference = m.get("difference") or {}
    test = case.test or {}
    return {
        "verdict": verdict.verdict, "rows": int(m.get("rows") or 0),
        "gates": [asdict(g) | {"interval": list(g.interval) if g.interval else None} for g in verdict.gates],
        "from": case.source, "to": case.target, "challenger": case.challenger.version,
        "champion": case.champion.version if case.champion else None,
        "metrics": {"challenger": mine.get("metrics"), "champion": theirs.get("metrics")},
        "metric_intervals": {"challenger": mine.get("intervals"), "champion": theirs.get("intervals")},
        "baseline": m.get("baseline"), "baseline_error": m.get("baseline_error") or "",
        "intervals": difference.get("intervals") or {}, "distribution": difference.get("distribution"),
        "bootstrap": {k: difference.get(k) for k in ("method", "units", "unit", "resamples", "level", "seed", "without")},
        "direction": {k: DIRECTION.get(k) for k in (mine.get("metrics") or {})}, "primary": case.primary,
        "evidence_from": test.get("env"), "data": {"gold_test": test or None, "challenger": _data(case.challenger),
            "champion": _data(case.champion) if case.champion else None},
        "trained_on": m.get("trained_on") or {}, "expectations": expectations, "rnd": rnd,
        "cost_1000_rows": cost_1000_rows(mine, price), "price_hour": price,
        "seconds": round(seconds, 3), "case": case.document(), "facts": case.facts,
    }  # fmt: skip


def _data(side: Any) -> dict[str, Any]:
    return {"env": side.trained_in, **{d["table"]: d["version"] for d in side.data}}
