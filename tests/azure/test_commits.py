"""A commit to a table on Azure that the service refuses, does not answer, or carries out while its answer is lost."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from esml_engine.errors import ConflictError, EsmlError, PlatformError
from esml_engine.lake.catalogue import Version, put, table_uri
from esml_engine.lake.commit import make_versions
from esml_engine.lake.files import schema_text
from esml_engine.lake.log import commits, open_table
from esml_engine.platforms.azure.errors import AzureBusyError, AzureDeniedError
from esml_engine.platforms.azure.platform import AzurePlatform
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import TableOut
from esml_engine.scored.commits import DrainDesk
from esml_engine.store.database import Store
from tests.azure.cloud.stand_in import Cloud

REF, TABLE = ModelRef("p1", "m1"), "d1/bronze"


class Lake:
    """One table in an environment's lake, committed to as a worker does."""

    def __init__(self, p: AzurePlatform, folder: Path) -> None:
        self.store = Store(f"sqlite:///{folder / 'store.db'}")
        self.store.prepare()
        self.site: Any = SimpleNamespace(store=self.store, platform=lambda env: p)
        self.p, self.uri = p, table_uri(self.site, REF, "dev", TABLE)

    def commit(self, number: int, run: str = "", **fields: pa.DataType) -> Version:
        out = TableOut(TABLE, schema_text(pa.schema([("id", pa.int64()), *fields.items()])), ())
        desk: Any = DrainDesk(self.site, run or f"r-{number}")
        (made,) = make_versions(
            desk, REF, "dev", [out], numbers={TABLE: {"on": number - 1, "next": number}}, inputs=[]
        )
        with self.store.write() as c:
            put(c, made)
        return made

    def numbers(self) -> list[int]:
        """The engine's number of each commit in the table's log that has one."""
        return [json.loads(e["esml"])["version"] for e in commits(self.p, self.uri) if "esml" in e]


@pytest.fixture
def lake(dev: AzurePlatform, tmp_path: Path) -> Lake:
    return Lake(dev, tmp_path)


def entry(number: int) -> str:
    return f"*_delta_log/{number:020d}.json"


@pytest.mark.parametrize("before", [0, 1], ids=["first", "next"])
@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ({"status": 403}, AzureDeniedError, "az role assignment create"),
        ({"status": 409}, EsmlError, "retry"),
        ({"status": 412}, AzureBusyError, "retry"),
        ({"status": 429}, AzureBusyError, "retry"),
        ({"status": 503}, AzureBusyError, "retry"),
        ({"drop": True}, AzureBusyError, "retry"),
    ],
    ids=lambda v: "-".join(map(str, v.values())) if isinstance(v, dict) else "",
)  # fmt: skip
def test_a_commit_that_fails_is_an_error_with_what_to_do_and_can_be_retried(
    azure: Cloud, lake: Lake, before: int, fault: dict[str, Any], kind: type[EsmlError], says: str
) -> None:
    for number in range(before):
        lake.commit(number + 1)
    azure.faults.add("Storage.Any", times=999, path=entry(before), **fault)
    with pytest.raises(kind) as e:
        lake.commit(before + 1)
    assert says in e.value.hint and "\x1b" not in e.value.message + e.value.hint, (
        e.value.message,
        e.value.hint,
    )
    if fault == {"status": 403}:
        assert "Storage Blob Data Contributor" in e.value.hint and lake.p.account in e.value.hint
    azure.faults.clear()
    assert lake.commit(before + 1).version == before + 1
    assert lake.numbers() == list(range(1, before + 2))


@pytest.mark.parametrize("before", [0, 1], ids=["first", "next"])
@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 409}, {"drop": True}], ids=str)
def test_a_commit_whose_answer_was_lost_counts_as_done(
    azure: Cloud, lake: Lake, before: int, fault: dict[str, Any]
) -> None:
    for number in range(before):
        lake.commit(number + 1)
    struck = azure.faults.add("Storage.Any", times=1, after=True, path=entry(before), **fault)
    made = lake.commit(before + 1)
    assert struck.seen == 1 and (made.version, made.delta_version) == (before + 1, before)
    assert lake.commit(before + 2).version == before + 2, "and the next builds on it"
    assert lake.numbers() == list(range(1, before + 3)), "once each"


def test_a_new_column_whose_answer_was_lost_is_there_once(azure: Cloud, lake: Lake) -> None:
    lake.commit(1)
    struck = azure.faults.add("Storage.Any", times=1, after=True, status=503, path=entry(1))
    made = lake.commit(2, at=pa.timestamp("us"))
    table = open_table(lake.uri, lake.p.storage_options())
    assert struck.seen == 1 and made.delta_version == table.version()
    assert [f.name for f in table.schema().fields] == ["id", "at"] and lake.numbers() == [1, 2]


def test_a_number_that_another_run_took_stays_a_conflict(
    azure: Cloud, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.commit(1)
    monkeypatch.setattr("esml_engine.lake.commit.point", lambda name: other(name))

    def other(name: str) -> None:
        if name == "commit:before":
            monkeypatch.setattr("esml_engine.lake.commit.point", lambda name: None)
            lake.commit(2, "r-other")

    with pytest.raises(ConflictError, match="changed by somebody else") as e:
        lake.commit(2, "r-mine")
    assert "plan and start again" in e.value.hint and not isinstance(e.value, PlatformError)
    assert lake.numbers() == [1, 2]
