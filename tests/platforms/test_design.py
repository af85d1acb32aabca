"""The mark of a lake's design: written with the skeleton, and a newer or broken one stops before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from esml_engine.errors import EsmlError, FailedError
from esml_engine.estate import Estate, open_estate
from esml_engine.platforms.design import DESIGN, NAME


def test_a_lake_says_its_design_and_a_newer_one_is_refused(empty: Estate, numbers) -> None:
    mark = Path(empty.site.platform("dev").lake_root()) / NAME
    assert json.loads(mark.read_text()) == {"design": DESIGN}
    model = empty.model("p1/m1")
    model.ingest("d1", [numbers("a.csv", 0, 20)], "2026-01-01")
    for text, said in (
        (json.dumps({"design": DESIGN + 1}), "this engine knows up to"),
        ("{", "is not to be read"),
    ):
        mark.write_text(text)
        with pytest.raises(EsmlError, match=said):
            open_estate(empty.site.root).model("p1/m1").refine()
        with pytest.raises(EsmlError, match=said):
            model.ingest("d1", [numbers("b.csv", 20, 30)], "2026-01-02")
        with pytest.raises(EsmlError, match=said):
            empty.new_model("p1/m2", "regression", ["d1"], label="y", key="id")
        assert not (empty.site.root / "projects/p1/m2").exists()
        assert any(not r["ok"] and said in r["message"] for r in empty.doctor())
        assert model.table("d1/bronze").versions() == []
    mark.unlink()  # a lake of the time before the mark
    assert open_estate(empty.site.root).model("p1/m1").refine()["layers"][0]["rows"] == 20


def test_a_delivery_of_nothing_is_not_done(empty: Estate, numbers, tmp_path: Path) -> None:
    other = tmp_path / "a.parquet"
    other.write_bytes(b"x")
    dataset = empty.model("p1/m1").dataset("d1")
    with pytest.raises(FailedError, match=r"nothing was delivered: .*a\.parquet.*no such file") as e:
        dataset.ingest(other, tmp_path / "none.csv", date="2026-01-01")
    assert [f["status"] for f in e.value.details["files"]] == ["refused", "refused"]
    assert [x["result"] for x in empty.audit(act="ingest")] == ["failed"]
    said = dataset.ingest(other, numbers("a.csv", 0, 5), date="2026-01-01")["files"]
    assert [f["status"] for f in said] == ["refused", "added"]
