"""A forecast from gold to answers: monthly CO2 at Mauna Loa (statsmodels' own copy), and days with a known regressor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from esml_engine.errors import FailedError, NotYetError, UsageError
from esml_engine.lake import files
from esml_engine.runs.context import JobContext
from esml_engine.runs.facts import JobSpec, TableIn
from esml_engine.serving.openapi import with_score
from esml_engine.serving.scorer import Scorer
from esml_engine.training import storage
from esml_engine.training.asking import answers_of, metrics_of
from esml_engine.training.judging.beside import Ground
from esml_engine.training.series.model import SeriesModel
from esml_engine.training.steps import train

Tables = dict[str, pa.Table]
CO2 = {"time_column": "month", "horizon": 12}
SALES = {"time_column": "day", "horizon": 7, "frequency": "D", "known": ["promo", "rain"]}


def parts(table: pa.Table, train_rows: int, validate_rows: int) -> Tables:
    return {
        "gold_train": table.slice(0, train_rows),
        "gold_validate": table.slice(train_rows, validate_rows),
        "gold_test": table.slice(train_rows + validate_rows),
    }


@pytest.fixture(scope="session")
def co2() -> Tables:
    """Train to 1989, validate to 1998, test the last 36 months: three windows. Five months have no value."""
    from statsmodels.datasets import co2

    y = co2.load().data["co2"].resample("MS").mean()
    table = pa.table(
        {
            "month": pa.array(y.index.to_numpy().astype("datetime64[us]")),
            "co2": pa.array(y.to_numpy(), from_pandas=True),
        }
    )
    return parts(table, 380, len(y) - 380 - 36)


@pytest.fixture(scope="session")
def sales() -> Tables:
    """200 days with a weekly round and a promotion that lifts the day by 10; a reading that says nothing."""
    rng = np.random.default_rng(5)
    t = np.arange(200)
    promo = rng.integers(0, 2, 200)
    y = 50 + 6 * np.sin(2 * np.pi * t / 7) + 10 * promo + rng.normal(0, 0.5, 200)
    days = np.datetime64("2024-01-01") + t
    return parts(
        pa.table(
            {
                "day": pa.array(days),
                "promo": promo,
                "rain": rng.normal(0, 1, 200),
                "sold": y,
                "note": ["x"] * 200,
            }
        ),
        120,
        45,
    )


def job(
    tmp: Path, tables: Tables, label: str, forecast: dict[str, Any], run: str = "r1", **params: Any
) -> JobContext:
    inputs = {}
    for name, table in tables.items():
        folder = tmp / run / name
        files.write_arrow(table, str(folder), "part-0.parquet")
        inputs[name] = TableIn(
            name, str(folder), 1, ("part-0.parquet",), files.schema_text(table.schema), table.num_rows
        )
    work = tmp / f"work-{run}"
    work.mkdir()
    known = {
        "task": "forecasting", "label": label, "forecast": forecast, "profile": {"seconds": 300, "trials": 5, "metric": "mase"},
        "experiment": "p-m", "cache": str(tmp.parent / "tracking-cache"), **params,
    }  # fmt: skip
    return JobContext(
        JobSpec(
            run,
            "train",
            1,
            "training.train",
            "dev",
            "p",
            "m",
            known,
            str(work),
            inputs,
            tracking=f"sqlite:///{tmp}/mlflow.db",
        )
    )


Trained = tuple[dict[str, Any], SeriesModel]


def trained(job: JobContext) -> Trained:
    value, tables = train(job)
    assert tables == []
    model = storage.load(value["model_folder"], value["sha256"])
    assert isinstance(model, SeriesModel)
    return value, model


@pytest.fixture(scope="module")
def air(co2: Tables, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(job(tmp_path_factory.mktemp("air"), co2, "co2", CO2))


@pytest.fixture(scope="module")
def shop(sales: Tables, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    # without the regressor no member can know the promotion: the two that read it are enough
    profile = {"seconds": 300, "trials": 2, "metric": "mase", "estimators": ["linear", "lightgbm"]}
    return trained(job(tmp_path_factory.mktemp("shop"), sales, "sold", SALES, profile=profile))


def test_the_document_says_how_good_by_horizon_beside_the_baseline(air: Trained) -> None:
    value, model = air
    json.dumps(value, allow_nan=False)
    assert set(value["metrics"]) == set(value["baseline"]) == {"mae", "rmse", "mase", "smape"}
    assert value["metrics"]["mase"] < 0.5 < 1 < value["baseline"]["mase"]
    test = value["backtest"]
    assert (test["windows"], test["rows"], test["from"], test["until"]) == (3, 36, "1999-01-01", "2001-12-01")
    assert [r["step"] for r in test["by_horizon"]] == list(range(1, 13)) and all(
        r["rows"] == 3 for r in test["by_horizon"]
    )
    assert test["level"] == 0.8 and 0.6 <= test["coverage"] <= 1
    assert np.mean([r["mae"] for r in test["by_horizon"]]) == pytest.approx(value["metrics"]["mae"])
    assert {t["estimator"] for t in value["trials"]} == {f["estimator"] for f in value["families"]}
    assert {t["estimator"] for t in value["trials"]} == {"theta", "ets", "linear", "lightgbm", "mstl"}
    assert value["importance"] == [] and "no known regressors" in value["importance_reason"]
    assert value["forecast"]["frequency"] == "MS" and value["forecast"]["season"] == 12
    assert value["forecast"]["training_range"] == ["1958-03-01", "2001-12-01"]
    assert value["warnings"] and "5 rows have no label" in value["warnings"][0]
    assert model.example == {"month": "2002-01-01T00:00:00"}
    assert not [
        p for p in Path(value["model_folder"]).iterdir() if p.suffix not in (".json", ".txt", ".parquet")
    ]


def test_answers_are_those_of_the_document_and_the_baselines_scale(air: Trained, co2: Tables) -> None:
    value, model = air
    before = pa.concat_tables([co2["gold_train"], co2["gold_validate"]])
    said = answers_of(model, co2["gold_test"], before)
    assert metrics_of(said) == value["metrics"]
    assert said.rows == 36 and said.block is not None and list(np.unique(said.block)) == [0, 1, 2]
    shuffled = co2["gold_test"].take(pa.array(np.random.default_rng(1).permutation(36)))
    np.testing.assert_array_equal(answers_of(model, shuffled, before).prediction, said.prediction)
    with pytest.raises(UsageError):
        answers_of(model, co2["gold_test"])


def test_the_same_rows_and_seed_give_the_same_model(air: Trained, co2: Tables, tmp_path: Path) -> None:
    value, model = air
    again, other = trained(
        job(
            tmp_path,
            co2,
            "co2",
            CO2,
            champion={"folder": value["model_folder"], "sha256": value["sha256"], "version": 1},
        )
    )
    assert again["metrics"] == value["metrics"] and again["sha256"] == value["sha256"]
    assert again["champion_metrics"] == value["metrics"], "the champion walks the same windows"
    months = {"month": [f"2002-{k:02d}-01" for k in range(1, 13)]}
    np.testing.assert_array_equal(other.predict_columns(months), model.predict_columns(months))


def test_it_answers_in_the_order_asked_and_says_what_it_filled(air: Trained) -> None:
    _, model = air
    asked = ["2002-03-01", "2002-01-01", "2002-02-01", "2002-03-01"]
    said = model.predict_all(model.coerce({"month": asked}))
    assert "more" not in said and said["prediction"][0] == said["prediction"][3]
    straight = model.predict(pa.table({"month": pa.array(np.array(asked[:3], "datetime64[s]"))}))
    np.testing.assert_array_equal(straight, said["prediction"][:3])
    assert (said["low"] < said["prediction"]).all() and (said["prediction"] < said["high"]).all()
    late = model.predict_all(model.coerce({"month": ["2002-03-01"]}))
    assert late["more"] == {"stale": True, "filled_steps": 2, "history_until": "2001-12-01"}
    assert late["prediction"][0] == said["prediction"][0]
    far = model.predict_all(model.coerce({"month": ["2005-01-01", "2011-12-01"]}))
    assert far["high"][1] - far["low"][1] > far["high"][0] - far["low"][0] > said["high"][0] - said["low"][0]
    assert 350 < far["prediction"][0] < 400


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("1999-05-01", "1999-05-01 lies within the training range, 1958-03-01 to 2001-12-01 .row 1."),
        ("1950-01-01", "before the training range"),
        ("2012-01-01", "more than 120 steps after 2001-12-01"),
        ("2002-01-15", "no timestamp of the frequency MS"),
        (None, "no timestamp .row 1."),
        ("soon", "not a date or time"),
    ],
)
def test_wrong_timestamps_are_named(air: Trained, asked: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        air[1].predict_columns({"month": ["2002-01-01", asked]})


def test_a_known_regressor_is_used_and_its_importance_found(shop: Trained, sales: Tables) -> None:
    value, model = shop
    assert value["metrics"]["mase"] < 0.3 * value["baseline"]["mase"]
    assert [i["column"] for i in value["importance"]] == ["promo", "rain"]
    assert value["importance"][0]["importance"] > 10 * abs(value["importance"][1]["importance"])
    assert [c["name"] for c in model.signature] == ["day", "promo", "rain"]
    assert [c["type"] for c in model.signature] == ["date32[day]", "int64", "double"]
    days = [f"2024-07-{k:02d}" for k in range(19, 26)]
    on = model.predict_columns({"day": days, "promo": [1] * 7, "rain": [0.0] * 7})
    off = model.predict_columns({"day": days, "promo": [0] * 7, "rain": [None] * 7})
    assert np.abs(on - off - 10).max() < 3
    with pytest.raises(UsageError, match="other regressors"):
        model.predict_columns({"day": ["2024-07-19"] * 2, "promo": [0, 1], "rain": [0, 0]})
    with pytest.raises(UsageError, match="'promo' is missing"):
        model.predict_columns({"day": ["2024-07-19"]})


def test_the_scorer_gives_intervals_and_keeps_requests_apart(shop: Trained) -> None:
    scorer = Scorer(shop[1], 1)
    assert scorer.shape().interval and scorer.shape().features == {
        "day": "timestamp",
        "promo": "int64",
        "rain": "double",
    }
    assert not scorer.joins_requests
    assert "day: string" in json.dumps(with_score({"paths": {}}, scorer))
    said = scorer.predict(scorer.coerce({"day": ["2024-07-20"], "promo": [1], "rain": [0.5]}))
    document = said.document()
    assert document["stale"] is True and document["filled_steps"] == 1
    assert document["low"][0] < document["predictions"][0] < document["high"][0]
    assert said.part(0, 1) == said


def test_a_changed_model_is_not_loaded(shop: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    sha256 = storage.save(shop[1], folder)
    assert sha256 == shop[0]["sha256"]
    (folder / "history.parquet").write_bytes(b"x")
    with pytest.raises(storage.ChangedModelError):
        storage.load(folder, sha256)


def test_what_cannot_be_trained_is_said(co2: Tables, sales: Tables, tmp_path: Path) -> None:
    with pytest.raises(NotYetError, match="many series"):
        train(job(tmp_path, co2, "co2", {**CO2, "series": ["place"]}))
    with pytest.raises(NotYetError, match=r"train\.py"):
        train(job(tmp_path, co2, "co2", CO2, "r2", mode="custom"))
    with pytest.raises(UsageError, match="time column"):
        train(job(tmp_path, co2, "co2", {}, "r3"))
    with pytest.raises(UsageError, match="needs at least"):
        train(job(tmp_path, parts(co2["gold_train"].slice(0, 40), 14, 4), "co2", CO2, "r4"))
    mixed = {**co2, "gold_test": co2["gold_train"].slice(0, 30)}
    with pytest.raises(UsageError, match="not after the rows before it"):
        train(job(tmp_path, mixed, "co2", CO2, "r5"))
    copied = {n: t.append_column("copy", t.column("sold")) for n, t in sales.items()}
    with pytest.raises(FailedError, match="copy"):
        train(job(tmp_path, copied, "sold", {**SALES, "known": ["copy"]}, "r6", leakage="stop"))


def test_noise_leaves_the_naive_forecast(tmp_path: Path) -> None:
    y = np.where(np.arange(60) % 2, 1.0, 1.0)
    flat = pa.table({"day": pa.array(np.datetime64("2024-01-01") + np.arange(60)), "y": y})
    value, model = trained(job(tmp_path, parts(flat, 36, 12), "y", {"time_column": "day", "horizon": 3}))
    assert value["estimator"] == "seasonal_naive" and value["metrics"]["mase"] is None
    assert model.predict_columns({"day": ["2024-03-01"]}) == pytest.approx([1.0])


def moved(tables: Tables, train_rows: int, validate_rows: int) -> Tables:
    """The same series split otherwise."""
    names = ("gold_train", "gold_validate", "gold_test")
    return parts(pa.concat_tables([tables[n] for n in names]), train_rows, validate_rows)


def beside(tmp: Path, shop: Trained, sales: Tables, learned: int) -> dict[str, Any]:
    """A training on the sales, beside a champion that learned `learned` days of them (gold_test begins at day 140)."""
    both = moved(sales, 100, 40)
    known = moved(sales, learned - 10, 10)
    profile = {"seconds": 300, "trials": 1, "metric": "mase", "estimators": ["linear"]}
    champion = {"folder": shop[0]["model_folder"], "sha256": shop[0]["sha256"], "version": 1}
    ours = job(tmp, both, "sold", SALES, run=f"r{learned}", profile=profile, champion=champion)
    for name in ("gold_train", "gold_validate"):
        folder = tmp / f"champion-{learned}" / name
        files.write_arrow(known[name], str(folder), "part-0.parquet")
        schema = files.schema_text(known[name].schema)
        ours.spec.inputs[f"champion/{name}"] = TableIn(
            name, str(folder), 1, ("part-0.parquet",), schema, known[name].num_rows
        )
    return train(ours)[0]


def test_both_are_judged_from_origins_after_all_that_the_champion_learned(
    shop: Trained, sales: Tables, tmp_path: Path
) -> None:
    value = beside(tmp_path, shop, sales, 165)
    fair = value["fair"]
    assert value["champion_error"] == "" and value["overlap"] is None
    assert (fair["rows"], fair["left_out"], fair["windows"], fair["by"]) == (35, 25, 5, "key")
    again = moved(sales, 120, 45)
    before = pa.concat_tables([again["gold_train"], again["gold_validate"]])
    told = metrics_of(answers_of(shop[1], again["gold_test"], before, 7))
    assert value["champion_metrics"] == pytest.approx(told), "the champion's own fair back-test"
    mine = storage.load(value["model_folder"], value["sha256"])
    assert fair["metrics"] == pytest.approx(metrics_of(answers_of(mine, again["gold_test"], before, 7)))
    assert fair["metrics"] != value["metrics"], "the leaderboard shows all rows"
    assert fair["baseline"].keys() == value["baseline"].keys()


def test_a_window_before_rows_that_the_champion_learned_is_not_fair(sales: Tables) -> None:
    on = Ground(sales["gold_test"], sales["gold_train"], ("day",), 7, SALES)
    learned = np.zeros(35, dtype=bool)
    learned[[10, 13]] = True
    left = on.without(learned)
    assert (left.test.num_rows, left.before.num_rows) == (21, 120 + 14)
    assert left.test.column("day")[0].as_py() > on.test.column("day")[13].as_py()


def test_too_few_later_rows_are_refused_and_counted(shop: Trained, sales: Tables, tmp_path: Path) -> None:
    value = beside(tmp_path, shop, sales, 185)
    assert value["champion_metrics"] is None and value["fair"] is None
    assert value["overlap"] == {"learned": 45, "left": 15, "fewest": 20, "by": "key"}
    assert "was trained on 45 of the 60 rows of gold_test, 15 later ones are left" in value["champion_error"]


def test_as_long_as_the_champion_learned_none_all_rows_count(
    shop: Trained, sales: Tables, tmp_path: Path
) -> None:
    value = beside(tmp_path, shop, sales, 140)
    assert value["fair"] is None and value["champion_error"] == "" and value["champion_metrics"]
