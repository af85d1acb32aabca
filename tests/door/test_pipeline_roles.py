"""A pipeline is no way round the role table: it is allowed where each act that it would do now is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from esml_engine.door import access
from esml_engine.errors import NotAllowedError
from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.portfolio.pipeline import rules_of
from esml_engine.runs import records
from tests.conftest import built_once, cli

REF = "p1/m1"
ENVS = ("dev", "test", "prod")
WHO = {role: (role,) for role in access.ROLES} | {"both": ("data_engineer", "data_scientist")}
# by what is stale there: who may go until …; everything else is refused
FRESH = {u: {"both", "admin"} for u in ("gold", "trained", "test", "prod")}
GOLD_STALE = {u: {"both", "admin", "data_scientist"} for u in ("gold", "trained")}
CHANGED = "def step(tables, ctx):\n    return tables['d1']\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three environments with a file each and nothing refined; a person for each role, and one with two."""

    def build(root: Path) -> None:
        init_estate(root, list(ENVS))
        open_estate(root).new_project("p1", "team")
        open_estate(root).new_model(REF, "regression", ["d1"], label="y", key="id")
        estate = open_estate(root)
        rows = root / "a.csv"
        rows.write_text("id,x,y\n" + "".join(f"{i},{i % 17},{3 * (i % 17)}\n" for i in range(60)))
        for env in ENVS:
            estate.model(REF, env).ingest("d1", [rows], "2026-01-01")
        for name, roles in WHO.items():
            for role in roles:
                estate.member_add("estate" if role == "admin" else "p1", f"{name}@x", role)
        estate.site.store.close()

    return built_once(tmp_path_factory, "pipeline-roles", build)


@pytest.fixture
def estate(source: Path, tmp_path: Path) -> Estate:
    shutil.copytree(source, tmp_path / "estate", symlinks=True)
    return open_estate(tmp_path / "estate")


def allowed(root: Path, until: str) -> dict[str, bool]:
    """Who may, by their plan; where not, its reason names a part and who can, and a start is refused and audited."""
    found = {}
    for name in WHO:
        model = open_estate(root, act_as=f"{name}@x").model(REF)
        plan = model.plan_pipeline(until=until)
        found[name] = plan.allowed
        if not plan.allowed:
            assert f"{name}@x has" in plan.reason and " needs " in plan.reason, plan.reason
            with pytest.raises(NotAllowedError):
                model.pipeline(until=until)
            last = open_estate(root).audit(limit=1)[-1]
            assert (last["act"], last["result"], last["as"]) == ("pipeline", "refused", f"{name}@x")
    assert not records.open_runs(open_estate(root).site.store)
    return found


@pytest.mark.parametrize("until", sorted(FRESH))
def test_role_by_until_where_nothing_is_refined(estate: Estate, until: str) -> None:
    assert {n for n, ok in allowed(estate.site.root, until).items() if ok} == FRESH[until]


def test_the_reason_names_the_part_and_who_can(estate: Estate) -> None:
    error = cli(estate.site.root, "--as", "data_scientist@x", "pipeline", REF, "--until", "trained", check=3)
    said = error["error"]
    assert said["code"] == "not_allowed"
    assert said["message"].startswith("pipeline would refine: data_scientist@x has data_scientist on p1")
    assert "data_engineer" in said["message"] and error["plan"]["allowed"] is False


@pytest.mark.parametrize("until", sorted(GOLD_STALE))
def test_gold_alone_is_the_scientists_too(estate: Estate, until: str) -> None:
    root = estate.site.root
    open_estate(root, act_as="data_engineer@x").model(REF).refine()
    (root / "projects" / REF / "steps/gold.py").write_text(CHANGED)
    assert {n for n, ok in allowed(root, until).items() if ok} == GOLD_STALE[until]


def test_cancel_and_retry_are_as_for_each_act_inside(estate: Estate) -> None:
    root = estate.site.root
    (root / "projects" / REF / "steps/d1.py").write_text("def step(df, ctx):\n    raise ValueError('no')\n")
    cli(root, "pipeline", REF, "--until", "gold", check=1)
    (run,) = [r["run"] for r in cli(root, "runs")]
    (root / "projects" / REF / "steps/d1.py").unlink()
    said = cli(root, "--as", "data_scientist@x", "retry", run, check=3)["error"]
    assert "retry would refine" in said["message"]
    assert cli(root, "--as", "both@x", "retry", run)[0]["result"]["stage"] == "gold"


def test_each_part_of_a_pipeline_has_its_row_in_the_role_table() -> None:
    from esml_engine.portfolio.pipeline import _PARTS

    rules = rules_of([f"test@{part}/x" for part in _PARTS])
    assert set(rules) == {"refine", "split", "train", "promote", "score_batch"} <= set(access.RULES)
    assert rules_of(["refine/gold", "test@refine/gold"]) == ("refine_gold",)
    assert rules_of(["refine/gold", "test@refine/silver:d1"]) == ("refine",)
