"""What settings, names and calls are refused at the edge, with where and what to do, before anything is kept."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from esml_engine import templates
from esml_engine.door.site import Site
from esml_engine.errors import EsmlError, SettingsError, UsageError
from esml_engine.estate import Estate, open_estate
from esml_engine.refs import ModelRef, check_name
from esml_engine.training import acts
from tests.conftest import cli

NAME = "p1/m1"
Numbers = Callable[[str, int, int], Path]


def toml(estate: Estate) -> Path:
    return estate.site.root / "projects" / NAME / "model.toml"


def test_a_name_that_is_none_is_said_with_its_file_and_stops_only_its_own(empty: Estate) -> None:
    root = empty.site.root
    (root / "projects/p1/Bad Model").mkdir()
    (root / "projects/p1/Bad Model/model.toml").write_text('task = "analytics"\n[datasets.d1]\n')
    with pytest.raises(SettingsError, match=r"Bad Model/model\.toml: its folder"):
        Site(root)
    site = Site(root, lenient=True)
    assert [str(m) for m in site.settings.models()] == [NAME] and list(site.files.broken) == ["p1/Bad Model"]
    wrong = next(r for r in cli(root, "doctor") if r["part"] == "settings")
    assert not wrong["ok"] and "Bad Model" in wrong["message"]
    (root / "projects/p1/Bad Model/model.toml").unlink()
    toml(empty).write_text(toml(empty).read_text() + '[datasets."D 1"]\n')
    with pytest.raises(SettingsError, match=r"p1/m1/model\.toml.*'D 1' is not a valid name"):
        Site(root)


@pytest.mark.parametrize("name", ["gold", "inference", "train", "to_score"])
def test_a_dataset_takes_no_name_of_the_lakes_own(empty: Estate, name: str) -> None:
    with pytest.raises(UsageError, match="the lake's own"):
        check_name(name, "dataset")
    with pytest.raises(EsmlError, match="the lake's own"):
        empty.new_model("p1/m2", "analytics", [name])


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("datasets.d9.format", "csv", "no dataset 'd9', did you mean 'd1'"),
        ("datasets.Typo X.format", "csv", "no dataset 'Typo X'"),
        ("split.seed", "100000000000000000000000", "split.seed"),
        ("train.dev.seed", "-1", "seed"),
        ("gates.floor.rmse", "3", "bound it by ceiling"),
        ("gates.ceiling.r2", "0.3", "bound it by floor"),
    ],
)
def test_an_override_that_no_run_could_use_is_not_kept(
    empty: Estate, key: str, value: str, says: str
) -> None:
    with pytest.raises(SettingsError) as e:
        empty.set(NAME, key, value)
    assert says in e.value.message
    assert open_estate(empty.site.root).status(NAME)


def test_who_names_a_group_splits_by_it(empty: Estate, tmp_path: Path) -> None:
    rows = "\n".join(f"{i},{i % 12},{i}" for i in range(240))
    (tmp_path / "a.csv").write_text(f"id,x,y\n{rows}\n")
    model = empty.model(NAME)
    model.ingest("d1", tmp_path / "a.csv", dt.date(2026, 1, 1))
    model.refine()
    empty.set(NAME, "split.group", "x")
    model = open_estate(empty.site.root).model(NAME)
    model.split()
    sides = [set(model.table(f"gold_{s}").read()["x"]) for s in ("train", "validate", "test")]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    assert model.plan_split(by="key").draft.will[0].endswith("by key"), "said for once, another way"
    empty.set(NAME, "split", "{ train = 0.8, validate = 0.1, test = 0.1 }")
    model = open_estate(empty.site.root).model(NAME)
    assert model.plan_split().draft.will[0].endswith("0.8 / 0.1 / 0.1 by group"), "a table says what it names"
    empty.set(NAME, "split", "{ seed = 9 }")
    split = open_estate(empty.site.root).site.settings.model(ModelRef.parse(NAME)).split
    assert (split.seed, split.train, split.by) == (9, 0.8, "group"), (
        "so it does after another table that was set"
    )
    with pytest.raises(EsmlError, match=r"gold_(validate|test) empty: no group fell there|gold_train empty"):
        model.split(train=0.98, validate=0.01, test=0.01)
    with pytest.raises(UsageError, match="can't take seed"):
        model.split(seed=-1)
    with pytest.raises(UsageError, match="can't keep the groups"):
        model.split(by="time", group="x")
    with pytest.raises(SettingsError, match="group is for by"):
        empty.set(NAME, "split.by", "key")


def test_the_sdk_refuses_what_the_command_line_refuses(empty: Estate, numbers: Numbers) -> None:
    model, file = empty.model(NAME), numbers("a.csv", 0, 40)
    for purpose in ("predict", None, ""):
        for act in (
            lambda p=purpose: model.ingest("d1", file, "2026-01-01", p),
            lambda p=purpose: model.refine(purpose=p),
            lambda p=purpose: model.pipeline(purpose=p),
        ):
            with pytest.raises(UsageError, match="no purpose"):
                act()
    for files in (None, b"", [5]):
        with pytest.raises(UsageError, match="no file to deliver"):
            model.ingest("d1", files, "2026-01-01")
    for wrong in ({"model_version": "x"}, {"model_version": 1.5}, {"caller": 5}):
        with pytest.raises(UsageError, match="can't be"):
            model.scored(**wrong)
    for wrong in ({"limit": "a"}, {"offset": 1.5}, {"limit": True}):
        with pytest.raises(UsageError, match="can't be"):
            model.scored(**wrong).to_pandas()
    with pytest.raises(UsageError, match="neither a date nor a time"):
        model.scored(since=5).document()
    with pytest.raises(UsageError, match="a version can't be 'v2'"):
        model.table("gold").read(version="v2")
    with pytest.raises(UsageError, match="is not a model"):
        empty.model(5)
    assert open_estate(empty.site.root).runs() == []
    model.ingest("d1", str(file), dt.datetime(2026, 1, 1, 9, 30))
    assert "there is no bronze yet" in model.plan_refine(layer="silver").draft.nothing_to_do
    model.refine()
    model.split()
    steps = empty.site.root / "projects" / NAME / "steps"
    steps.mkdir(exist_ok=True)
    for ext, text in (("py", "def step(df, ctx):\n    return df\n"), ("sql", "SELECT * FROM input")):
        (steps / f"d1.{ext}").write_text(text)
    with pytest.raises(SettingsError, match=r"both steps/d1\.py and steps/d1\.sql"):
        model.plan_refine()
    (steps / "d1.py").unlink()
    (steps / "d1.sql").unlink()
    for budget in ("a", 0, True, float("nan")):
        with pytest.raises(UsageError, match="seconds above 0"):
            model.train(budget=budget)
    model.split(train=0.8, validate=0.2, test=0.0)
    with pytest.raises(UsageError, match="is empty: no model"):
        model.train()
    model.split()
    empty.set(NAME, "label", "no_such")
    with pytest.raises(UsageError, match="no column 'no_such'"):
        open_estate(empty.site.root).model(NAME).train()


@pytest.mark.parametrize("text", ['R&D "north"', "back\\slash", "tab\there", "two\nlines", "Ü 漢"])
def test_written_settings_hold_any_text(tmp_path: Path, text: str) -> None:
    raw = tomllib.loads(templates.project_toml(text, text, text, "low"))
    assert (raw["team"], raw["owner"], raw["contact"]) == (text, text, text)
    params = {"task": "regression", "label": text, "key": text, "datasets": ["d1"]}
    assert tomllib.loads(templates.model_toml(params, ["dev"]))["label"] == text
    assert tomllib.loads(templates.estate_toml(text, ["dev"]))["name"] == text


def test_an_expectation_added_later_is_asked_of_the_bronze_that_stands(
    empty: Estate, numbers: Numbers
) -> None:
    model = empty.model(NAME)
    model.ingest("d1", numbers("a.csv", 0, 40), "2026-01-01")
    model.refine()
    more = '[[datasets.d1.expect]]\non = "bronze"\ncheck = "in_set"\ncolumn = "x"\nvalues = [2026-01-01, 1]\nlevel = "warn"\n'
    toml(empty).write_text(toml(empty).read_text() + more)
    model = open_estate(empty.site.root).model(NAME)
    plan = model.plan_refine()
    assert "all anew: settings expect other things of bronze" in plan.draft.will[0]
    said = model.refine()
    assert said["layers"][0]["version"] == 2 and said["layers"][0]["warnings"]
    assert model.plan_refine().draft.nothing_to_do


def test_the_sdk_sets_what_python_has(empty: Estate) -> None:
    for key, value, text in (
        ("split", {"seed": 9, "by": "key"}, '{"seed" = 9, "by" = "key"}'),
        ("budget.month", 12.5, "12.5"),
        ("rnd.dev", True, "true"),
        ("rnd.dev", "false", "false"),
    ):
        assert templates.as_toml(value) == text
        scope = NAME if key != "budget.month" else "p1"
        said = empty.set(scope, key, value)
        assert said["value"] == tomllib.loads(f"v = {text}")["v"]
    assert templates.as_toml(["a", dt.date(2026, 11, 1), 'say "no"']) == '["a", 2026-11-01, "say \\"no\\""]'
    for wrong in (None, object(), [None]):
        with pytest.raises(UsageError, match="a setting can't be") as e:
            empty.set(NAME, "split.seed", wrong)
        assert "a number" in str(e.value.hint)


def test_a_project_whose_own_file_is_gone_is_said_and_stops_only_itself(empty: Estate) -> None:
    root = empty.site.root
    (root / "projects/p1/project.toml").unlink()
    with pytest.raises(SettingsError, match=r"p1/project\.toml is missing, and models lie beside it"):
        Site(root)
    site = Site(root, lenient=True)
    assert not site.settings.models()
    with pytest.raises(SettingsError, match="is missing"):
        site.files.raw(NAME)
    (root / "projects/notes").mkdir()
    assert list(Site(root, lenient=True).files.broken) == ["p1"], "a folder without models is no project"


def test_a_split_by_time_needs_a_column_with_an_order(empty: Estate, tmp_path: Path) -> None:
    rows = "\n".join(f"{i},2026-01-{1 + i % 28:02d},g{i % 3},{i}" for i in range(60))
    (tmp_path / "a.csv").write_text(f"id,day,grp,y\n{rows}\n")
    empty.model(NAME).ingest("d1", tmp_path / "a.csv", dt.date(2026, 1, 1))
    empty.model(NAME).refine()
    for column, says in (
        ("grp", "is string: a split by time needs"),
        ("nope", "no column 'nope'.*forecast.time_column"),
    ):
        empty.set(NAME, "forecast.time_column", column)
        with pytest.raises(UsageError, match=says):
            open_estate(empty.site.root).model(NAME).plan_split(by="time")
    empty.set(NAME, "forecast.time_column", "day")
    model = open_estate(empty.site.root).model(NAME)
    model.split(by="time")
    assert model.gold_train.read()["day"].max() < model.gold_test.read()["day"].min()
    (tmp_path / "b.csv").write_text(
        "id,day,grp,y\n" + "\n".join(f"{100 + i},2025-12-24,g,1" for i in range(60)) + "\n"
    )
    model.ingest("d1", tmp_path / "b.csv", dt.date(2026, 1, 2))
    before = set(model.gold_train.read()["id"])
    model.refine()
    assert "never back" in model.plan_split(by="time").draft.will[1]
    model.split(by="time")
    assert before <= set(model.gold_train.read()["id"])


def test_a_search_that_is_not_installed_is_said_before_a_run(
    empty: Estate, numbers: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.model(NAME).ingest("d1", numbers("a.csv", 0, 60), "2026-01-01")
    empty.model(NAME).refine()
    empty.model(NAME).split()
    empty.set(NAME, "train.dev.search", "flaml")
    monkeypatch.setattr(acts, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs the package flaml"):
        open_estate(empty.site.root).model(NAME).plan_train()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("train.dev.metric", "foo", "no task has a metric 'foo'"),
        ("train.dev.metric", "auc", "regression has no metric 'auc'"),
        ("train.dev.estimators", '["lightgmb"]', "no estimator 'lightgmb', did you mean 'lightgbm'"),
        ("train.dev.estimators", '["linear", "theta"]', "'theta' is not for regression"),
        ("train.dev.estimators", "[]", "at least 1"),
    ],
)
def test_a_training_that_could_only_fail_is_not_set(empty: Estate, key: str, value: str, says: str) -> None:
    said = cli(empty.site.root, "set", NAME, key, value, check=2)["error"]
    assert says in said["message"] and key.split(".")[-1] in said["message"]
