"""How often a forecast's intervals held the truth, beside what they aim at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def coverage_of(version: Mapping[str, Any] | None) -> str:
    """`coverage 78 % · 80 % aimed` of a registered version, measured on gold_test where it was trained; else empty.

    Only forecasts have intervals, and versions of before they were measured have no coverage.
    """
    test = ((version or {}).get("detail") or {}).get("backtest") or {}
    measured, aimed = test.get("coverage"), test.get("level")
    if measured is None or aimed is None:
        return ""
    return f"coverage {measured:.0%} · {aimed:.0%} aimed".replace("%", " %")


def by_version(versions: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], str]:
    """(environment, version) to its coverage in words, of those that have one."""
    found = {(str(v["env"]), int(v["version"])): coverage_of(v) for v in versions}
    return {k: said for k, said in found.items() if said}


def lines(versions: Sequence[Mapping[str, Any]]) -> list[str]:
    """`v2 in dev: coverage 78 % · 80 % aimed`, oldest first; nothing for other tasks."""
    said = by_version(versions)
    return [
        f"v{n} in {env}: {text}" for (env, n), text in sorted(said.items(), key=lambda x: (x[0][1], x[0][0]))
    ]
