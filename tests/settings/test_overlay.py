"""Overrides count leaf by leaf: a table that is set is in force, one environment's own value stays, origins are told as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esml_engine.errors import EsmlError, SettingsError
from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.refs import ModelRef
from esml_engine.store import schema as t
from esml_engine.store.database import upsert
from tests.conftest import cli
from tests.settings.test_settings import edit

NAME, REF = "p1/m1", ModelRef("p1", "m1")
FILE = "projects/p1/m1/model.toml"
Numbers = Callable[[str, int, int], Path]


@pytest.fixture
def three(tmp_path: Path) -> Estate:
    """An estate of three environments with one model."""
    init_estate(tmp_path / "e", ["dev", "test", "prod"])
    open_estate(tmp_path / "e").new_project("p1", "team")
    open_estate(tmp_path / "e").new_model(NAME, "regression", ["d1", "d2"], label="y", key="id")
    return open_estate(tmp_path / "e")


def told(estate: Estate, scope: str = NAME) -> dict[str, dict[str, Any]]:
    """What `settings` says, by key, of files and overrides as they are now."""
    return {r["key"]: r for r in open_estate(estate.site.root).settings(scope)}


def in_force(estate: Estate, env: str, of: Any = REF) -> tuple[Any, dict[str, str]]:
    return open_estate(estate.site.root).site.settings.policy(of, env)


@pytest.mark.parametrize("key", ["policy", "policy.dev"])
def test_a_policy_set_as_a_table_refuses_the_training(empty: Estate, numbers: Numbers, key: str) -> None:
    root, model = empty.site.root, empty.model(NAME)
    model.ingest("d1", [numbers("a.csv", 0, 60)], "2026-01-01")
    model.refine()
    model.split()
    assert cli(root, "train", NAME, "--dry-run")["plan"]["policy"]["verdict"] == "ok"
    said = cli(root, "set", NAME, key, "{max_cost_run = 0.000001}")
    assert (said["key"], said["value"]) == (key, {"max_cost_run": 0.000001}), "answered as it was asked"
    plan = cli(root, "train", NAME, "--dry-run")["plan"]
    assert plan["policy"]["verdict"] == "refuse" and plan["policy"]["limits"]["max_cost_run"] == 0.000001
    assert plan["policy"]["origin"].startswith("override on p1/m1 by ")
    error = cli(root, "train", NAME, check=3)["error"]
    assert "max_cost_run = 1e-06" in error["message"]
    (event,) = [e for e in empty.audit(act="set") if e["object"] == NAME]
    assert event["detail"]["value"] == {"max_cost_run": 0.000001}, "audited as it was asked"


def test_a_table_for_one_environment_is_in_force_there(three: Estate) -> None:
    root = three.site.root
    cli(root, "set", "estate", "policy.prod", '{approvals = 2, over = "ask"}')
    policy, origin = in_force(three, "prod")
    assert (policy.approvals, policy.over) == (2, "ask") and origin["approvals"].startswith(
        "override on estate"
    )
    assert in_force(three, "test")[0].approvals == 0
    row = told(three)["policy.prod.approvals (in force)"]
    assert row["value"] == told(three, "estate")["policy.prod.approvals"]["value"] == 2


def test_in_one_scope_an_environments_own_value_stays(three: Estate) -> None:
    root = three.site.root
    three.set("estate", "policy.prod.approvals", "2")
    three.set("estate", "policy.approvals", "0")
    assert in_force(three, "prod")[0].approvals == 2 and in_force(three, "test")[0].approvals == 0
    edit(root, "estate.toml", "[serving]", "[policy.test]\nmax_cost_run = 1.5\n[serving]")
    three.set("estate", "policy.max_cost_run", "4")
    policy, origin = in_force(three, "test")
    assert (policy.max_cost_run, origin["max_cost_run"]) == (1.5, "estate [test]"), "the file's own one, too"
    assert in_force(three, "prod")[0].max_cost_run == 4
    three.set("p1", "policy.max_cost_run", "3")
    policy, origin = in_force(three, "test")
    assert policy.max_cost_run == 3 and origin["max_cost_run"].startswith("override on p1 by "), (
        "narrower wins"
    )
    edit(root, "projects/p1/project.toml", "[policy]", "[policy]\nmax_nodes = 7\n")
    three.set("estate", "policy.max_nodes", "2")
    assert in_force(three, "prod")[0].max_nodes == 2, "what is set wins over the files of all scopes"


def test_a_leaf_that_was_set_keeps_its_origin_under_a_later_table(three: Estate) -> None:
    three.set(NAME, "datasets.d1.delimiter", '";"')
    three.set(NAME, "datasets.d1", '{encoding = "latin-1"}')
    three.set(NAME, "split", "{ seed = 9 }")
    three.set(NAME, "train", "{ dev = { trials = 3 } }")
    three.set(NAME, "train.dev.seconds", "6")
    three.set(NAME, "train", "{ dev = { folds = 4 } }")
    three.set(NAME, "gates.min_gain.rmse", "0.5")
    three.set(NAME, "gates", "{ min_gain = { r2 = 0.1 } }")
    rows = told(three)
    for key, value, origin in (
        ("datasets.d1.delimiter", ";", "override"),
        ("datasets.d1.encoding", "latin-1", "override"),
        ("datasets.d1.null", "", "built-in"),
        ("split.seed", 9, "override"),
        ("split.train", 0.6, "model.toml"),
        ("train.dev.trials", 3, "override"),
        ("train.dev.seconds", 6, "override"),
        ("train.dev.folds", 4, "override"),
        ("train.dev.metric", "rmse", "model.toml"),
        ("train.test.seconds", 60, "model.toml"),
        ("gates.min_gain.rmse", 0.5, "override"),
        ("gates.min_gain.r2", 0.1, "override"),
    ):
        assert (rows[key]["value"], rows[key]["origin"]) == (value, origin), key
    model = open_estate(three.site.root).site.settings.model(REF)
    assert (model.train["dev"].seconds, model.train["dev"].metric) == (6, "rmse")
    assert model.gates.min_gain == {"rmse": 0.5, "r2": 0.1} and list(model.datasets) == ["d1", "d2"]


def test_each_leaf_is_superseded_by_its_own_line_of_the_file(three: Estate) -> None:
    three.set(NAME, "split", "{ train = 0.5, validate = 0.25, test = 0.25, by = 'key' }")
    three.set(NAME, "train.dev", "{ trials = 3, seconds = 6 }")
    edit(three.site.root, FILE, "# seed = 1", "seed = 4")
    edit(three.site.root, FILE, "seconds = 15", "seconds = 20")
    rows = told(three)
    assert [rows[f"split.{k}"]["value"] for k in ("train", "validate", "test", "seed")] == [
        0.5,
        0.25,
        0.25,
        4,
    ]
    assert rows["split.train"]["origin"] == "override" and rows["split.seed"]["origin"] == "model.toml"
    assert (rows["train.dev.seconds"]["value"], rows["train.dev.trials"]["value"]) == (20, 3)
    assert (
        rows["train.dev.seconds"]["superseded"]["value"] == 6 and not rows["train.dev.trials"]["superseded"]
    )
    estate = open_estate(three.site.root)
    assert [o.key for o in estate.site.settings.superseded(NAME)] == ["train.dev.seconds"]


def test_fractions_that_the_file_changed_in_part_fall_together(three: Estate) -> None:
    """What is left of them adds up to nothing; whoever sets a key beside them is not hindered, and can set them again."""
    three.set(NAME, "split", "{ train = 0.5, validate = 0.25, test = 0.25, seed = 3 }")
    edit(three.site.root, FILE, "train = 0.6", "train = 0.7")
    edit(three.site.root, FILE, "validate = 0.2", "validate = 0.1")
    rows = told(three)
    assert [rows[f"split.{k}"]["value"] for k in ("train", "validate", "test")] == [0.7, 0.1, 0.2]
    assert rows["split.test"]["superseded"]["value"] == 0.25 and rows["split.test"]["origin"] == "model.toml"
    estate = open_estate(three.site.root)
    estate.set(NAME, "split.seed", "8")
    assert (told(three)["split.seed"]["value"], told(three)["split.test"]["value"]) == (8, 0.2)
    with pytest.raises(SettingsError, match="add up to 1"):
        estate.set(NAME, "split.train", "0.9")
    estate.set(NAME, "split", "{ train = 0.8, validate = 0.1, test = 0.1 }")
    assert (told(three)["split.seed"]["value"], told(three)["split.test"]["value"]) == (8, 0.1)


def test_an_empty_table_clears_what_was_said_in_it_until_the_file_changes(three: Estate) -> None:
    edit(three.site.root, FILE, "# min_gain = { }", "min_gain = { rmse = 0.5 }\n#")
    three = open_estate(three.site.root)
    three.set(NAME, "gates.min_gain.r2", "0.1")
    three.set(NAME, "gates.min_gain", "{}")
    row = told(three)["gates.min_gain"]
    assert (row["value"], row["origin"]) == ({}, "override") and row["by"]
    three.set(NAME, "gates.min_gain.mae", "2")
    assert open_estate(three.site.root).site.settings.model(REF).gates.min_gain == {"mae": 2}
    edit(three.site.root, FILE, "min_gain = { rmse = 0.5 }", "min_gain = { rmse = 0.7 }")
    assert open_estate(three.site.root).site.settings.model(REF).gates.min_gain == {"rmse": 0.7, "mae": 2}
    row = told(three)["gates.min_gain.rmse"]
    assert (row["value"], row["origin"]) == (0.7, "model.toml") and row["superseded"]["value"] == {}
    three.set(NAME, "split", "{}")
    row = told(three)["split.train"]
    assert row["value"] == 0.6 and row["origin"] == "override", "the built-in counts since somebody said so"


def test_a_superseded_value_is_shown_also_where_the_file_names_the_key_no_more(three: Estate) -> None:
    edit(three.site.root, FILE, "# min_gain = { }", "min_gain = { rmse = 0.5 }\n#")
    open_estate(three.site.root).set(NAME, "gates.min_gain.rmse", "0.1")
    edit(three.site.root, FILE, "min_gain = { rmse = 0.5 }\n", "")
    row = told(three)["gates.min_gain.rmse"]
    assert row["value"] is None and row["superseded"]["value"] == 0.1 and row["superseded"]["by"]
    assert open_estate(three.site.root).site.settings.model(REF).gates.min_gain == {}


def test_tables_that_were_stored_whole_still_count(three: Estate) -> None:
    """As overrides were kept before: one row a key, with the table of the file that it replaced."""
    old = [
        (
            "split",
            {"train": 0.5, "validate": 0.25, "test": 0.25},
            {"train": 0.6, "validate": 0.2, "test": 0.2},
        ),
        ("policy.prod", {"approvals": 2, "max_nodes": 3}, None),
        ("train", {"dev": {"trials": 3}}, None),
    ]
    for key, value, replaced in old:
        row = {
            "scope": NAME,
            "key": key,
            "value": value,
            "replaced": replaced,
            "by": "li",
            "at": "2026-01-01",
        }
        with three.site.store.write() as c:
            upsert(c, t.overrides, row)
    assert told(three)["split.train"]["value"] == 0.5 and told(three)["split.train"]["by"] == "li"
    assert in_force(three, "prod")[0].approvals == 2
    assert told(three)["train.dev.trials"]["value"] == 20, "the file said something else than it remembered"
    open_estate(three.site.root).set(NAME, "policy.prod.approvals", "1")
    assert (in_force(three, "prod")[0].approvals, in_force(three, "prod")[0].max_nodes) == (1, 3)
    open_estate(three.site.root).set(NAME, "policy", "{ prod = { max_nodes = 4 } }")
    assert (in_force(three, "prod")[0].approvals, in_force(three, "prod")[0].max_nodes) == (1, 4)


def test_a_table_keeps_who_set_which_of_its_leaves(three: Estate) -> None:
    three.member_add("estate", "anna", "admin")
    three.set(NAME, "split", "{ seed = 9 }")
    anna = open_estate(three.site.root, act_as="anna")
    plan = anna.set(NAME, "split", "{ seed = 8 , by = 'key' }", dry_run=True)
    assert "set split.seed to 9" in plan.draft.will[0], "whose value it takes the place of is said before"
    anna.set(NAME, "split", "{ by = 'key' }")
    rows = told(three)
    assert rows["split.by"]["by"] == "anna" and rows["split.seed"]["by"] not in ("anna", None)
    with pytest.raises(EsmlError, match=r"changed|stale"):
        three.set(NAME, "split.seed", "7")
        anna.set(NAME, "split", "{ seed = 8 , by = 'key' }", plan=plan)


def test_names_that_hold_dots_are_one_name(three: Estate) -> None:
    three.set("estate", "prices.local.small", "0.3")
    three.set("estate", "prices", '{ "local.large" = 0.5, as_of = 2026-12-01 }')
    rows = told(three, "estate")
    found = [rows[f"prices.{k}"] for k in ("local.small", "local.large", "as_of")]
    assert [(r["value"], r["origin"]) for r in found] == [
        (0.3, "override"), (0.5, "override"), ("2026-12-01", "override"),
    ]  # fmt: skip
    three.set(NAME, "datasets.d1.types.a.b", "int64")
    assert open_estate(three.site.root).site.settings.model(REF).datasets["d1"].types == {"a.b": "int64"}


def test_a_budget_is_the_project_managers_also_as_a_table(three: Estate) -> None:
    three.member_add("p1", "mia", "project_manager")
    mia = open_estate(three.site.root, act_as="mia")
    mia.set("p1", "budget", "{ month = 7 }")
    assert told(three, "p1")["budget.month"]["value"] == 7
    with pytest.raises(EsmlError, match="set needs admin"):
        mia.set("p1", "policy", "{ max_nodes = 9 }")


@pytest.mark.parametrize(
    ("old", "new", "says", "hint"),
    [
        ("name =", "nam =", "estate.toml: unknown key 'nam'", "did you mean 'name'?"),
        ("name =", "# name =", "estate.toml: name: Field required", "add 'name' in estate.toml"),
        (
            '"local.small" = 0.10',
            '"local.small" = -1.5',
            "estate.toml: prices.local.small: it is a price per node hour from 0, not -1.5",
            "correct 'prices.local.small' in estate.toml",
        ),
    ],
)
def test_a_wrong_line_of_the_estate_is_named(empty: Estate, old: str, new: str, says: str, hint: str) -> None:
    edit(empty.site.root, "estate.toml", old, new)
    error = cli(empty.site.root, "status", check=2)["error"]
    assert (error["message"], error["hint"]) == (says, hint)


def test_a_byte_order_mark_before_a_settings_file_is_passed_over(empty: Estate) -> None:
    for path in ("estate.toml", "projects/p1/project.toml", FILE):
        file = empty.site.root / path
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert cli(empty.site.root, "status")[0]["model"] == NAME
