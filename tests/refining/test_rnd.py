"""R&D mode: a fifth of IN by key, one version kept, and back again whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.errors import UsageError
from esml_engine.estate import Estate

MODEL = "p1/m1"


def deliver(estate: Estate, numbers, first: int, last: int, name: str) -> None:
    estate.model(MODEL).dataset("d1").ingest(numbers(name, first, last), date="2026-01-01")


def fresh(estate: Estate) -> Estate:
    from esml_engine.estate import open_estate

    return open_estate(estate.site.root)


def ids(estate: Estate, table: str) -> set[int]:
    return set(estate.model(MODEL).table(table).read()["id"].tolist())


def test_a_sample_by_key_one_version_and_whole_again(empty: Estate, numbers) -> None:
    deliver(empty, numbers, 0, 400, "a.csv")
    empty.model(MODEL).refine()
    everything = ids(empty, "gold")
    assert len(everything) == 400
    empty.set(MODEL, "rnd.dev", "true")
    model = fresh(empty).model(MODEL)
    model.refine()
    sample = ids(fresh(empty), "gold")
    assert sample < everything and 0.12 < len(sample) / 400 < 0.28
    bronze = model.table("d1/bronze").versions()
    assert [v["version"] for v in bronze] == [2, 1]

    deliver(fresh(empty), numbers, 400, 600, "b.csv")
    model.refine()
    bronze = model.table("d1/bronze").versions()
    assert [v["version"] for v in bronze] == [3, 1]  # one R&D version, and what was made before it
    more = ids(fresh(empty), "gold")
    assert sample < more and {i for i in more if i < 400} == sample
    folder = Path(empty.site.platform("dev").lake_root()) / f"projects/{MODEL}/train/gold"
    assert len(list(folder.glob("*.parquet"))) == 2  # the whole version and the one sample
    assert model.split()["tables"]["gold_train"]["rows"] < len(more)
    assert len(model.table("gold").read(version=1)) == 400
    before = model.table("gold").versions()
    fresh(empty).catalogue_rebuild()
    assert model.table("gold").versions() == before

    empty.set(MODEL, "rnd.dev", "false")
    model.refine()
    assert ids(fresh(empty), "gold") == set(range(600))
    assert not model.plan_refine().draft.steps


def test_rnd_keeps_no_scored_rows(empty: Estate, numbers) -> None:
    empty.set(MODEL, "rnd.dev", "true")
    with pytest.raises(UsageError, match="R&D mode"):
        fresh(empty).model(MODEL).score_batch()
