"""A request id is answered once, whatever dies on the way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from esml_engine.scored.ledger_reader import LedgerReader
from esml_engine.serving.client import score
from tests.serving.conftest import KEY, Served, until


def rows_of(served: Served) -> list[dict]:
    with LedgerReader(served.config.ledger) as ledger:
        rows: list[dict] = ledger.rows_after(0).table.to_pylist()
    return rows


def test_twenty_at_once_with_one_id_give_one_row(served: Served) -> None:
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: served.score([[40, 0.2, "f"]], "same"), range(20)))
    assert {r.status_code for r in replies} == {200}
    assert len({r.content for r in replies}) == 1
    assert len(rows_of(served)) == 1


def test_another_body_under_the_same_id_is_refused(served: Served) -> None:
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(served.score, [[40, 0.5, "f"]], "same")
        statuses = {
            pool.submit(served.score, [[41, 0.5, "f"]], "same").result().status_code,
            slow.result().status_code,
        }
    assert statuses == {200, 409}
    again = served.score([[42, 0.5, "f"]], "same")
    assert (again.status_code, "'same'" in again.json()["error"]["message"]) == (409, True)
    assert len(rows_of(served)) == 1


def test_killed_between_predict_and_commit(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was answered, nothing is logged; the retry in the next process answers."""
    served.stop()
    monkeypatch.setenv("ESML_TEST_STOP", "before")
    served.config = type(served.config)(**{**served.config.__dict__, "loader": "tests.serving.killing:load"})
    served.start()
    with pytest.raises(httpx.TransportError):
        served.score([[40, 20, "f"]], "r")
    assert served.process is not None
    assert served.process.wait(10) == -9
    assert rows_of(served) == []
    monkeypatch.delenv("ESML_TEST_STOP")
    served.process = None
    served.start()
    assert served.score([[40, 20, "f"]], "r").json()["predictions"] == [41]
    assert len(rows_of(served)) == 1


def test_killed_after_commit_before_the_answer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is there; the retry gets the stored answer, of the model that made it, and no second row."""
    served.stop()
    monkeypatch.setenv("ESML_TEST_STOP", "after")
    served.config = type(served.config)(**{**served.config.__dict__, "loader": "tests.serving.killing:load"})
    served.start()
    with pytest.raises(httpx.TransportError):
        served.score([[40, 20, "f"]], "r")
    assert served.process is not None
    assert served.process.wait(10) == -9
    assert [(r["request_id"], r["prediction"]) for r in rows_of(served)] == [("r", 41.0)]
    monkeypatch.delenv("ESML_TEST_STOP")
    served.process = None
    served.steer(slots={"blue": served.slot(2)})
    served.start()
    assert served.score([[40, 20, "f"]], "r").json() == {
        "predictions": [41],
        "model_version": 1,
        "request_id": "r",
    }
    assert len(rows_of(served)) == 1
    assert served.score([[40, 20, "f"]], "r2").json()["predictions"] == [81]


def test_a_parallel_caller_outlives_a_killed_endpoint(served: Served) -> None:
    """The client repeats by id until the next process answers: every row once, in order."""
    rows = {"age": list(range(3000)), "bmi": [20.0] * 3000, "sex": ["f"] * 3000}
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(score, f"{served.url}/score", KEY, rows, "web", "big", 4, chunk_rows=20)
        until(lambda: len(rows_of(served)) > 100, "some requests are answered")
        served.kill()
        served.start()
        answer = call.result()
    assert answer.predictions == [age + 1 for age in range(3000)]
    logged = rows_of(served)
    assert len(logged) == 3000
    assert len({(r["request_id"], r["row"]) for r in logged}) == 3000
    assert {r["request_id"] for r in logged} == {"big", *(f"big-{n}" for n in range(1, 150))}


def test_a_repeated_call_is_the_same_requests_however_many_go_side_by_side(served: Served) -> None:
    from esml_engine.errors import ConflictError

    url = f"{served.url}/score"
    rows = {"age": list(range(50)), "bmi": [20.0] * 50, "sex": ["f"] * 50}
    first = score(url, KEY, rows, "web", "p1", 4, chunk_rows=20)
    again = score(url, KEY, rows, "web", "p1", 1, chunk_rows=20)
    assert first == again and first.predictions == [age + 1 for age in range(50)]
    assert first.request_ids == ("p1", "p1-1", "p1-2") and len(rows_of(served)) == 50
    for n in (10, 20, 40, 45):  # fewer, though they begin alike
        with pytest.raises(ConflictError):
            score(url, KEY, {k: v[:n] for k, v in rows.items()}, "web", "p1", 2, chunk_rows=20)
    more = {"age": list(range(70)), "bmi": [20.0] * 70, "sex": ["f"] * 70}
    with pytest.raises(ConflictError):
        score(url, KEY, more, "web", "p1", 2, chunk_rows=20)
    assert len(rows_of(served)) == 50
    assert score(url, KEY, {k: v[:3] for k, v in rows.items()}, "web", "p2", 4).request_ids == ("p2",)


def test_the_client_gives_up_with_the_reason(served: Served) -> None:
    from esml_engine.errors import ConflictError, NotAllowedError, PlatformError, UsageError

    url = f"{served.url}/score"
    one = [{"age": 1, "bmi": 20.0, "sex": "f"}]
    assert score(url, KEY, one, "web", "c").predictions == [2]
    with pytest.raises(ConflictError):
        score(url, KEY, [{"age": 2, "bmi": 20.0, "sex": "f"}], "web", "c")
    with pytest.raises(NotAllowedError):
        score(url, "no", one)
    with pytest.raises(UsageError, match="'bmi', row 0"):
        score(url, KEY, [{"age": 1, "bmi": "x", "sex": "f"}])
    assert score(url, KEY, []).predictions == []
    served.stop()
    with pytest.raises(PlatformError):
        score(url, KEY, one, attempts=2)
