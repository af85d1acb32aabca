"""The ledger forgets only what is in the table and older than the window."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.estate import open_estate
from esml_engine.refs import ModelRef
from esml_engine.scored import commits
from esml_engine.scored.ledger_reader import LedgerReader
from tests.conftest import MODEL


def test_only_drained_requests_beyond_the_window_go(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, ref = open_estate(demo).site, ModelRef.parse(MODEL)
    assert commits.purge_ledger(site, ref, "dev") == 0
    monkeypatch.setattr(commits, "PURGE_AFTER_DAYS", -1)
    assert commits.purge_ledger(site, ref, "dev") == 2
    with LedgerReader(commits.ledger_path(site, ref, "dev")) as reader:
        assert reader.rows_after(0).table.num_rows == 0 and reader.last_seq() == 2
    assert open_estate(demo).model(MODEL).scored(caller="web").document()["total"] == 6
    assert commits.purge_ledger(site, ref, "test") == 0
