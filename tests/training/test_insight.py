"""Importance, leakage and the optional FLAML search."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from esml_engine.errors import NotYetError, UsageError
from esml_engine.training.facts import Profile
from esml_engine.training.measuring import importance
from esml_engine.training.measuring.baselines import baseline_metrics
from esml_engine.training.measuring.importance import permutation_importance
from esml_engine.training.search.flaml_search import search_flaml
from esml_engine.training.search.leakage import leaks
from esml_engine.training.search.portfolio import search

RNG = np.random.default_rng(0)


def test_importance_finds_what_the_label_was_made_of() -> None:
    x = RNG.normal(size=(3_000, 3))
    table = pa.table({"strong": x[:, 0], "weak": x[:, 1], "noise": x[:, 2], "y": 5 * x[:, 0] + x[:, 1]})
    profile = Profile(seconds=30, trials=1, folds=2, estimators=("linear",))
    model = search(table, None, label="y", profile=profile).model()
    y = table.column("y").to_numpy()
    found, sampled = permutation_importance(model, table, y, metric="rmse", seed=1)
    assert sampled == 2_000
    assert [i.column for i in found] == ["strong", "weak", "noise"]
    assert found[0].importance > 4 and abs(found[2].importance) < 0.01 and found[0].std >= 0
    again, _ = permutation_importance(model, table, y, metric="rmse", seed=1)
    assert again == found


def test_importance_is_left_out_where_the_columns_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide table must not take a training's time after its search, nor lose the model with it."""
    names = [f"c{n}" for n in range(60)]
    table = pa.table({n: RNG.normal(size=300) for n in (*names, "y")})
    profile = Profile(seconds=30, trials=1, folds=2, estimators=("linear",))
    model, y = search(table, None, label="y", profile=profile).model(), table.column("y").to_numpy()
    monkeypatch.setattr(importance, "_MOST_CELLS", 300 * 60 * 2)  # two columns a call
    assert len(permutation_importance(model, table, y, metric="rmse", seed=1)[0]) == 60
    monkeypatch.setattr(importance, "_PATIENCE", 0.0)
    assert permutation_importance(model, table, y, metric="rmse", seed=1, seconds=0.0) == ([], 0)


def test_leaks_are_named() -> None:
    n = 200
    y = RNG.normal(size=n)
    level = RNG.integers(0, 5, n)
    table = pa.table(
        {
            "same": y,
            "scaled": -3 * y + 1,
            "curved": np.exp(y),
            "noisy": y + 0.3 * RNG.normal(size=n),
            "id": np.arange(n),
            "name": [f"n{i}" for i in range(n)],
            "level": [f"l{v}" for v in level],
            "gone": pa.nulls(n),
            "flat": np.ones(n),
        }
    )
    assert [(leak.column, leak.kind) for leak in leaks(table, y)] == [
        ("same", "equal"),
        ("scaled", "scaled"),
        ("curved", "determines"),
    ]
    assert [leak.column for leak in leaks(table, level.astype(float), leave_out=["same"])] == ["level"]
    assert leaks(table, np.ones(n)) == [] and leaks(table.slice(0, 5), y[:5]) == []


def test_diabetes_does_not_leak(diabetes: dict[str, pa.Table]) -> None:
    table = diabetes["gold_train"]
    assert leaks(table, table.column("target").to_numpy(), leave_out=["target"]) == []


def test_the_baseline_is_the_training_mean() -> None:
    got = baseline_metrics("regression", np.array([1.0, 3.0]), np.array([2.0, 4.0]))
    assert got["mae"] == 1.0 and got["spearman"] is None
    with pytest.raises(NotYetError):
        baseline_metrics("forecasting", np.ones(1), np.ones(1))


def test_flaml_is_named_with_its_install_command_when_missing(
    diabetes: dict[str, pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def no_flaml(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "flaml":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_flaml)
    with pytest.raises(UsageError) as e:
        search_flaml(diabetes["gold_train"], diabetes["gold_validate"], label="target", profile=Profile())
    assert 'pip install "esml-cockpit[flaml]"' in e.value.hint


def test_flaml_searches_and_bare_estimators_are_kept(diabetes: dict[str, pa.Table], tmp_path: Any) -> None:
    pytest.importorskip("flaml")
    from esml_engine.training import storage

    profile = Profile(seconds=3, trials=9, estimators=("lightgbm", "xgboost", "extra_trees"), search="flaml")
    found = search_flaml(
        diabetes["gold_train"],
        diabetes["gold_validate"],
        label="target",
        leave_out=["patient_id"],
        profile=profile,
    )
    assert found.trials and sum(m.weight for m in found.members) == 1
    sha256 = storage.save(found.model(), tmp_path / "m")
    loaded = storage.load(tmp_path / "m", sha256)
    test = diabetes["gold_test"]
    np.testing.assert_allclose(loaded.predict(test), found.model().predict(test), rtol=1e-9)
    single = loaded.predict_columns({k: [v] for k, v in loaded.example.items()})
    assert single[0] == pytest.approx(loaded.predict(diabetes["gold_train"].slice(0, 1))[0], rel=1e-9)
    with pytest.raises(UsageError, match="FLAML has none"):
        search_flaml(
            diabetes["gold_train"],
            diabetes["gold_validate"],
            label="target",
            profile=Profile(estimators=("perpetual",)),
        )


def test_a_booster_is_not_copied_while_another_thread_sets_it() -> None:
    """Its settings are set anew at each question, which leaves it half configured for a moment: both take one lock."""
    import xgboost as xgb

    from esml_engine.training.models.forest import XgboostForest
    from esml_engine.training.models.learners import XGBOOST

    x = np.random.default_rng(1).normal(size=(40, 5))
    booster = xgb.train({"max_depth": 2}, xgb.DMatrix(x, x[:, 0]), 3)
    held = []

    class Watched:
        def save_raw(self, form: str) -> bytearray:
            held.append(XGBOOST.locked())
            return booster.save_raw(form)

    XgboostForest([Watched()])
    assert held == [True]
