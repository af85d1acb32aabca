"""The endpoint with a model that the engine itself stored, loaded by the default loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from esml_engine.serving.client import score
from esml_engine.serving.facts import LOADER, Slot
from tests.serving.conftest import KEY, Served, until

storage = pytest.importorskip("esml_engine.training.storage")


def stored(folder: Path) -> tuple[str, Any]:
    """A scikit-learn regression of two features, as the engine stores it: its hash and the estimator."""
    import pandas as pd
    from sklearn.linear_model import LinearRegression

    from esml_engine.training.models.custom_model import EstimatorModel

    frame = pd.DataFrame({"age": [20.0, 40.0, 60.0, 30.0], "bmi": [20.0, 30.0, 25.0, 22.0]})
    estimator = LinearRegression().fit(frame, [1.0, 2.0, 3.0, 1.4])
    signature = [{"name": "age", "type": "int64"}, {"name": "bmi", "type": "double"}]
    model = EstimatorModel(estimator, "sklearn", "LinearRegression", signature, "y", {"age": 20, "bmi": 20.0})
    return str(storage.save(model, folder)), estimator


def test_it_answers_as_the_estimator(tmp_path: Path) -> None:
    import pandas as pd

    sha256, estimator = stored(tmp_path / "model")
    endpoint = Served(tmp_path, loader=LOADER)
    endpoint.steer(slots={"blue": Slot(str(tmp_path / "model"), sha256, 7)})
    endpoint.start()
    try:
        rows = pd.DataFrame({"age": [33.0, 51.0], "bmi": [21.0, 28.5]})
        answer = score(f"{endpoint.url}/score", KEY, rows.to_dict("list"), "web", "r")
        assert answer.predictions == pytest.approx(estimator.predict(rows).tolist())
        assert answer.model_versions == (7,)
        body = {"input_data": {"columns": ["age", "bmi"], "data": [[1, 20.0], [2, "fat"]]}}
        said = endpoint.client.post("/score", json=body).json()["error"]["message"]
        assert "'bmi'" in said
        assert "row 1" in said
        endpoint.steer(slots={"blue": Slot(str(tmp_path / "model"), "0" * 64, 8)})
        until(
            lambda: endpoint.health()["slots"]["blue"]["state"] == "failed", "a changed model is not loaded"
        )
    finally:
        endpoint.client.close()
        endpoint.stop()
