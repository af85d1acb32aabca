"""What is ready for the next environment: for a whole leaderboard the same as for each version alone, in as few queries."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks.estates import leaderboard_of, make
from esml_engine.door.site import Site
from esml_engine.estate import open_estate
from esml_engine.promotion import reads
from esml_engine.refs import ModelRef
from esml_engine.store import schema as t

NAME = "project000/model0000"
REF = ModelRef.parse(NAME)
VERSIONS = range(10, 18)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Eight versions in dev, the first one compared, of four others something is wrong, one stands in test already."""
    make(tmp_path / "estate", 1)
    leaderboard_of(tmp_path / "estate", NAME, 40)
    site = open_estate(tmp_path / "estate").site
    v, m, k = t.versions, t.model_versions, t.comparisons
    of = lambda n: (v.c.object == NAME, v.c.env == "dev", v.c.name == "gold", v.c.version == n)  # noqa: E731
    with site.store.write() as c:
        failed = [{"check": "not_null", "passed": False, "level": "error"}]
        c.execute(v.update().where(*of(11)).values(quality=failed))
        c.execute(v.update().where(*of(12)).values(rnd=True))
        c.execute(v.delete().where(*of(13)))
        c.execute(m.update().where(m.c.version == 14).values(detail={}))
        row = c.execute(m.select().where(m.c.version == 15)).mappings().one()
        c.execute(m.insert().values(**{**row, "env": "test"}))
        first = c.execute(k.select()).mappings().one()
        older = {**first, "comparison": "c-old", "at": "2026-01-01", "document": {"gates": []}}
        c.execute(k.insert().values(**older))
        c.execute(
            k.insert().values(**{**first, "comparison": "c-stale", "at": "2027-01-01", "facts": "gone"})
        )
    return site


def board(site: Site) -> dict[int, tuple]:
    rows = [r for r in reads.leaderboard(site, REF) if r["model_version"] in VERSIONS]
    return {r["model_version"]: (r["ready"], r["ready_to"], r["ready_reason"]) for r in rows}


def test_a_leaderboard_says_of_each_version_what_is_said_of_it_alone(site: Site) -> None:
    alone = {n: reads.readiness(site, REF, n, "dev") for n in VERSIONS}
    assert board(site) == {n: (r["ready"], r["to"], r["reason"]) for n, r in alone.items()}
    assert [alone[n]["ready"] for n in VERSIONS] == [False, False, False, False, False, None, None, None]
    assert alone[10]["comparison"] == "c-0", "the newest whose facts still hold"
    assert alone[10]["reason"] == "baseline: 55.0 against 70.0"
    assert "R&D" in alone[12]["reason"] and "signature" in alone[14]["reason"]
    assert alone[16]["reason"] == "compare with test as it is now"


def test_the_champion_of_the_next_environment_is_said_to_be_it(site: Site) -> None:
    with site.store.write() as c:
        c.execute(
            t.champions.insert().values(
                object=NAME, env="test", version=15, revision=1, aliased=1, at="2026-01-01", by="a"
            )
        )
        c.execute(t.model_versions.update().values(detail={"signature": []}))
    assert board(site)[15] == (None, "test", "champion of test already")
    assert board(site)[16][2] == reads.readiness(site, REF, 16, "dev")["reason"]


def test_more_versions_cost_no_more_queries(site: Site) -> None:
    def asked() -> int:
        said: list[str] = []

        def note(*args: object) -> None:
            said.append(str(args[2]))

        sa.event.listen(site.store.engine, "before_cursor_execute", note)
        board(site)
        sa.event.remove(site.store.engine, "before_cursor_execute", note)
        return len([s for s in said if s.startswith("SELECT")])

    many = asked()
    with site.store.write() as c:
        c.execute(t.candidates.update().where(t.candidates.c.version > 11).values(version=None))
    assert many == asked() > 5
