"""One way from IN to scored rows through the command line, and every answer held against the contract's table."""

from __future__ import annotations

from pathlib import Path

from deltalake import DeltaTable

from esml_engine.demo.setting_up import CANCER, CO2, MEMBERS, MODELS, REPORT
from esml_engine.estate import open_estate
from tests.conftest import MODEL, cli, esml

STAGES = ("new", "in", "bronze", "silver", "gold", "trained", "test", "prod")


def keys(row: dict, *names: str) -> None:
    assert set(names) <= set(row), (set(names) - set(row), row)


def test_the_whole_way_through_the_command_line(tmp_path: Path, numbers) -> None:
    root = tmp_path / "e"
    keys(esml(root, "init", str(root), "--environments", "dev"), "estate", "environments")
    keys(esml(root, "new", "project", "p1", "--team", "t"), "project", "files")
    keys(
        esml(
            root,
            "new",
            "model",
            "p1/m1",
            "--task",
            "regression",
            "--datasets",
            "d1",
            "--label",
            "y",
            "--key",
            "id",
        ),
        "model",
        "files",
    )
    model = root / "projects/p1/m1/model.toml"
    text = (
        model.read_text()
        .replace("seconds = 15\ntrials = 20\nfolds = 5", "seconds = 60\ntrials = 2\nfolds = 2")
        .replace(
            '# estimators = ["lightgbm", "xgboost", "extra_trees", "linear", "perpetual"]',
            'estimators = ["linear", "lightgbm"]',
        )
    )
    model.write_text(text)
    said = esml(root, "ingest", "p1/m1", "d1", str(numbers("a.csv", 0, 200)), "--date", "2026-01-31")
    keys(said["files"][0], "path", "sha256", "status", "reason")
    assert said["files"][0]["status"] == "added"
    plan = esml(root, "refine", "p1/m1", "--dry-run")["plan"]
    keys(
        plan,
        "act",
        "object",
        "env",
        "nothing_to_do",
        "will",
        "inputs",
        "makes",
        "predicted",
        "budget_left",
        "policy",
        "allowed",
        "reason",
        "irreversible",
        "hash",
    )
    keys(plan["predicted"]["cost"], "p50", "p90", "currency", "basis")
    assert "upper bound" in plan["predicted"]["cost"]["basis"]
    assert not esml(root, "versions", "p1/m1", "--table", "gold")
    done = esml(root, "refine", "p1/m1", "--plan", plan["hash"])
    keys(done, "run", "layers", "refused")
    keys(done["layers"][0], "dataset", "layer", "version", "rows", "quarantined", "changed")
    assert {(x["layer"], x["rows"]) for x in done["layers"]} == {
        ("bronze", 200),
        ("silver", 200),
        ("gold", 200),
    }
    again = esml(root, "refine", "p1/m1")
    assert again["run"] is None and not any(x["changed"] for x in again["layers"])
    assert esml(root, "refine", "p1/m1", "--plan", plan["hash"], check=3)["error"]["code"] == "stale_plan"
    parts = esml(root, "split", "p1/m1")
    keys(parts["tables"]["gold_train"], "version", "rows")
    assert sum(t["rows"] for t in parts["tables"].values()) == 200
    trained = esml(root, "train", "p1/m1")
    keys(trained, "run", "model_version", "task", "estimator", "metrics", "baseline", "data_version")
    assert set(trained["metrics"]) == {"rmse", "nrmse", "mae", "mape", "r2", "spearman"}
    assert trained["metrics"]["rmse"] < trained["baseline"]["rmse"]
    assert esml(root, "register", "p1/m1", trained["run"])["model_version"] == 1
    first = esml(root, "leaderboard", "p1/m1")[0]
    keys(first, "env", "run", "model_version", "estimator", "metrics", "baseline", "alias", "ready", "cost")
    assert first["alias"] == "champion"
    second = esml(root, "train", "p1/m1", "--dry-run")["plan"]
    assert trained["run"] in second["predicted"]["cost"]["runs"]
    deployed = esml(root, "deploy", "p1/m1")
    keys(deployed, "endpoint", "url", "deployment", "model_version", "traffic")
    assert deployed["url"].endswith("/score")
    keys(esml(root, "keys", "p1/m1"), "url", "key")
    (tmp_path / "rows.csv").write_text("x\n3\n4\n5\n")
    online = esml(
        root,
        "score",
        "p1/m1",
        str(tmp_path / "rows.csv"),
        "--caller",
        "web",
        "--request-id",
        "r1",
        "--parallel",
        "2",
    )
    keys(online, "request_id", "rows", "model_version", "predictions")
    assert len(online["predictions"]) == 3
    same = esml(
        root,
        "score",
        "p1/m1",
        str(tmp_path / "rows.csv"),
        "--caller",
        "web",
        "--request-id",
        "r1",
        "--parallel",
        "3",
    )
    assert same["predictions"] == online["predictions"]
    found = esml(root, "scored", "p1/m1", "--caller", "web")
    keys(found, "total", "calls", "columns", "rows", "by_day")
    assert found["total"] == 3
    assert esml(root, "scored", "p1/m1", "--caller", "nobody")["rows"] == []
    esml(
        root,
        "ingest",
        "p1/m1",
        "d1",
        str(numbers("new.csv", 300, 310)),
        "--date",
        "2026-02-01",
        "--purpose",
        "inference",
    )
    esml(root, "refine", "p1/m1", "--purpose", "inference")
    batch = esml(root, "score", "p1/m1", "--batch")
    assert batch["rows"] == 10
    assert esml(root, "score", "p1/m1", "--batch")["rows"] == 0
    back = esml(root, "lineage", "p1/m1", "--request-id", batch["request_id"], "--row", "4")
    assert back["input"]["line"] == 6 and "new" in back["input"]["file"]
    assert any(n["kind"] == "file" and "/train/" in n["name"] for n in back["nodes"])
    assert back["input"]["key"]
    cli(root, "member", "add", "p1", "reader@x", "--role", "reader")
    hidden = cli(
        root, "--as", "reader@x", "lineage", "p1/m1", "--request-id", batch["request_id"], "--row", "4"
    )
    assert hidden["input"] == {**back["input"], "key": None}, "a reader sees where, not what"
    asked = cli(root, "lineage", "p1/m1", "--request-id", "r1", "--row", "0")
    assert asked["input"]["request"]["x"] == 3
    keys(
        cli(root, "status")[0],
        "model",
        "task",
        "stage",
        "since",
        "fresh",
        "next",
        "blocked_by",
        "turn",
        "environments",
    )
    assert cli(root, "status", "p1/m1")[0]["stage"] == "trained"
    keys(
        cli(root, "runs")[0],
        "run",
        "act",
        "object",
        "env",
        "state",
        "steps",
        "progress",
        "predicted",
        "seconds",
        "cost",
        "error",
    )
    keys(cli(root, "cost", "p1/m1"), "predicted", "spent", "budget", "month_end", "policy")
    assert set(cli(root, "cost", "p1/m1")["predicted"]) == {
        "refine",
        "train",
        "score_1000_rows",
        "endpoint_month",
    }
    keys(cli(root, "audit")[0], "n", "at", "actor", "as", "act", "object", "env", "result", "run")
    chain = cli(root, "audit", "--verify")
    assert chain["ok"] and chain["first_bad"] is None
    keys(cli(root, "doctor")[0], "part", "ok", "message", "hint")
    before = cli(root, "versions", "p1/m1", "--table", "gold")
    cli(root, "catalogue", "rebuild")
    assert cli(root, "versions", "p1/m1", "--table", "gold") == before
    keys(before[0], "version", "delta_version", "rows", "at", "run", "inputs", "note", "origin")
    assert DeltaTable(str(root / "lake/dev/projects/p1/m1/train/gold")).to_pyarrow_table().num_rows == 200


def test_the_demo_leaves_something_to_look_at(demo: Path) -> None:
    status = {s["model"]: s for s in cli(demo, "status")}
    assert [status[m]["stage"] for m in MODELS] == ["prod", "prod", "gold", "prod"]
    assert status[MODEL]["environments"]["prod"]["champion"] == 2
    line = open_estate(demo).model(MODEL, "prod").timeline()
    assert [x["version"] for x in line] == [2, 1], "two champions after each other in one prod"
    states = {(r["object"], r["env"]): r["state"] for r in reversed(cli(demo, "requests", "--state", ""))}
    assert states == {(MODEL, "prod"): "approved", (CANCER, "prod"): "waiting", (CO2, "prod"): "refused"}
    assert [r["object"] for r in cli(demo, "runs", "--state", "failed")] == [REPORT]
    assert {m["role"] for m in cli(demo, "member", "list", "project002")} == {r for _, r in MEMBERS}
    assert len(cli(demo, "quarantine", MODEL, "ds01_diabetes")) == 3
    for env in ("dev", "prod"):
        by = cli(demo, "scored", MODEL, "--env", env, "--by", "caller")["by_caller"]
        assert {r["caller_id"]: r["rows"] for r in by} == {"nightly": 22, "web": 6, "ward-3": 3}
    assert not cli(demo, "refine", MODEL, "--dry-run")["plan"]["nothing_to_do"]
    assert cli(demo, "show", MODEL, "--table", "gold", "--limit", "2")["version"] == 2
    assert cli(demo, "diff", MODEL, "1", "2", "--table", "gold")["rows"] == {
        "added": 60,
        "removed": 0,
        "changed": 0,
    }


def test_other_clients_read_the_registry(demo_source: Path) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{demo_source}/tracking/dev/mlflow.db")
    name = MODEL.replace("/", "-")
    champion = client.get_model_version_by_alias(name, "champion")
    standing = open_estate(demo_source).model(MODEL).status()["environments"]["dev"]["champion"]
    assert champion.tags["esml.version"] == str(standing)
    assert client.get_run(champion.run_id).data.metrics["rmse"] > 0


def test_errors_say_what_to_do(demo: Path) -> None:
    assert cli(demo, "train", "nope", check=2)["error"]["hint"] == "write it as project/model"
    assert cli(demo, "train", "project002/none", check=2)["error"]["code"] == "not_found"
    assert cli(demo, "refine", MODEL, "--env", "moon", check=2)["error"]["hint"] == "it has dev, test, prod"
    assert cli(demo, "frobnicate", check=2)["error"]["code"] == "usage"
    assert cli(demo, "refine", MODEL, "--detach", check=1)["error"]["hint"].startswith("start one: esml up")
