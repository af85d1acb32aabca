"""What a check found once and must not come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.errors import UsageError
from esml_engine.estate import Estate, open_estate
from tests.conftest import MODEL, cli


def test_a_timestamp_column_may_come_later(empty: Estate, csv_file) -> None:
    model = empty.model("p1/m1")
    model.ingest("d1", [csv_file("a.csv", "id,x,y", ["1,2,3", "2,3,4"])], "2026-01-01")
    model.refine()
    model.ingest("d1", [csv_file("b.csv", "id,x,y,at", ["3,4,5,2026-01-01 10:00:00"])], "2026-01-02")
    model.refine()
    assert [r["at"] for r in model.gold.show()["rows"]].count(None) == 2
    assert empty.catalogue_rebuild()["versions"] == 6


def test_a_date_stays_a_date_through_a_step_over_several_tables(empty: Estate, csv_file) -> None:
    folder = empty.site.root / "projects/p1/m1/steps"
    (folder / "gold.py").write_text('def step(tables, ctx):\n    return tables["d1"].copy()\n')
    model = open_estate(empty.site.root).model("p1/m1")
    model.ingest("d1", [csv_file("a.csv", "id,day,y", ["1,2026-01-01,3", "2,2026-01-02,4"])], "2026-01-01")
    model.refine()
    assert {c["name"]: c["type"] for c in model.gold.show()["columns"]}["day"] == "date32[day]"


def test_set_from_the_command_line(empty: Estate) -> None:
    root = empty.site.root
    assert cli(root, "set", "p1/m1", "train.dev.seconds", "9", "--dry-run")["plan"]["act"] == "set"
    assert cli(root, "set", "p1/m1", "train.dev.seconds", "9")["origin"] == "override"
    row = next(r for r in cli(root, "settings", "p1/m1") if r["key"] == "train.dev.seconds")
    assert row["value"] == 9 and row["by"]


def test_wrong_split_arguments_start_nothing(demo: Path) -> None:
    model = open_estate(demo).model(MODEL)
    before = len(model.estate.runs())
    for wrong in ({"train": 0.9, "validate": 0.9}, {"group": "nope"}, {"by": "group"}):
        with pytest.raises(UsageError):
            model.split(**wrong)
    assert len(model.estate.runs()) == before


def test_scored_columns_are_the_tables_whatever_the_filter(demo: Path, tmp_path: Path) -> None:
    assert cli(demo, "scored", MODEL, "--since", "2031-01-01", "--where", "patient_id = 1424")["total"] == 0
    said = cli(demo, "scored", MODEL, "--out", str(tmp_path / "o.csv"))
    assert {"total", "calls", "columns", "rows", "by_day", "file"} <= set(said)
    assert len((tmp_path / "o.csv").read_text().splitlines()) == said["total"] + 1
    assert cli(demo, "scored", MODEL, "--out", "/nowhere/o.csv", check=2)["error"]["code"] == "usage"
    assert cli(demo, "audit", "--since", "yesterday", check=2)["error"]["code"] == "usage"


def test_a_catalogue_is_not_made_anew_of_a_lake_that_is_away(empty: Estate, numbers) -> None:
    """Its versions stay recorded until somebody says that they may be forgotten."""
    root = empty.site.root
    model = empty.model("p1/m1")
    model.ingest("d1", [numbers("a.csv", 0, 20)], "2026-01-01")
    model.refine()
    lake, away = Path(empty.site.platform("dev").lake_root()), root / "away"
    lake.rename(away)
    said = cli(root, "catalogue", "rebuild", check=1)["error"]
    assert "not in the lake of dev" in said["message"]
    assert "nothing was changed" in said["message"] and "--forget dev" in said["hint"]
    assert len(cli(root, "versions", "p1/m1", "--table", "gold")) == 1
    away.rename(lake)
    assert cli(root, "catalogue", "rebuild")["versions"] == 3
    lake.rename(away)
    assert cli(root, "catalogue", "rebuild", "--forget", "dev")["versions"] == 0
    model.ingest(
        "d1", [numbers("a.csv", 0, 20)], "2026-01-01"
    )  # the lake begins anew, for this model and others
    model.refine()
    open_estate(root).new_model("p1/m2", "regression", ["d1"], label="y", key="id")
    open_estate(root).model("p1/m2").ingest("d1", [numbers("a.csv", 0, 20)], "2026-01-01")
    numbered = [v["version"] for v in cli(root, "versions", "p1/m1", "--table", "gold")]
    assert numbered == [2], "no number is given twice"
    assert cli(root, "catalogue", "rebuild", "--forget", "nope", check=2)["error"]["code"] == "not_found"


def test_a_lake_that_is_away_is_not_said_to_work(empty: Estate, numbers) -> None:
    model = empty.model("p1/m1")
    model.ingest("d1", [numbers("a.csv", 0, 20)], "2026-01-01")
    model.refine()
    lake = Path(empty.site.platform("dev").lake_root())
    lake.rename(lake.parent / "away")
    rows = {r["part"]: r for r in empty.doctor("dev")}
    assert rows["dev lake"]["ok"] is False and "was recorded there" in rows["dev lake"]["message"]
    assert rows["dev catalogue"]["ok"] is False
