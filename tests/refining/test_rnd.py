"""R&D mode: a fifth of IN by key, one version kept, and back again whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.errors import NotFoundError, UsageError
from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.lake.deliveries import loaded
from tests.invariants import violations
from tests.working import until

MODEL = "p1/m1"


def deliver(estate: Estate, numbers, first: int, last: int, name: str) -> None:
    estate.model(MODEL).dataset("d1").ingest(numbers(name, first, last), date="2026-01-01")


def fresh(estate: Estate) -> Estate:
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
    assert model.plan_refine().document()["irreversible"] == [], "the whole version stays"
    model.refine()
    sample = ids(fresh(empty), "gold")
    assert sample < everything and 0.12 < len(sample) / 400 < 0.28
    bronze = model.table("d1/bronze").versions()
    assert [v["version"] for v in bronze] == [2, 1]

    model.split()
    deliver(fresh(empty), numbers, 400, 600, "b.csv")
    goes = "d1/bronze v2 is removed when v3 stands: R&D mode keeps one version"
    assert goes in model.plan_refine().document()["irreversible"]
    assert {goes, "gold_train v1 is removed when v2 stands: R&D mode keeps one version"} <= set(
        model.plan_pipeline().document()["irreversible"]
    )
    model.refine()
    behind = {n["name"]: n for n in model.lineage(table="gold_train")["nodes"]}
    assert behind["gold"]["gone"] and "gone" not in behind["gold_train"]
    bronze = model.table("d1/bronze").versions()
    assert [v["version"] for v in bronze] == [3, 1]  # one R&D version, and what was made before it
    assert violations(empty.site.root) == []
    more = ids(fresh(empty), "gold")
    assert sample < more and {i for i in more if i < 400} == sample
    folder = Path(empty.site.platform("dev").lake_root()) / f"projects/{MODEL}/train/gold"
    assert len(list(folder.glob("*.parquet"))) == 2  # the whole version and the one sample
    assert any(
        g.startswith("gold_train v1 is removed") for g in model.plan_split().document()["irreversible"]
    )
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


def test_an_endpoint_keeps_answers_by_the_mode_of_the_moment(empty: Estate, numbers) -> None:
    path = empty.site.root / "projects" / MODEL / "model.toml"
    path.write_text(path.read_text().replace("[train.dev]", '[train.dev]\nestimators = ["linear"]', 1))
    model = fresh(empty).model(MODEL)
    model.ingest("d1", [numbers("a.csv", 0, 90)], "2026-01-01")
    rows = {"x": [3]}
    with model.estate.hand.holding(warm=True):
        for act in (model.refine, model.split, model.train, model.deploy):
            act()

        def kept() -> bool:
            """Whether one more answer is one more row."""
            before = model.scored(count_only=True).document()["total"]
            model.score(rows, caller="c")
            return bool(model.scored(count_only=True).document()["total"] > before)

        assert kept()
        model.estate.set(MODEL, "rnd.dev", "true")
        until(lambda: not kept(), "an endpoint of R&D mode keeps none")
        assert not kept()
        model.estate.set(MODEL, "rnd.dev", "false")
        until(kept, "it keeps them again")


@pytest.fixture
def two_envs(tmp_path: Path, numbers) -> Estate:
    """dev in R&D mode and test whole, with the same rows in each."""
    root = tmp_path / "two"
    init_estate(root, ["dev", "test"])
    open_estate(root).new_project("p1", "team")
    open_estate(root).new_model(MODEL, "regression", ["d1"], label="y", key="id")
    path = root / "projects" / MODEL / "model.toml"
    text = path.read_text()
    quick = 'seconds = 60\ntrials = 1\nfolds = 2\nestimators = ["linear"]'
    assert text.count("trials = 20\nfolds = 5") == 2
    path.write_text(text.replace("seconds = 15\ntrials = 20\nfolds = 5", quick))
    estate = open_estate(root)
    estate.set(MODEL, "rnd.dev", "true")
    estate = open_estate(root)
    for env in ("dev", "test"):
        model = estate.model(MODEL, env)
        model.ingest("d1", [numbers(f"{env}.csv", 0, 600)], "2026-01-01")
        model.refine()
        model.split()
    return estate


def test_what_rnd_mode_trained_is_no_champion_and_not_promotable(two_envs: Estate, numbers) -> None:
    from esml_engine.errors import RefusedError
    from esml_engine.store import schema as t
    from esml_engine.training import records

    model = two_envs.model(MODEL)
    assert model.train()["model_version"] == 1
    store = two_envs.site.store
    version = records.get_version(store, model.ref, "dev", 1)
    assert version["rnd"] is True
    # first of its environment and better than the baseline: still a challenger
    assert version["metrics"]["rmse"] < version["baseline"]["rmse"]
    assert records.champion(store, model.ref, "dev") is None
    mine = next(r for r in model.leaderboard("dev") if r["model_version"] == 1)
    assert mine["alias"] != "champion" and mine["ready"] is False and "R&D" in mine["ready_reason"]

    compared = model.compare("test", 1)
    gates = {g["gate"]: g for g in compared["gates"]}
    assert compared["verdict"] == "refuse" and not gates["rnd"]["passed"] and "R&D" in gates["rnd"]["reason"]
    with pytest.raises(RefusedError, match="rnd: ") as e:
        model.promote("test", 1)
    assert e.value.exit_code == 3 and e.value.document()["state"] == "refused"
    assert records.champion(store, model.ref, "test") is None
    assert records.versions(store, model.ref, "test") == []
    for ask in (model.plan_deploy, lambda: model.plan_promote("test")):
        with pytest.raises(NotFoundError, match="no champion in dev") as said:
            ask()
        assert "rnd.dev false" in said.value.hint

    # of an older one, whose tables are not kept, R&D mode is still the reason
    model.ingest("d1", [numbers("more.csv", 600, 700)], "2026-01-02")
    assert model.pipeline()["model_version"] == 2
    reasons = {r["model_version"]: r["ready_reason"] for r in model.leaderboard("dev") if r["model_version"]}
    assert "R&D" in reasons[1] and "R&D" in reasons[2]

    # switched off, its version stays what it is
    two_envs.set(MODEL, "rnd.dev", "false")
    with pytest.raises(RefusedError, match="rnd: "):
        fresh(two_envs).model(MODEL).promote("test", 1)

    # a whole one of the same model is champion at once
    assert store.rows(t.pins.select().where(t.pins.c.env == "dev")) == []
    model = fresh(two_envs).model(MODEL)
    model.refine()
    model.split()
    assert model.train()["model_version"] == 3
    champion = records.champion(store, model.ref, "dev")
    assert champion is not None and champion["version"] == 3
    assert store.rows(t.pins.select().where(t.pins.c.env == "dev")) != []


def test_a_version_trained_in_rnd_mode_holds_on_to_no_table(two_envs: Estate, numbers) -> None:
    model = two_envs.model(MODEL)
    model.train()
    root = Path(two_envs.site.platform("dev").lake_root()) / f"projects/{MODEL}/train"
    tables = ("gold", "gold_train", "gold_validate", "gold_test")
    before = {n: {p.name for p in (root / n).glob("*.parquet")} for n in tables}
    assert all(before.values())
    model.ingest("d1", [numbers("more.csv", 600, 900)], "2026-02-01")
    model.refine()
    model.split()
    for n in tables:
        files = {p.name for p in (root / n).glob("*.parquet")}
        assert files and not files & before[n], f"{n}: the sample that v1 was trained on is gone"
        assert len(model.table(n).versions()) == 1
    # and the registered version is still one that can be looked at
    assert model.leaderboard("dev")[0]["model_version"] == 1
    back = model.lineage("gold")
    assert back["nodes"]


def test_quarantine_is_that_of_the_rows_that_were_read(empty: Estate, numbers) -> None:
    """Whole, as a sample without a broken row, as one with some, and whole again: always rows in = bronze + quarantine."""
    from esml_engine.lake.landing import sampled

    broken = {i: f"{i},{i % 17},not a number" for i in (next(i for i in range(400) if not sampled(str(i))),)}
    path = numbers("a.csv", 0, 400)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(broken.get(n - 1, line) for n, line in enumerate(lines)) + "\n")
    empty.model(MODEL).dataset("d1").ingest(path, date="2026-01-01")

    def refined() -> tuple[int, int, int]:
        """Rows of IN, of bronze and of quarantine, as the store counts them and as they are read."""
        model = fresh(empty).model(MODEL)
        said = model.refine()["layers"][0]
        kept = model.dataset("d1").quarantine()
        bronze = model.table("d1/bronze").read()
        assert (said["rows"], said["quarantined"]) == (len(bronze), len(kept))
        files = loaded(model.estate.site.store, model.ref, "dev", "d1", "train").values()
        assert sum(f.rows_in for f in files) == len(bronze) + len(kept)
        return sum(f.rows_in for f in files), len(bronze), len(kept)

    assert refined() == (400, 399, 1)
    empty.set(MODEL, "rnd.dev", "true")
    rows, bronze, kept = refined()
    assert rows == bronze < 120 and kept == 0, "the broken row is not of the sample"
    more = numbers("b.csv", 400, 600)
    one = next(i for i in range(400, 600) if sampled(str(i)))
    lines = more.read_text().splitlines()
    more.write_text("\n".join(f"{one},1,broken" if x.startswith(f"{one},") else x for x in lines) + "\n")
    fresh(empty).model(MODEL).dataset("d1").ingest(more, date="2026-01-02")
    rows, bronze, kept = refined()
    assert kept == 1 and rows == bronze + 1
    numbers_of_it = fresh(empty).model(MODEL).table("d1/quarantine").versions()
    fresh(empty).catalogue_rebuild()
    assert fresh(empty).model(MODEL).table("d1/quarantine").versions() == numbers_of_it
    empty.set(MODEL, "rnd.dev", "false")
    assert refined() == (600, 598, 2)
    kept = fresh(empty).model(MODEL).dataset("d1")
    beside = {v["version"]: len(kept.quarantine(bronze=v["version"])) for v in kept.bronze.versions()}
    assert beside == {1: 1, 3: 1, 4: 2}, "each version of bronze that is kept has its own"
