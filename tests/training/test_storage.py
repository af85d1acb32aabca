"""A stored model answers as before, cannot be changed unnoticed, and holds no pickle."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import esml_engine.training
from esml_engine.errors import FailedError, UsageError
from esml_engine.training import storage
from esml_engine.training.models.custom_model import EstimatorModel
from esml_engine.training.models.model import EnsembleModel
from esml_engine.training.models.signature import example_of_columns
from esml_engine.training.search.portfolio import Search


@pytest.fixture(scope="module")
def everything(found: Search) -> EnsembleModel:
    """All members at once, so that every library is in it."""
    weight = 1 / len(found.members)
    members = [replace(m, weight=weight) for m in found.members]
    assert {m.kind for m in members} == {"lightgbm", "xgboost", "extra_trees", "linear", "perpetual"}
    return EnsembleModel(members, found.preparing, "target", found.example)


@pytest.fixture(scope="module")
def stored(everything: EnsembleModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("stored") / "model"
    return folder, storage.save(everything, folder)


def test_predictions_are_the_same_after_loading(
    everything: EnsembleModel, stored: tuple[Path, str], diabetes: dict[str, pa.Table]
) -> None:
    loaded = storage.load(*stored)
    test = diabetes["gold_test"]
    np.testing.assert_allclose(loaded.predict(test), everything.predict(test), rtol=1e-9, atol=0)
    assert loaded.signature == everything.signature and loaded.example == everything.example
    assert loaded.task == "regression" and loaded.label == "target"
    assert loaded.features == [c["name"] for c in loaded.signature]


def test_single_rows_are_predicted_as_in_a_table(
    stored: tuple[Path, str], diabetes: dict[str, pa.Table]
) -> None:
    loaded = storage.load(*stored)
    assert isinstance(loaded, EnsembleModel)
    test = diabetes["gold_test"]
    rows = test.select(loaded.features).to_pylist()
    for member in loaded.members:
        alone = EnsembleModel([replace(member, weight=1.0)], loaded.preparing, "target", loaded.example)
        singly = np.concatenate([alone.predict_columns({k: [v] for k, v in r.items()}) for r in rows])
        np.testing.assert_allclose(singly, alone.predict(test), rtol=1e-11, atol=0, err_msg=member.kind)
    columns = {n: test.column(n).to_pylist() for n in loaded.features}
    np.testing.assert_allclose(loaded.predict_columns(columns), loaded.predict(test), rtol=1e-9, atol=0)


def test_unseen_and_missing_values_are_predicted_alike_by_row_and_table(stored: tuple[Path, str]) -> None:
    loaded = storage.load(*stored)
    strange = {**loaded.example, "clinic": "nowhere", "bmi": None, "s1": None, "seen": None, "nothing": None}
    table = pa.table({k: pa.array([v]) for k, v in strange.items()})
    single = loaded.predict_columns({k: [v] for k, v in strange.items()})
    np.testing.assert_allclose(single, loaded.predict(table), rtol=1e-11)
    assert np.isfinite(single).all()


def test_no_rows(stored: tuple[Path, str], diabetes: dict[str, pa.Table]) -> None:
    loaded = storage.load(*stored)
    assert loaded.predict(diabetes["gold_test"].slice(0, 0)).shape == (0,)
    assert loaded.predict_columns({n: [] for n in loaded.features}).shape == (0,)


def test_a_changed_model_is_not_loaded(everything: EnsembleModel, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    sha256 = storage.save(everything, folder)
    assert storage.content_hash(folder) == sha256
    victim = folder / "member00_part00.txt"
    victim.write_text(victim.read_text().replace("0.", "1.", 1))
    with pytest.raises(storage.ChangedModelError, match="not loaded"):
        storage.load(folder, sha256)
    storage.save(everything, folder)
    (folder / "more.txt").write_text("")
    with pytest.raises(storage.ChangedModelError):
        storage.load(folder, sha256)


def test_names_and_bytes_both_count_in_the_hash(tmp_path: Path) -> None:
    hashes = set()
    for name, body in (("a", "bc"), ("ab", "c"), ("a", "cb")):
        folder = tmp_path / f"{len(hashes)}"
        folder.mkdir()
        (folder / name).write_text(body)
        hashes.add(storage.content_hash(folder))
    assert len(hashes) == 3


def test_a_folder_that_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"model\.json"):
        storage.load(tmp_path)
    (tmp_path / "model.json").write_text('{"format": 99}')
    with pytest.raises(FailedError, match="format"):
        storage.load(tmp_path)


def test_a_broken_or_outside_part_is_said(everything: EnsembleModel, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    storage.save(everything, folder)
    document = (folder / "model.json").read_text()
    (folder / "model.json").write_text(document.replace("member00_part00.txt", "../member00_part00.txt"))
    with pytest.raises(FailedError, match="outside"):
        storage.load(folder)
    (folder / "model.json").write_text(document)
    (folder / "member00_part00.txt").write_text("tree")
    with pytest.raises(FailedError, match="can't be read"):
        storage.load(folder)


def test_an_untrusted_type_is_neither_stored_nor_loaded(
    diabetes: dict[str, pa.Table], tmp_path: Path
) -> None:
    import skops.io as sio
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    signature = [{"name": "bmi", "type": "double"}]
    evil = make_pipeline(FunctionTransformer(print))
    with pytest.raises(UsageError, match="trusted"):
        storage.save(
            EstimatorModel(evil, "sklearn", "Pipeline", signature, "target", {"bmi": 0.0}), tmp_path / "m"
        )
    from sklearn.linear_model import Ridge

    frame = diabetes["gold_train"].select(["bmi", "target"]).to_pandas()
    good = EstimatorModel(
        Ridge().fit(frame[["bmi"]], frame["target"]), "sklearn", "Ridge", signature, "target", {"bmi": 0.0}
    )
    storage.save(good, tmp_path / "m")
    sio.dump(evil, tmp_path / "m" / "estimator.skops")
    with pytest.raises(FailedError, match="not trusted"):
        storage.load(tmp_path / "m")


@pytest.mark.parametrize("name", ["lgbm", "xgb", "hist", "pipeline"])
def test_estimators_of_users_are_the_same_after_loading(
    name: str, diabetes: dict[str, pa.Table], tmp_path: Path
) -> None:
    train, test = diabetes["gold_train"].to_pandas(), diabetes["gold_test"]
    features = ["bmi", "bp", "s5"]
    if name == "lgbm":
        from lightgbm import LGBMRegressor

        estimator, library = LGBMRegressor(n_estimators=20, verbose=-1, n_jobs=1), "lightgbm"
    elif name == "xgb":
        from xgboost import XGBRegressor

        estimator, library = XGBRegressor(n_estimators=20, n_jobs=1), "xgboost"
    elif name == "hist":
        from sklearn.ensemble import HistGradientBoostingRegressor

        estimator, library = HistGradientBoostingRegressor(max_iter=20), "sklearn"
    else:
        from sklearn.compose import make_column_transformer
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder

        features = [*features, "clinic"]
        hot = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), ["clinic"]), remainder="passthrough"
        )
        estimator, library = make_pipeline(hot, Ridge()), "sklearn"
    estimator.fit(train[features], train["target"])
    expected = np.asarray(estimator.predict(test.to_pandas()[features]), dtype=np.float64)
    signature = [{"name": f, "type": "string" if f == "clinic" else "double"} for f in features]
    example = example_of_columns(test, features)
    model = EstimatorModel(estimator, library, type(estimator).__name__, signature, "target", example)
    sha256 = storage.save(model, tmp_path / "m")
    loaded = storage.load(tmp_path / "m", sha256)
    np.testing.assert_allclose(loaded.predict(test), expected, rtol=1e-9)
    few = loaded.predict_columns({f: test.column(f).to_pylist()[:3] for f in features})
    np.testing.assert_allclose(few, expected[:3], rtol=1e-6)


def test_no_code_of_the_room_can_pickle() -> None:
    root = Path(esml_engine.training.__file__).parent
    for path in root.glob("*.py"):
        assert not re.search(r"^\s*(import|from) (pickle|joblib|cloudpickle|dill)", path.read_text(), re.M), (
            path.name
        )


@pytest.mark.parametrize("kind", ["ExtraTreesRegressor", "ExtraTreesClassifier"])
def test_a_forest_is_kept_as_its_trees_and_an_older_one_is_still_read(kind: str, tmp_path: Path) -> None:
    import sklearn.ensemble

    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 4))
    y = np.digitize(x[:, 0] + x[:, 1], [-0.5, 0.5]) if kind.endswith("Classifier") else x[:, 0] * x[:, 1]
    forest = getattr(sklearn.ensemble, kind)(20, random_state=0).fit(x, y)
    trees, older = tmp_path / "trees.skops", tmp_path / "older.skops"
    storage._WRITE_OURS["forest"](forest, trees)
    storage._WRITE_OURS["sklearn"](forest, older)
    assert trees.stat().st_size < older.stat().st_size
    for path in (trees, older):
        again = storage._READ["forest"](path)
        np.testing.assert_array_equal(again.predict(x), forest.predict(x))
        if kind.endswith("Classifier"):
            np.testing.assert_array_equal(again.predict_proba(x), forest.predict_proba(x))


def test_a_model_of_the_first_format_is_still_read(
    everything: EnsembleModel, diabetes: dict[str, pa.Table], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    storage.save(everything, folder)
    document = folder / "model.json"
    document.write_text(document.read_text().replace('"format": 2', '"format": 1'))
    test = diabetes["gold_test"]
    np.testing.assert_allclose(storage.load(folder).predict(test), everything.predict(test), rtol=1e-9)
