"""A table that something else damaged is named, without a trace of the library that met it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from esml_engine.errors import FailedError
from esml_engine.estate import Estate, open_estate

REF = "p1/m1"


@pytest.fixture
def refined(empty: Estate, numbers: Callable[[str, int, int], Path]) -> Estate:
    empty.model(REF).ingest("d1", [numbers("a.csv", 0, 30)], "2026-01-01")
    empty.model(REF).refine()
    return open_estate(empty.site.root)


def test_its_log(refined: Estate, numbers: Callable[[str, int, int], Path]) -> None:
    (log,) = refined.site.root.glob("lake/dev/**/gold/_delta_log/00000000000000000000.json")
    log.write_text("x\n")
    model = refined.model(REF)
    model.ingest("d1", [numbers("b.csv", 30, 40)], "2026-01-02")
    with pytest.raises(FailedError, match=r"Delta can't work on .*/gold: ") as e:
        model.refine()
    assert "\n" not in e.value.message and "backup" in e.value.hint


def test_its_files(refined: Estate) -> None:
    for file in refined.site.root.glob("lake/dev/**/gold/*.parquet"):
        file.unlink()
    with pytest.raises(FailedError, match="a file can't be read: ") as e:
        refined.model(REF).table("gold").read()
    assert "backup" in e.value.hint and e.value.code == "failed"
