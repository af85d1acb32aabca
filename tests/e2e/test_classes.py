"""Classification from IN to scored rows: training, registry, endpoint, ledger, batch, queries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from esml_engine.errors import SettingsError
from esml_engine.estate import init_estate, open_estate


def test_the_whole_way_for_three_classes(tmp_path: Path, csv_file: Callable[..., Path]) -> None:
    root = tmp_path / "e"
    init_estate(root, ["dev"])
    open_estate(root).new_project("p1", "team")
    open_estate(root).new_model("p1/m1", "classification", ["d1"], label="kind", key="id")
    settings = root / "projects/p1/m1/model.toml"
    text = settings.read_text(encoding="utf-8")
    assert 'metric = "auc"' in text and "e.g. { auc = 0.0 }" in text
    quick = 'estimators = ["linear", "lightgbm"]\nmetric = ""'
    text = text.replace("trials = 20\nfolds = 5", "trials = 2\nfolds = 2").replace('metric = "auc"', quick)
    settings.write_text(text.replace("seconds = 15", "seconds = 60"), encoding="utf-8")

    # kind follows x, but for some; two features, texts and gaps
    def rows(first: int, last: int, label: bool) -> list[str]:
        out = []
        for i in range(first, last):
            kind = ("low", "mid", "top")[i % 3] if i % 10 else "mid"
            out.append(f"{i},{i % 3 + (i % 7) / 7},{'ab'[i % 2]},{kind if label else ''}")
        return out

    model = open_estate(root).model("p1/m1")
    assert model.status()["environments"]["dev"]["metric"] == "auc"
    model.ingest("d1", [csv_file("a.csv", "id,x,group,kind", rows(0, 300, True))], "2026-01-01")
    model.refine()
    model.split()
    trained = model.train()
    assert trained["task"] == "classification"
    assert set(trained["metrics"]) == {"auc", "accuracy", "precision", "recall", "f1", "log_loss", "mcc"}
    assert trained["metrics"]["auc"] > 0.85 > trained["baseline"]["auc"]
    first = model.leaderboard()[0]
    assert first["alias"] == "champion"
    assert first["ready"] is None and first["ready_reason"] == "dev is the last environment"
    from esml_engine.training import records

    detail = records.get_version(model.site.store, model.ref, "dev", 1)["detail"]
    assert detail["classes"] == ["low", "mid", "top"] == detail["confusion"]["classes"]
    assert sum(map(sum, detail["confusion"]["matrix"])) > 30
    assert model.status()["environments"]["dev"]["value"] == trained["metrics"]["auc"]

    model.deploy()
    asked = {"x": [0.1, 1.1, 2.9], "group": ["a", "b", None]}
    answer = model.score(asked, caller="web", request_id="r1")
    assert answer["predictions"] == ["low", "mid", "top"]
    again = model.score(asked, caller="web", request_id="r1")
    assert again["predictions"] == answer["predictions"]
    found = model.scored(caller="web").to_pandas()
    names = [f"probability_{c}" for c in ("low", "mid", "top")]
    assert list(found["prediction"].sort_values()) == ["low", "mid", "top"] and set(names) <= set(found)
    assert found[names].sum(axis=1).to_numpy() == pytest.approx([1, 1, 1])
    for _, row in found.iterrows():
        assert row[f"probability_{row['prediction']}"] == row[names].max()

    model.ingest("d1", [csv_file("b.csv", "id,x,group", [r.rsplit(",", 1)[0] for r in rows(300, 320, False)])], "2026-01-02",
        "inference")  # fmt: skip
    model.refine(purpose="inference")
    batch = model.score_batch()
    assert batch["rows"] == 20
    scored = model.scored(where=("probability_top > 0.5",)).to_pandas()
    assert len(scored) and set(scored["prediction"]) == {"top"}
    assert len(model.scored().to_pandas()) == 23

    # a second training meets a champion: both on the same rows
    model.train()
    board = [r for r in model.leaderboard() if r["model_version"]]
    assert {r["model_version"] for r in board} == {1, 2}
    newer = next(r for r in board if r["model_version"] == 2)
    gain = next(g for g in newer["gates"] if g["gate"] == "min_gain:auc")
    assert gain["champion"] == trained["metrics"]["auc"] == gain["challenger"]

    settings.write_text(settings.read_text().replace('metric = ""', 'metric = "rmse"'), encoding="utf-8")
    with pytest.raises(SettingsError, match="rmse") as e:
        open_estate(root).model("p1/m1").plan_train()
    assert "log_loss" in str(e.value)
