"""The stand-in's tracking with MLflow's own client."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.azure.cloud.stand_in import Cloud


def test_tracking_is_a_real_server(azure: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    ws = azure.workspaces["dev"]
    monkeypatch.setenv(
        "MLFLOW_TRACKING_TOKEN",
        azure.credential("dev").get_token("https://management.azure.com/.default").token,
    )
    client = MlflowClient(f"{azure.url}/mlflow/v1.0{ws.id}")
    run = client.create_run(client.create_experiment(f"x-{uuid.uuid4().hex}"))
    client.log_metric(run.info.run_id, "rmse", 1.5)
    (tmp_path / "a.txt").write_text("kept")
    client.log_artifact(run.info.run_id, str(tmp_path / "a.txt"))
    assert client.get_run(run.info.run_id).data.metrics == {"rmse": 1.5}
    assert [f.path for f in client.list_artifacts(run.info.run_id)] == ["a.txt"]
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "nonsense")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MlflowException):
        client.get_run(run.info.run_id)
