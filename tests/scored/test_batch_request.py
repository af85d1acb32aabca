"""A batch's request id is answered once: again the same answer, for other rows a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.errors import ConflictError, FailedError
from esml_engine.estate import open_estate


def test_a_request_id_stands_for_one_batch(demo: Path, tmp_path: Path) -> None:
    estate = open_estate(demo)
    model = estate.model("project002/m11_diabetes")
    rows = model.to_score.read().drop(columns=["patient_id"])
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    rows.head(3).to_csv(one, index=False)
    rows.tail(4).to_csv(other, index=False)
    with estate.hand.holding(warm=True):
        first = model.score_batch(one, "files", "fb1")
        assert first["rows"] == 3
        again = model.score_batch(one, "files", "fb1")
        assert again["run"] is None and {k: again[k] for k in ("request_id", "rows", "model_version")} == {
            k: first[k] for k in ("request_id", "rows", "model_version")
        }
        with pytest.raises(ConflictError, match="answered for other rows"):
            model.score_batch(other, "files", "fb1")
        with pytest.raises(ConflictError, match="answered for other rows"):
            model.score_batch(one, "files", "demo-web")
        with pytest.raises(ConflictError, match="answered for a batch"):
            model.score(rows.head(2), "web", "fb1")

        broken = tmp_path / "broken.csv"
        rows.drop(columns=["s5"]).head(3).to_csv(broken, index=False)
        with pytest.raises(FailedError, match="s5"):
            model.score_batch(broken, "files", "fb2")
        failed = estate.runs(act="score_batch", state="failed")[0]["run"]
        rows.head(3).to_csv(broken, index=False)
        with pytest.raises(FailedError, match="not the file any more"):
            estate.retry(failed)
        assert model.score_batch(broken, "files", "fb2")["rows"] == 3, "asked for as it is now, it is scored"
    assert model.scored(where=["request_id = fb1"], count_only=True).document()["total"] == 3
