"""Answered requests of an endpoint that several processes serve: one answer an id, each row once in the table."""

from __future__ import annotations

import hashlib
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from esml_engine.errors import ConflictError
from esml_engine.estate import Estate
from esml_engine.refs import ModelRef
from esml_engine.scored import collecting
from esml_engine.scored.answered import SharedLedger, file_of, from_json, to_json
from esml_engine.scored.commits import drain_ledger, endpoint_name, ledger_path, purge_ledger
from esml_engine.scored.facts import Answer, Finished, Reserved, Shape

REF = ModelRef("p1", "m1")
SHAPE = Shape({"x": "double"})


def finished(request_id: str, answer: bytes = b"one", body: bytes = b"body", *, at: float = 0.0) -> Finished:
    moment = int((at or time.time()) * 1e6)
    frame = {"features": {"x": [1.5]}, "prediction": [2.5]}
    return Finished(request_id, hashlib.sha256(body).digest(), answer, "web", 1, moment, 1, frame)


def kept(ledger: SharedLedger, f: Finished) -> Answer:
    said, _ = ledger.reserve(f.request_id, f.body_hash)
    assert said is Reserved.NEW
    done: Future[Answer] = Future()

    def told(outcome: Answer | Exception) -> None:
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)

    ledger.finish_soon(f, told)
    return done.result(30)


@pytest.fixture
def folder(empty: Estate) -> str:
    root = empty.site.platform("dev").lake_root()
    return f"{root}/{collecting.answered_folder(endpoint_name(REF, 'dev'))}"


def test_it_lies_in_the_lake_as_it_was() -> None:
    f = finished("q-ü", b"\x00bytes")
    assert from_json(to_json(f, '{"features": {"x": [1.5]}, "prediction": [2.5]}')) == f
    assert from_json(to_json(f, None)).frame is None


def test_whoever_was_first_has_answered(folder: str, tmp_path: Path) -> None:
    """Blue and green, or two instances: each its own process, here its own ledger."""
    ledgers = [SharedLedger(folder, tmp_path / str(n)) for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda n: kept(ledgers[n], finished("q1", f"by {n}".encode())).body, range(4)))
    assert len(set(said)) == 1, "one answer, whoever was asked"
    with pytest.raises(ConflictError):
        kept(ledgers[0], finished("q1", body=b"other rows"))
    flying = ledgers[0].reserve("q2", b"h")
    assert flying == (Reserved.NEW, None)
    assert ledgers[0].reserve("q2", b"other")[0] is Reserved.CONFLICT
    waits = ledgers[0].reserve("q2", b"h")
    assert waits[0] is Reserved.IN_FLIGHT
    ledgers[0].release("q2")
    assert isinstance(waits[1], Future) and waits[1].done()
    for ledger in ledgers:
        ledger.close()


def test_each_row_is_in_the_table_once(empty: Estate, folder: str, tmp_path: Path) -> None:
    site = empty.site
    ledger = SharedLedger(folder, tmp_path)
    ledger.describe(1, SHAPE)
    for n in range(5):
        kept(ledger, finished(f"q{n}"))
    assert drain_ledger(site, REF, "dev") == 5 and drain_ledger(site, REF, "dev") == 0
    for n in range(3, 8):
        kept(ledger, finished(f"q{n}"))
    assert drain_ledger(site, REF, "dev") == 3
    # another machine's worker: its disk knows nothing
    path = ledger_path(site, REF, "dev")
    shutil.rmtree(path.parent)
    collecting._seen.clear()
    kept(ledger, finished("q9"))
    assert drain_ledger(site, REF, "dev") == 1
    said = empty.model("p1/m1").scored().document()
    assert said["total"] == said["calls"] == 9
    ledger.close()


def test_what_is_purged_leaves_its_file_first(empty: Estate, folder: str, tmp_path: Path) -> None:
    site = empty.site
    ledger = SharedLedger(folder, tmp_path)
    ledger.describe(1, SHAPE)
    kept(ledger, finished("old", at=time.time() - 9 * 86_400))
    kept(ledger, finished("new"))
    assert drain_ledger(site, REF, "dev") == 2
    assert purge_ledger(site, REF, "dev") == 1
    assert [p.name for p in Path(folder).iterdir()] == [file_of("new")]
    assert drain_ledger(site, REF, "dev") == 0
    ledger.close()
