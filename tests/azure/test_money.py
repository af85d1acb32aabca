"""What the platform says of money, from the stand-in's price list and Cost Management: dated, kept, renewed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from esml_engine.platforms.azure.platform import AzurePlatform
from tests.azure.cloud.costs import HOURLY, PAGE, Spend
from tests.azure.cloud.stand_in import Cloud
from tests.azure.kit import SHORT, platform_of

NODE = "Standard_DS3_v2"


@pytest.fixture
def dev(azure: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzurePlatform]:
    azure.spend.clear()
    for k, v in SHORT.items():
        monkeypatch.setenv(k, v)
    made = platform_of(azure, "dev", tmp_path)
    yield made
    made.close()
    azure.spend.clear()


def asked(cloud: Cloud, operation: str) -> int:
    return len(cloud.recorder.of(operation))


def until(ready: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_price_is_kept_with_its_date_and_renewed_when_it_is_old(azure: Cloud, dev: AzurePlatform) -> None:
    assert dev.prices([NODE]) == {NODE: HOURLY[NODE]}, "pay as you go, Linux: no spot, no Windows"
    path = dev.price_list.kept.path
    said = json.loads(path.read_text())
    assert said["at"][:10] == datetime.now(UTC).date().isoformat() and said["currency"] == "EUR"
    before = asked(azure, "RetailPrices.List")
    assert dev.prices([NODE]) == {NODE: HOURLY[NODE]} and asked(azure, "RetailPrices.List") == before, "kept"
    path.write_text(json.dumps({**said, "at": "2026-01-01T00:00:00+00:00", "nodes": {NODE: 9.0}}))
    assert dev.prices([NODE]) == {NODE: 9.0}, "nobody waits for the list while an old price is there"
    until(lambda: dev.prices([NODE]) == {NODE: HOURLY[NODE]})
    for damaged in (
        "[1]",
        '{"at": "yesterday"}',
        json.dumps({**said, "nodes": [NODE]}),
        '{"at',
        json.dumps({k: v for k, v in said.items() if k != "nodes"}),
        json.dumps({**said, "nodes": {NODE: float("nan")}}),
        json.dumps({**said, "at": "0001-01-01T00:00:00"}),
    ):
        path.write_text(damaged)
        assert dev.prices([NODE]) == {NODE: HOURLY[NODE]}, "fetched anew"
    path.write_text(json.dumps({**said, "at": "2026-01-01T00:00:00+00:00", "nodes": {NODE: 9.0}}))
    azure.faults.add("RetailPrices.List", times=99, status=503)
    assert dev.prices([NODE]) == {NODE: 9.0}
    until(lambda: dev.price_list.kept._failed > 0)
    assert dev.prices([NODE]) == {NODE: 9.0}, "a list that can't be had leaves what is there"
    path.unlink()
    dev.price_list.kept.soon = 0.5
    assert dev.prices([NODE]) == {}, "and says nothing where nothing is"
    azure.faults.clear()
    until(lambda: dev.prices([NODE]) == {NODE: HOURLY[NODE]})


def test_bills_come_by_the_projects_tag(azure: Cloud, dev: AzurePlatform) -> None:
    ws, today = azure.workspaces["dev"], datetime.now(UTC).date()
    for project, amount in (("p1", 2.5), ("p1", 0.5), ("p2", 1.0)):
        azure.spend.append(
            Spend(ws.subscription, ws.resource_group, today, amount, {"esml-project": project})
        )
    azure.spend.append(Spend(ws.subscription, "rg-other", today, 99.0, {"esml-project": "p1"}))
    found = {b.project: (b.amount, b.currency) for b in dev.bills()}
    assert found["p1"] == (3.0, "EUR") and found["p2"] == (1.0, "EUR")
    once = asked(azure, "Query_Usage")
    dev.bills()
    assert asked(azure, "Query_Usage") == once, "asked once a day"


def test_bills_of_many_projects_are_read_to_the_last_page(azure: Cloud, dev: AzurePlatform) -> None:
    ws, today = azure.workspaces["dev"], datetime.now(UTC).date()
    wanted = {f"p{n:03}": float(n) for n in range(1, 2 * PAGE + 11)}
    for project, amount in wanted.items():
        tags = {"esml-project": project}
        azure.spend.append(Spend(ws.subscription, ws.resource_group, today, amount, tags))
    before = asked(azure, "Query_Usage")
    assert {b.project: b.amount for b in dev.bills()} == wanted
    assert asked(azure, "Query_Usage") == before + 3


def test_who_may_not_read_costs_has_no_bills_and_doctor_says_so(azure: Cloud, dev: AzurePlatform) -> None:
    with azure.without_role("cost", "dev"):
        assert dev.bills() == []
        row = next(r for r in dev.check() if r["part"] == "dev costs")
    assert not row["ok"] and "Cost Management Reader" in row["hint"]
