"""A batch's request id is answered once: again the same answer, for other rows a refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from esml_engine.errors import ConflictError, FailedError, UsageError
from esml_engine.estate import open_estate
from esml_engine.serving.reads import of_model


def test_a_request_id_stands_for_one_batch(demo: Path, tmp_path: Path) -> None:
    estate = open_estate(demo)
    model = estate.model("project002/m11_diabetes")
    rows = model.to_score.read().drop(columns=["patient_id"])
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    rows.head(3).to_csv(one, index=False)
    rows.tail(4).to_csv(other, index=False)
    told = lambda: [(s.last_call, s.calls_7_days) for s in of_model(model.site, model.ref)]  # noqa: E731
    calls = told()
    with estate.hand.holding(warm=True):
        first = model.score_batch(one, "files", "fb1")
        assert first["rows"] == 3 and told() == calls, "a batch is no call of an endpoint"
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

        lacking = tmp_path / "lacking.csv"
        rows.drop(columns=["s5"]).head(3).to_csv(lacking, index=False)
        with pytest.raises(UsageError, match=r"lacking\.csv: column 's5' is missing"):
            model.score_batch(lacking, "files", "fb2")
        assert not estate.runs(act="score_batch", state="failed"), "no run was started for it"
        broken = tmp_path / "broken.parquet"  # its types are looked at by the job
        rows.head(3).assign(s5="much").to_parquet(broken, index=False)
        with pytest.raises(FailedError, match=r"broken\.parquet: .*s5"):
            model.score_batch(broken, "files", "fb2")
        failed = estate.runs(act="score_batch", state="failed")[0]["run"]
        rows.head(3).to_parquet(broken, index=False)
        with pytest.raises(FailedError, match="not the file any more"):
            estate.retry(failed)
        assert model.score_batch(broken, "files", "fb2")["rows"] == 3, "asked for as it is now, it is scored"
    assert model.scored(where=["request_id = fb1"], count_only=True).document()["total"] == 3


@pytest.mark.parametrize("shape", ["rows", "columns", "body"])
def test_a_json_file_is_scored_as_its_rows_are_in_other_files(demo: Path, tmp_path: Path, shape: str) -> None:
    model = open_estate(demo).model("project002/m11_diabetes")
    table = model.to_score.read().head(3)
    csv, path = tmp_path / "rows.csv", tmp_path / "rows.json"
    table.to_csv(csv, index=False)
    columns = {name: values.tolist() for name, values in table.items()}
    data = [list(row) for row in zip(*columns.values(), strict=True)]
    wanted = {
        "rows": [dict(zip(columns, row, strict=True)) for row in data],
        "columns": columns,
        "body": {"input_data": {"columns": list(columns), "data": data}},
    }[shape]
    path.write_text("\ufeff" + json.dumps(wanted), encoding="utf-8")
    with model.estate.hand.holding(warm=True):
        model.score_batch(csv, "files", "as-csv")
        assert model.score_batch(path, "files", "as-json")["rows"] == 3
        one, other = (
            model.scored(where=[f"request_id = {r}"]).to_pandas().sort_values("row", ignore_index=True)
            for r in ("as-csv", "as-json")
        )
        told = ["request_id", "scored_at"]
        assert one.drop(columns=told).equals(other.drop(columns=told)) and "patient_id" in one
        assert model.lineage(request_id="as-json", row=2)["input"]["line"] == 3
        bad = tmp_path / "bad.json"
        runs = len(model.estate.runs())
        for text, said in (
            ("[1]", r"bad\.json holds \[1\]"),
            ('[{"bmi": 1}]', r"bad\.json: column '\w+' is missing"),
            (
                json.dumps([{**{k: v[0] for k, v in columns.items()}, "bmi": "much"}]),
                r"bad\.json: .*bmi.*is not a number",
            ),
        ):
            bad.write_text(text)
            with pytest.raises(UsageError, match=said):
                model.score_batch(bad, "files")
        assert len(model.estate.runs()) == runs, "none was started for it"
