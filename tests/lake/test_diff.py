"""What changed between two versions, counted by key; of keys that stand more than once too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from esml_engine.estate import Estate


def test_counts_by_key_add_up_whether_it_is_unique_or_not(
    empty: Estate, csv_file: Callable[..., Path]
) -> None:
    model = empty.model("p1/m1")

    def deliver(date: str, rows: list[str]) -> None:
        model.ingest("d1", [csv_file(f"{date}.csv", "id,x,y", rows)], date)
        model.refine()

    def counted(a: int, b: int, table: str = "d1/bronze") -> tuple[int, int, int]:
        said = model.table(table).diff(a, b)["rows"]
        return said["added"], said["removed"], said["changed"]

    deliver("2026-01-01", ["1,1,1", "2,2,2", "3,3,3"])
    deliver("2026-01-02", ["4,4,4"])
    deliver("2026-01-01", ["1,1,1", "2,9,2", "5,5,5"])
    assert counted(1, 2) == (1, 0, 0)
    assert counted(2, 3) == (1, 1, 1)
    deliver("2026-01-03", ["1,7,7", "1,8,8", "4,4,4"])
    assert counted(3, 4) == (3, 0, 0), "known keys, new rows: none is changed, since none is gone"
    assert counted(4, 3) == (0, 3, 0)
    assert counted(1, 4) == (5, 1, 1)
