"""Deployments: what serves and how well, idle endpoints, the console's call, and how uploads are kept."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cockpit.acts import uploads
from cockpit.views import deployments as view
from cockpit.words import NOT_MEASURED
from esml_engine.errors import UsageError
from esml_engine.estate import Estate
from esml_engine.serving.reads import Served
from esml_engine.serving.tally import BUCKETS, Counts, Tally, path_of, read
from tests.cockpit.conftest import Open, text_of

NOW = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
MONTH = {"p50": 73.0, "p90": 73.0, "currency": "EUR", "basis": "1 node × 730 h"}
WHERE = {"project": "project001", "model": "m01_price", "env": "dev"}


def _served(**more: Any) -> Served:
    plain: dict[str, Any] = {
        "env": "prod", "endpoint": "e", "url": "http://127.0.0.1:1/score", "version": 2, "previous": 1,
        "since": "2026-11-01T00:00:00+00:00", "by": "anna",
        "save": True, "running": True, "trouble": "", "counts": Counts(), "last_call": "2026-11-19T23:00:00+00:00",
        "calls_7_days": 5,
    }  # fmt: skip
    return Served(**(plain | more))


@pytest.mark.parametrize(
    "more,state",
    [
        ({}, "answers"),
        ({"running": False, "trouble": "refused"}, "does not answer"),
        ({"trouble": "the model did not load"}, "in trouble"),
        ({"last_call": "2026-11-02T00:00:00+00:00"}, "idle for 18 days"),
        ({"last_call": None}, "idle for 19 days"),
        ({"counts": Counts({"200": 9, "500": 1})}, "answers · 1 error"),
        ({"version": 1}, "answers · champion is v2"),
        ({"version": None, "running": False}, "ended"),
    ],
)
def test_each_state_has_its_word(more: dict[str, Any], state: str) -> None:
    assert view.card(_served(**more), MONTH, 2, NOW).state == state


def test_an_ended_endpoint_costs_nothing() -> None:
    c = view.card(_served(version=None), MONTH, 2, NOW)
    assert dict((n, v) for n, v, _ in c.figures)["Costs a month"] == "€ 0"


def test_calls_that_nobody_counted_are_not_said_to_be_none() -> None:
    figures = {n: v for n, v, _ in view.card(_served(counts=None), MONTH, 2, NOW).figures}
    assert figures["Kept calls, 7 days"] == "5", "from what was kept"
    assert figures["p95 of an answer"] == figures["Errors"] == NOT_MEASURED


def test_counts_outlive_the_process(tmp_path: Path) -> None:
    path = path_of(tmp_path / "ledger.db")
    first = Tally(path)
    for n in range(100):
        first.answered(200 if n % 10 else 500, 3, 0.004 if n < 90 else 0.2)
    first.save()
    found = Tally(path).counts
    assert (found.requests, found.rows, found.of(500, 599)) == (100, 300, 10)
    assert found.quantile(0.5) == pytest.approx(0.0025 + 0.0025 * 50 / 90)
    assert found.quantile(0.95) == pytest.approx(0.1 + 0.15 * 5 / 10)
    path.write_text("{broken")
    assert read(path) == Counts(), "figures for people: an unreadable file begins anew"
    assert Counts().quantile(0.5) is None
    assert Counts(seconds=[0] * len(BUCKETS) + [4]).quantile(0.5) == BUCKETS[-1], "beyond the last bound"


def test_nothing_deployed_yet_says_what_fills_it(estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "deployments", **WHERE, tab="Deploy")
    assert not at.exception and not at.error
    assert "Nothing was deployed yet" in text_of(at)
    assert any(b.label == "Deploy v1" for b in at.button)


def test_the_console_needs_a_deployment(estate: Estate, page: Open) -> None:
    first = page(estate.site.root, "deployments", **WHERE)
    assert any(b.label == "Deploy v1" for b in first.button), "what there is to do stands first"
    assert "Nothing is deployed in dev" in text_of(
        page(estate.site.root, "deployments", **WHERE, tab="Test call")
    )


@dataclass
class Given:
    name: str
    body: bytes

    def getbuffer(self) -> memoryview:
        return memoryview(self.body)


def test_an_upload_keeps_its_name_under_its_content(estate: Estate) -> None:
    a = uploads.kept(estate, Given("a.csv", b"1"))
    assert uploads.kept(estate, Given("a.csv", b"1")) == a, (
        "the same content: the same path, so the same plan"
    )
    b = uploads.kept(estate, Given("../../a.csv", b"2"))
    assert Path(b).name == "a.csv" and b != a and Path(b).is_relative_to(uploads.folder(estate))
    assert Path(a).read_bytes() == b"1" and Path(b).read_bytes() == b"2"
    for bad in ("", "..", ".hidden", "x/"):
        if Path(bad).name in ("", ".hidden") or bad == "..":
            with pytest.raises(UsageError):
                uploads.kept(estate, Given(bad, b"3"))


def test_old_uploads_are_swept(estate: Estate) -> None:
    path = Path(uploads.kept(estate, Given("old.csv", b"old")))
    day_ago = NOW.timestamp() - 25 * 3600
    os.utime(path, (day_ago, day_ago))
    assert uploads.swept(estate, NOW.timestamp()) >= 1 and not path.exists()


def test_delivering_goes_through_the_plan(estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "lake", **WHERE, act="Deliver files")
    assert not at.exception
    assert any("Files of ds01_houses" in u.label for u in at.get("file_uploader"))
    assert not any(b.key == "ingest" for b in at.button), "no button before there is a plan"


@pytest.mark.parametrize("act", ["Refine", "Split", "Pipeline", "R&D mode"])
def test_each_act_of_the_lake_shows_its_plan(act: str, estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "lake", **WHERE, act=act)
    assert not at.exception and not at.error
    assert any(b.key in ("refine", "split", "pipeline", "rnd") for b in at.button)


def test_rnd_mode_is_turned_on_through_its_plan(estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "lake", **WHERE, act="R&D mode")
    next(b for b in at.button if b.key == "rnd").click().run()
    assert estate.audit(act="set", limit=1)[0]["result"] == "done"
    assert "R&D mode is **on** in dev" in text_of(page(estate.site.root, "lake", **WHERE, act="R&D mode"))
    estate.set("project001/m01_price", "rnd.dev", "false")
