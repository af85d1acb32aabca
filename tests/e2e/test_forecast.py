"""A forecast's whole way: monthly CO2 as files, to scored rows with intervals, by command and SDK."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.errors import EsmlError, SettingsError
from esml_engine.estate import init_estate, open_estate
from tests.conftest import cli

REF = "p1/m1"


def months(path: Path, dates: list[str]) -> str:
    path.write_text("month\n" + "\n".join(dates) + "\n", encoding="utf-8")
    return str(path)


def test_from_files_to_scored_rows_with_intervals(tmp_path: Path) -> None:
    from statsmodels.datasets import co2

    y = co2.load().data["co2"].resample("MS").mean().dropna().loc["1970":]
    root = tmp_path / "estate"
    init_estate(root, ["dev"])
    open_estate(root).new_project("p1", "team")
    cli(
        root,
        "new",
        "model",
        REF,
        "--task",
        "forecasting",
        "--datasets",
        "d1",
        "--label",
        "co2",
        "--time-column",
        "month",
        "--horizon",
        "12",
    )
    toml = root / "projects/p1/m1/model.toml"
    text = toml.read_text(encoding="utf-8")
    assert 'by = "time"' in text and 'metric = "mase"' in text and 'time_column = "month"' in text
    toml.write_text(text.replace('by = "time"', 'by = "key"'), encoding="utf-8")
    with pytest.raises(SettingsError, match="time"):
        open_estate(root)
    toml.write_text(
        text.replace('by = "time" ', "# ")
        .replace("trials = 20", "trials = 3")
        .replace("seconds = 15", "seconds = 120"),
        encoding="utf-8",
    )

    csv = tmp_path / "co2.csv"
    csv.write_text(
        "month,co2\n" + "\n".join(f"{t:%Y-%m-%d},{v:.3f}" for t, v in y.items()) + "\n", encoding="utf-8"
    )
    model = open_estate(root).model(REF)
    model.ingest("d1", [csv], "2026-01-01")
    model.refine()
    model.split()
    assert model.gold_test.read()["month"].min() > model.gold_validate.read()["month"].max(), (
        "by time without saying so"
    )
    assert "theta, ets, linear" in model.plan_train().document()["will"][0]
    trained = model.train()
    assert trained["task"] == "forecasting" and trained["alias"] == "champion"
    assert trained["metrics"]["mase"] < trained["baseline"]["mase"]
    board = {c["model_version"]: c for c in open_estate(root).model(REF).leaderboard()}
    assert board[1]["metrics"] == trained["metrics"]

    # batch: inference files have no label, rows may come in any order
    asked = ["2002-03-01", "2002-01-01", "2002-02-01"]
    cli(
        root,
        "ingest",
        REF,
        "d1",
        months(tmp_path / "next.csv", asked),
        "--date",
        "2026-01-02",
        "--purpose",
        "inference",
    )
    cli(root, "refine", REF, "--purpose", "inference")
    assert model.score_batch()["rows"] == 3
    rows = open_estate(root).model(REF).scored(caller="batch").to_pandas().sort_values("row")
    assert [str(m)[:10] for m in rows["month"]] == asked
    assert ((rows["low"] < rows["prediction"]) & (rows["prediction"] < rows["high"])).all()
    assert rows["prediction"].between(365, 380).all()
    with pytest.raises(
        EsmlError, match="1999-05-01 lies within the training range, 1970-01-01 to 2001-12-01"
    ):
        model.score_batch(months(tmp_path / "old.csv", ["1999-05-01"]))

    # online
    cli(root, "deploy", REF)
    online = cli(root, "score", REF, months(tmp_path / "web.csv", asked), "--caller", "web")
    assert online["predictions"] == pytest.approx(list(rows["prediction"]), rel=1e-9)
    assert online["low"] == pytest.approx(list(rows["low"])) and len(online["high"]) == 3
    stored = open_estate(root).model(REF).scored(caller="web").to_pandas().sort_values("row")
    assert list(stored["high"]) == pytest.approx(online["high"])
