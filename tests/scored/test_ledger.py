"""The ledger: reservations, group commits, sequence, purge."""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from esml_engine.errors import ConflictError, FailedError, NotFoundError
from esml_engine.scored.facts import Answer, Finished, Reserved, Shape, stored_type
from esml_engine.scored.ledger import Ledger
from esml_engine.scored.ledger_reader import LedgerReader

SHAPE = Shape({"age": "int64"})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.db")
    opened.describe(1, SHAPE)
    yield opened
    opened.close()


def finished(name: str, rows: int = 1, *, body: bytes = b"b", at: int = 1_000, save: bool = True) -> Finished:
    frame = {"features": {"age": list(range(rows))}, "prediction": [0.5] * rows}
    return Finished(name, body, f"answer {name}".encode(), "web", 1, at, rows, frame if save else None)


def test_an_id_is_new_then_in_flight_then_done(ledger: Ledger) -> None:
    assert ledger.reserve("r", b"b") == (Reserved.NEW, None)
    said, waiting = ledger.reserve("r", b"b")
    assert said is Reserved.IN_FLIGHT
    assert isinstance(waiting, Future)
    assert ledger.reserve("r", b"other") == (Reserved.CONFLICT, None)
    assert not waiting.done()
    assert ledger.finish(finished("r")) == Answer(1, b"answer r")
    waiting.result(5)
    assert ledger.reserve("r", b"b") == (Reserved.DONE, Answer(1, b"answer r"))
    assert ledger.reserve("r", b"other") == (Reserved.CONFLICT, None)


def test_a_released_id_is_taken_over_by_one_of_those_who_wait(ledger: Ledger) -> None:
    ledger.reserve("r", b"b")
    _, first = ledger.reserve("r", b"b")
    _, second = ledger.reserve("r", b"b")
    _, gone = ledger.reserve("r", b"b")
    assert isinstance(gone, Future)
    gone.cancel()
    ledger.release("r")
    assert isinstance(first, Future)
    assert isinstance(second, Future)
    assert first.done()
    assert second.done()
    assert ledger.reserve("r", b"b")[0] is Reserved.NEW
    assert ledger.reserve("r", b"b")[0] is Reserved.IN_FLIGHT


def test_sequence_has_no_gap_and_follows_the_order_of_arrival(ledger: Ledger) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: ledger.finish(finished(f"r{n}")), range(500)))
    assert sorted(a.seq for a in answers) == list(range(1, 501))
    assert ledger.commits < 500, "requests share commits"


def test_what_comes_while_a_group_commits_is_the_next_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()
    groups: list[list[str]] = []
    commit = Ledger._commit

    def slow(self: Ledger, group: list) -> list:
        groups.append([w.finished.request_id for w in group])
        begun.set()
        assert go.wait(10)
        return commit(self, group)

    monkeypatch.setattr(Ledger, "_commit", slow)
    ledger = Ledger(tmp_path / "l.db")
    ledger.describe(1, SHAPE)
    told: list[int] = []

    def done(outcome: Answer | Exception) -> None:
        assert isinstance(outcome, Answer)
        told.append(outcome.seq)

    ledger.finish_soon(finished("a"), done)
    assert begun.wait(10)
    for name in "bcd":
        ledger.finish_soon(finished(name), done)
    assert told == [], "nobody is told before the commit"
    go.set()
    ledger.close()
    assert groups == [["a"], ["b", "c", "d"]]
    assert told == [1, 2, 3, 4]


def test_one_writer_at_a_time(ledger: Ledger) -> None:
    code = (
        "import sys\nfrom esml_engine.errors import ConflictError\nfrom esml_engine.scored.ledger import Ledger\n"
        "try:\n    Ledger(sys.argv[1], wait_seconds=0.1)\nexcept ConflictError:\n    sys.exit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(ledger.path)], check=False).returncode == 7
    with pytest.raises(ConflictError):
        Ledger(ledger.path, wait_seconds=0.0)


def test_another_versions_ledger_is_not_written(tmp_path: Path) -> None:
    Ledger(tmp_path / "l.db").close()
    with contextlib.closing(sqlite3.connect(tmp_path / "l.db", isolation_level=None)) as con:
        con.execute("UPDATE about SET value = '2' WHERE key = 'version'")
    with pytest.raises(ConflictError, match="version 2"):
        Ledger(tmp_path / "l.db")


def test_rows_come_in_ranges_with_the_contracts_columns(ledger: Ledger) -> None:
    for n in range(5):
        ledger.finish(finished(f"r{n}", 2, at=86_400_000_000 * n))
    ledger.finish(finished("unsaved", 9, save=False))
    with LedgerReader(ledger.path) as reader:
        assert reader.id == ledger.id
        assert reader.last_seq() == 6
        assert reader.undrained(2) == 6
        first = reader.rows_after(0, 5)
        assert (first.last_seq, first.table.num_rows) == (2, 4)
        rest = reader.rows_after(first.last_seq)
        assert (rest.last_seq, rest.table.num_rows) == (6, 6)
        assert rest.table.column_names == [
            "request_id",
            "row",
            "scored_at",
            "scored_date",
            "caller_id",
            "model_version",
            "prediction",
            "age",
        ]
        assert rest.table.column("scored_date").to_pylist()[0].isoformat() == "1970-01-03"
        assert reader.rows_after(6).table.num_rows == 0
        assert reader.rows_after(0, 1).last_seq == 1, "one request is always taken"


def test_versions_meet_in_one_schema(ledger: Ledger) -> None:
    shape = Shape({"age": "double", "row": "string"}, "string", ("no", "yes"))
    ledger.describe(2, shape)
    frame = {
        "features": {"age": [1.5, float("nan")], "row": ["x", None]},
        "prediction": ["yes", "no"],
        "probability": {"no": [0.1, 0.9], "yes": [0.9, 0.1]},
    }
    ledger.finish(finished("old"))
    ledger.finish(Finished("new", b"", b"", "web", 2, 0, 2, frame))
    with LedgerReader(ledger.path) as reader:
        rows = reader.rows_after(0).table.to_pylist()
    assert [r["age"] for r in rows] == [0.0, 1.5, None]
    assert [r["prediction"] for r in rows] == ["0.5", "yes", "no"]
    assert [r["probability_yes"] for r in rows] == [None, 0.9, 0.1]
    assert [r["feature_row"] for r in rows] == [None, "x", None]


def test_times_and_what_json_lacks_come_back(ledger: Ledger) -> None:
    at = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
    ledger.describe(
        3,
        Shape(
            {"seen": stored_type("timestamp[ns]"), "price": stored_type("decimal128(9, 2)"), "ill": "bool"}
        ),
    )
    features = {
        "seen": [at.replace(tzinfo=None), None, at],
        "price": [1, float("inf"), 2.5],
        "ill": [1.0, 0.0, None],
    }
    ledger.finish(
        Finished("t", b"", b"", "web", 3, 0, 3, {"features": features, "prediction": [float("nan"), 1, 2]})
    )
    with LedgerReader(ledger.path) as reader:
        rows = reader.rows_after(0).table
    assert rows.column("seen").to_pylist() == [at, None, at]
    assert rows.column("price").to_pylist() == [1.0, None, 2.5]
    assert rows.column("ill").to_pylist() == [True, False, None]
    assert rows.column("prediction").to_pylist() == [None, 1.0, 2.0]


def test_no_odd_value_stops_a_drain(ledger: Ledger) -> None:
    ledger.describe(3, Shape({"name": "string", "age": "int64"}))
    features = {"name": ["\ud800x", "ö", 5], "age": [1e300, 2**70, 7.0]}
    ledger.finish(Finished("odd", b"", b"", "web", 3, 0, 3, {"features": features, "prediction": [1, 2, 3]}))
    with LedgerReader(ledger.path) as reader:
        rows = reader.rows_after(0).table
    assert rows.column("name").to_pylist() == ["?x", "ö", "5"]
    assert rows.column("age").to_pylist() == [None, None, 7]


def test_purge_takes_what_is_drained_and_old_and_numbers_go_on(ledger: Ledger) -> None:
    for n in range(1200):
        ledger.finish_soon(finished(f"r{n}", at=n), lambda _: None)
    ledger.finish(finished("last", at=5))
    with LedgerReader(ledger.path) as reader:
        assert reader.purge(1100, 1050) == 1050
        assert reader.purge(1201, 10_000) == 151
        assert reader.last_seq() == 1201
    assert ledger.reserve("r1", b"other")[0] is Reserved.NEW
    assert ledger.finish(finished("r1")).seq == 1202


def test_a_failed_commit_tells_all_who_wait(ledger: Ledger) -> None:
    ledger.finish(finished("r"))
    with pytest.raises(FailedError, match="could not be written"):
        ledger.finish(finished("r"))
    assert ledger.finish(finished("s")).seq == 2


def test_what_is_not_there_is_said(tmp_path: Path, ledger: Ledger) -> None:
    with pytest.raises(NotFoundError):
        LedgerReader(tmp_path / "none.db")
    with pytest.raises(FailedError, match="not described"):
        ledger.finish(Finished("x", b"", b"", "web", 9, 0, 1, {"features": {}, "prediction": [1]}))
