"""The store's tables on either database."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from esml_engine.errors import StoreDamagedError, StoreFullError
from esml_engine.store import schema as t
from esml_engine.store.database import Store


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()])
def test_one_plan_is_open_once_on_either_database(dialect: object) -> None:
    t.for_postgresql()
    (index,) = (i for i in t.runs.indexes if i.name == "runs_open_plan")
    said = str(CreateIndex(index).compile(dialect=dialect))  # type: ignore[arg-type]
    assert said.startswith("CREATE UNIQUE INDEX runs_open_plan ON runs (plan_hash) WHERE state IN (")


def test_a_boolean_begins_as_one_on_either_database() -> None:
    """PostgreSQL takes no number for it."""
    said = {
        d.name: str(CreateTable(t.runs).compile(dialect=d)) for d in (sqlite.dialect(), postgresql.dialect())
    }
    assert "cancel BOOLEAN DEFAULT 0 NOT NULL" in said["sqlite"]
    assert "cancel BOOLEAN DEFAULT false NOT NULL" in said["postgresql"]


def test_a_store_of_one_database_does_not_load_the_other_one() -> None:
    code = "import sys, esml_engine.store.database; sys.exit('sqlalchemy.dialects.postgresql' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    Store.at(tmp_path).close()
    (tmp_path / "store.db").write_bytes(b"not a database at all" * 300)
    with pytest.raises(StoreDamagedError, match=r"store\.db is damaged") as e:
        Store.at(tmp_path)
    assert "backup" in e.value.hint and "catalogue rebuild" in e.value.hint


def test_a_disk_that_failed_for_a_moment_is_no_fault_of_the_act(tmp_path: Path) -> None:
    """SQLite names a full disk as an I/O error, and there may be room again by the time that it is judged."""
    store = Store.at(tmp_path)
    error = sa.exc.OperationalError("INSERT", None, sqlite3.OperationalError("disk I/O error"))
    with (
        pytest.raises(StoreFullError, match=r"store\.db can't be used for now: disk I/O error") as e,
        store.write(),
    ):
        raise error
    assert e.value.hint.startswith("retry") and "disk" in e.value.hint
