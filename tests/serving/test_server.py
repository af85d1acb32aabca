"""The endpoint over HTTP: answers, refusals, blue and green."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from esml_engine.scored.ledger_reader import LedgerReader
from tests.serving.conftest import KEY, ROOT, Served, until


def rows_of(served: Served) -> list[dict]:
    with LedgerReader(served.config.ledger) as ledger:
        rows: list[dict] = ledger.rows_after(0).table.to_pylist()
    return rows


def test_answers_and_logs_each_row(served: Served) -> None:
    reply = served.score([[50, 20.5, "f"], [60, None, "m"]], "r-1", x_caller_id="web")
    assert reply.json() == {"predictions": [51, 61], "model_version": 1, "request_id": "r-1"}
    assert reply.headers["x-request-id"] == "r-1"
    rows = rows_of(served)
    assert [
        (r["request_id"], r["row"], r["caller_id"], r["prediction"], r["age"], r["bmi"]) for r in rows
    ] == [
        ("r-1", 0, "web", 51.0, 50, 20.5),
        ("r-1", 1, "web", 61.0, 60, None),
    ]


def test_makes_an_id_and_a_caller_when_none_is_given(served: Served) -> None:
    reply = served.score([[1, 20, "f"]])
    assert reply.headers["x-request-id"] == reply.json()["request_id"]
    assert rows_of(served)[0]["caller_id"] == "unknown"


def test_refusals_name_what_is_wrong(served: Served) -> None:
    assert served.client.post("/score", json={}, headers={"authorization": "Bearer no"}).status_code == 401
    wrong = served.score([[1, 20, "f"], [2, "fat", "f"]])
    assert wrong.status_code == 400
    assert "'bmi', row 1" in wrong.json()["error"]["message"]
    short = served.client.post("/score", json={"input_data": {"columns": ["age"], "data": [[1]]}})
    assert (short.status_code, short.json()["error"]["message"]) == (400, "column 'bmi' is missing")
    assert served.client.post("/score", content=b"{").status_code == 400
    for body in ({}, [], {"input_data": 1}, {"input_data": {"columns": ["a", "a"], "data": [[1, 2]]}}):
        assert served.client.post("/score", json=body).status_code == 400
    ragged = {"input_data": {"columns": ["age", "bmi", "sex"], "data": [[1, 2, "f"], [1]]}}
    assert served.client.post("/score", json=ragged).status_code == 400
    assert served.score([]).status_code == 400
    arrow = served.client.post(
        "/score", content=b"x", headers={"content-type": "application/vnd.apache.arrow.stream"}
    )
    assert (arrow.status_code, arrow.json()["error"]["code"]) == (415, "not_yet")
    assert rows_of(served) == []


def test_a_failing_model_is_500_and_its_id_stays_free(served: Served) -> None:
    assert served.score([[-666, 20, "f"]], "r").status_code == 500
    assert served.score([[1, 20, "f"]], "r").status_code == 200


def test_limits(tmp_path: Path) -> None:
    endpoint = Served(tmp_path, max_rows=2, max_body_bytes=400, queue=1)
    endpoint.steer(slots={"blue": endpoint.slot(1)})
    endpoint.start()
    try:
        assert endpoint.score([[1, 20, "f"]] * 3).status_code == 413
        assert endpoint.score([[1, 20, "f"]] * 100).status_code == 413
        assert endpoint.score([[1, 20, "f"]], "x" * 201).status_code == 400
        chunked = endpoint.client.post("/score", content=iter([b" " * 300, b" " * 300]))
        assert chunked.status_code == 413
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda n: endpoint.score([[n, 0.2, "f"]]), range(8)))
        assert {r.status_code for r in replies} == {200, 429}
        busy = next(r for r in replies if r.status_code == 429)
        assert busy.headers["retry-after"] == "1"
    finally:
        endpoint.client.close()
        endpoint.stop()


def test_without_save_answers_are_kept_and_rows_are_not(served: Served) -> None:
    served.steer(save=False)
    until(lambda: served.health()["revision"] == served.control.revision, "the new revision")
    first = served.score([[1, 20, "f"]], "r").content
    assert served.score([[1, 20, "f"]], "r").content == first
    assert served.score([[2, 20, "f"]], "r").status_code == 409
    assert rows_of(served) == []


def test_green_loads_beside_blue_then_takes_the_traffic(served: Served, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    served.steer(
        slots={**served.control.slots, "green": served.slot(2, wait=str(gate))}, traffic={"green": 100}
    )
    until(lambda: served.health()["slots"].get("green", {}).get("state") == "loading", "green loads")
    assert served.score([[10, 20, "f"]]).json()["model_version"] == 1
    assert served.score([[10, 20, "f"]], x_esml_slot="green").status_code == 503
    gate.touch()
    until(lambda: served.health()["live"] == "green", "green is live")
    assert served.score([[10, 20, "f"]]).json()["predictions"] == [21]
    before = len(rows_of(served))
    assert served.score([[10, 20, "f"]], x_esml_slot="blue").json()["model_version"] == 1
    assert len(rows_of(served)) == before, "a call aimed at a slot is not logged"
    assert served.score([[10, 20, "f"]], x_esml_slot="green").status_code == 400, "what has traffic is logged"


def test_a_request_ends_on_the_model_it_began_with(served: Served) -> None:
    many = [[n, 20, "f"] for n in range(400)] + [[1, 1.5, "f"]]
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(served.score, many)
        until((served.folder / "model-1" / "slow").exists, "version 1 predicts")
        served.steer(slots={"blue": served.slot(2)})
        until(lambda: served.score([[1, 20, "f"]]).json()["model_version"] == 2, "version 2 answers")
        assert not slow.done()
        assert slow.result().json()["model_version"] == 1


def test_told_to_end_it_answers_what_is_under_way(served: Served) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(served.score, [[1, 0.5, "f"]] * 300, "last")
        until((served.folder / "model-1" / "slow").exists, "it predicts")
        assert served.process is not None
        served.process.terminate()
        assert slow.result().status_code == 200
    assert served.process.wait(10) in (0, -signal.SIGTERM)
    assert len(rows_of(served)) == 300


def test_a_model_that_does_not_load_leaves_the_old_one(served: Served) -> None:
    served.steer(slots={"blue": served.slot(3, error="broken file")})
    said = until(lambda: (h := served.health())["slots"]["blue"]["state"] == "failed" and h, "it failed")
    assert "broken file" in said["slots"]["blue"]["error"]
    assert served.score([[1, 20, "f"]]).json()["model_version"] == 1


def test_traffic_is_split_by_request_id(served: Served) -> None:
    served.steer(slots={**served.control.slots, "green": served.slot(2)}, traffic={"blue": 50, "green": 50})
    until(lambda: len(served.health()["traffic"]) == 2, "split")
    versions = [served.score([[1, 20, "f"]], f"r{n}").json()["model_version"] for n in range(60)]
    assert 10 < versions.count(1) < 50


def test_reload_and_documents(served: Served) -> None:
    served.steer(save=False)
    assert served.client.post("/control/reload").json()["revision"] == served.control.revision
    assert httpx.post(f"{served.url}/control/reload").status_code == 401
    document = served.client.get("/openapi.json").json()
    example = document["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert served.client.post("/score", json=example).status_code == 200
    text = served.client.get("/metrics").text
    assert 'esml_requests_total{endpoint="project002-m11-dev",status="200"} 1.0' in text
    assert KEY not in Path(served.config.log).read_text()


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    endpoint = Served(tmp_path)
    endpoint.steer(slots={"blue": endpoint.slot(1)})
    script = (
        "import os, subprocess, sys, time, dataclasses\n"
        "from esml_engine.serving.facts import Config\n"
        "path = sys.argv[1]\n"
        "dataclasses.replace(Config.read(path), parent=os.getpid()).write(path)\n"
        "child = subprocess.Popen([sys.executable, '-m', 'esml_engine.serving.server', path])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    endpoint.config.write(tmp_path / "config.json")
    command = [sys.executable, "-c", script, str(tmp_path / "config.json")]
    parent = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        until(lambda: endpoint.health().get("status") == "ok", "it answers")
        parent.kill()
        parent.wait()
        until(lambda: not _alive(child), "the endpoint ended")
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
        endpoint.client.close()
        if _alive(child):
            os.kill(child, signal.SIGKILL)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_it_listens_while_a_slow_model_predicts(served: Served) -> None:
    """The first slow group shows that the model is slow; from then on it is called in a thread."""
    served.score([[1, 0.05, "f"]])
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(served.score, [[1, 1.0, "f"]])
        until(lambda: slow.running(), "it is under way")
        meanwhile = 0
        while not slow.done():
            served.health()
            meanwhile += not slow.done()
        assert slow.result().status_code == 200
    assert meanwhile > 2, "it was asked and answered while the model was busy"


def test_a_key_can_be_rotated(served: Served) -> None:
    new = hashlib.sha256(b"new").hexdigest()
    served.steer(key_sha256=(*served.control.key_sha256, new))
    fresh = {"authorization": "Bearer new"}
    body = {"input_data": {"columns": ["age", "bmi", "sex"], "data": [[1, 20, "f"]]}}
    until(
        lambda: served.client.post("/score", json=body, headers=fresh).status_code == 200, "the new key opens"
    )
    assert served.score([[1, 20, "f"]]).status_code == 200
    served.steer(key_sha256=(new,))
    until(lambda: served.score([[1, 20, "f"]]).status_code == 401, "the old key is dead")


def test_other_methods_and_paths(served: Served) -> None:
    assert served.client.get("/score").status_code == 405
    assert served.client.get("/docs").status_code == 404
