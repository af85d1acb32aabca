"""A dataset whose new files are all unreadable holds up only itself; nothing readable at all is a failure."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from esml_engine.errors import FailedError
from esml_engine.estate import Estate, init_estate, open_estate

MODEL = "p1/m1"


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    init_estate(tmp_path / "estate", ["dev"])
    out = open_estate(tmp_path / "estate")
    out.new_project("p1", "team")
    out.new_model(MODEL, "regression", ["da", "db"], label="y", key="id")
    return open_estate(tmp_path / "estate")


def _file(folder: Path, name: str, first: int, column: str) -> Path:
    path = folder / name
    path.write_text(f"id,{column}\n" + "".join(f"{n},{n % 7}\n" for n in range(first, first + 40)))
    return path


def _bad(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(b"id,\x00\x00y\n1,2\n" * 5)
    return path


def test_one_datasets_bad_file_does_not_hold_up_the_others(estate: Estate, tmp_path: Path) -> None:
    model = estate.model(MODEL)
    model.ingest("da", [_file(tmp_path, "a1.csv", 0, "x")], "2026-01-01")
    model.ingest("db", [_file(tmp_path, "b1.csv", 0, "y")], "2026-01-01")
    model.refine()
    model.ingest("da", [_file(tmp_path, "a2.csv", 40, "x")], "2026-01-02")
    model.ingest("db", [_bad(tmp_path, "b2.csv")], "2026-01-02")
    said = model.refine()
    assert [r["file"].rsplit("/", 1)[-1] for r in said["refused"]] == ["b2.csv"]
    made = {(x["dataset"], x["layer"]): x["version"] for x in said["layers"] if x["changed"]}
    assert made[("da", "bronze")] == 2 and made[("da", "silver")] == 2
    assert made[(None, "gold")] == 2 and ("db", "bronze") not in made


def test_nothing_readable_at_all_is_a_failure(estate: Estate, tmp_path: Path) -> None:
    model = estate.model(MODEL)
    for ds in ("da", "db"):
        model.ingest(ds, [_bad(tmp_path, f"{ds}.csv")], "2026-01-01")
    with pytest.raises(FailedError, match="no file could be read"):
        model.refine()


def test_a_first_bad_file_leaves_gold_for_later(estate: Estate, tmp_path: Path) -> None:
    model = estate.model(MODEL)
    model.ingest("da", [_file(tmp_path, "a1.csv", 0, "x")], "2026-01-01")
    model.ingest("db", [_bad(tmp_path, "b1.csv")], "2026-01-01")
    said = model.refine()
    assert said["refused"] and {x["layer"] for x in said["layers"] if x["changed"]} == {"bronze", "silver"}
    model.ingest("db", [_file(tmp_path, "b1.csv", 0, "y")], "2026-01-01")
    assert any(x["layer"] == "gold" for x in model.refine()["layers"])


def test_a_file_in_no_days_folder_is_left_out_and_said(
    empty: Estate, numbers: Callable[[str, int, int], Path]
) -> None:
    model = empty.model("p1/m1")
    model.ingest("d1", [numbers("a.csv", 0, 20)], "2026-01-01")
    folder = empty.site.root / "lake/dev/projects/p1/m1/train/d1/in"
    (folder / "2026/02/31").mkdir(parents=True)
    for place in ("loose.csv", "2026/02/31/b.csv"):
        shutil.copy(numbers("b.csv", 20, 30), folder / place)
    (will,) = [w for w in model.plan_refine().document()["will"] if "left out" in w or "leave out" in w]
    assert "d1/in/2026/02/31/b.csv, d1/in/loose.csv" in will and "in/yyyy/mm/dd" in will
    assert [t["rows"] for t in model.refine()["layers"] if t["layer"] == "bronze"] == [20]
    said = model.refine()
    assert "d1/in/2026/02/31/b.csv is left out" in said["nothing_to_do"] and len(said["refused"]) == 2
