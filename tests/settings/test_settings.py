"""Settings: unknown keys with the nearest, effective values with origins, superseded overrides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from esml_engine.errors import EsmlError, NotFoundError, SettingsError, UsageError
from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.refs import ModelRef
from esml_engine.settings import dig


def edit(root: Path, name: str, old: str, new: str) -> None:
    path = root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "line", "key", "near"),
    [
        ("estate.toml", "currencyy = 1\n", "currencyy", "currency"),
        ("projects/p1/project.toml", "ownr = 'x'\n", "ownr", "owner"),
        ("projects/p1/m1/model.toml", "lable = 'x'\n", "lable", "label"),
    ],
)
def test_an_unknown_key_is_named_with_file_and_the_nearest(
    empty: Estate, name: str, line: str, key: str, near: str
) -> None:
    path = empty.site.root / name
    path.write_text(line + path.read_text())
    with pytest.raises(SettingsError) as e:
        open_estate(empty.site.root)
    assert Path(name).name in e.value.message and key in e.value.message and near in e.value.hint


def test_an_unknown_key_deep_inside(empty: Estate) -> None:
    edit(empty.site.root, "projects/p1/m1/model.toml", "[split]\n", "[split]\nsead = 2\n")
    with pytest.raises(SettingsError, match=r"split\.sead") as e:
        open_estate(empty.site.root)
    assert "split.seed" in e.value.hint


def test_an_unknown_policy_key_and_a_wrong_value(empty: Estate) -> None:
    edit(empty.site.root, "estate.toml", "[policy]", "[policy]\nmax_cost = 3")
    with pytest.raises(SettingsError) as e:
        open_estate(empty.site.root)
    assert "policy.max_cost" in e.value.message and "max_cost" in e.value.hint
    edit(empty.site.root, "estate.toml", "max_cost = 3", "max_nodes = 0")
    with pytest.raises(SettingsError, match="max_nodes"):
        open_estate(empty.site.root)


def test_fractions_must_add_up(empty: Estate) -> None:
    edit(empty.site.root, "projects/p1/m1/model.toml", "train = 0.6", "train = 0.7")
    with pytest.raises(SettingsError, match="add up to 1"):
        open_estate(empty.site.root)


def test_policy_layers_and_origins(empty: Estate) -> None:
    root, ref = empty.site.root, ModelRef("p1", "m1")
    edit(root, "estate.toml", "# max_cost_run = 5.0", "max_cost_run = 4.0")
    edit(
        root,
        "projects/p1/project.toml",
        "[policy]",
        "[policy]\nmax_cost_month = 50.0\n[policy.dev]\nmax_cost_run = 3.0\n#",
    )
    estate = open_estate(root)
    policy, origin = estate.site.settings.policy(ref, "dev")
    assert (policy.max_cost_run, origin["max_cost_run"]) == (3.0, "p1 [dev]")
    assert (policy.max_cost_month, origin["max_cost_month"]) == (50.0, "p1")
    assert origin["max_nodes"] == "built-in"
    estate.set("p1/m1", "policy.max_cost_run", "2.5")
    policy, origin = estate.site.settings.policy(ref, "dev")
    assert policy.max_cost_run == 2.5 and origin["max_cost_run"].startswith("override on p1/m1 by ")


def test_an_override_is_superseded_when_the_file_changes(empty: Estate) -> None:
    root = empty.site.root
    empty.set("p1", "risk", "high")
    row = next(r for r in empty.settings("p1") if r["key"] == "risk")
    assert row["value"] == "high" and row["origin"] == "override" and row["by"] and row["at"]
    edit(root, "projects/p1/project.toml", 'risk = "medium"', 'risk = "low"')
    row = next(r for r in open_estate(root).settings("p1") if r["key"] == "risk")
    assert row["value"] == "low" and row["origin"] == "project.toml" and row["superseded"]["value"] == "high"


def test_a_wrong_override_changes_nothing(empty: Estate) -> None:
    with pytest.raises(SettingsError):
        empty.set("p1", "risk", "enormous")
    with pytest.raises(SettingsError, match="bugdet"):
        empty.set("p1", "bugdet.month", "3")
    with pytest.raises(NotFoundError):
        empty.set("p7", "risk", "low")
    assert all(r["origin"] != "override" for r in empty.settings("p1"))


def test_estates_of_one_and_of_three_environments(tmp_path: Path) -> None:
    assert init_estate(tmp_path / "a", ["dev"])["environments"] == ["dev"]
    assert init_estate(tmp_path / "b", ["prod", "dev", "test"])["environments"] == ["dev", "test", "prod"]
    assert open_estate(tmp_path / "a").environments == ("dev",)
    with pytest.raises(UsageError):
        init_estate(tmp_path / "a")
    with pytest.raises(UsageError):
        init_estate(tmp_path / "c", ["moon"])
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="no estate can be made at"):
        init_estate(tmp_path / "file")
    with pytest.raises(NotFoundError):
        open_estate(tmp_path / "none")


def test_names_are_checked_at_one_place(empty: Estate) -> None:
    for bad in ("../x", "A", "x", "a b", "a/b", "1a", "x" * 41):
        with pytest.raises(UsageError):
            empty.new_project(bad, "t")


def test_dig_finds_price_names_with_dots() -> None:
    assert dig({"prices": {"local.small": 0.1}}, "prices.local.small") == 0.1
    assert dig({"a": {"b": {"c": 1}}}, "a.b.c") == 1
    assert dig({"a": 1}, "a.b") is None


def test_the_metric_alone_is_the_one_of_the_profile(tmp_path: Path) -> None:
    init_estate(tmp_path / "e", ["dev", "test"])
    open_estate(tmp_path / "e").new_project("p1", "team")
    open_estate(tmp_path / "e").new_model("p1/m1", "regression", ["d1"], label="y", key="id")
    path, ref = tmp_path / "e/projects/p1/m1/model.toml", ModelRef("p1", "m1")
    path.write_text(path.read_text().replace('metric = "rmse"', 'metric = "mae"', 1))
    for text in (path.read_text(), path.read_text().replace('metric = "mae"\n', "")):
        path.write_text(text)
        settings = open_estate(tmp_path / "e").site.settings
        said = [settings.metric(ref, e) for e in ("dev", "test")]
        assert said == [settings.profile(ref, e).metric for e in ("dev", "test")]
    assert said == ["rmse", "rmse"] and 'metric = "mae"' not in path.read_text()


@pytest.mark.parametrize(
    "line,says",
    [
        ('"local.small" = -3', "price per node hour from 0"),
        ('"local.small" = "cheap"', "price per node hour from 0"),
        ('as_of = "yesterday"', "is a date"),
    ],
)
def test_prices_are_checked(tmp_path: Path, line: str, says: str) -> None:
    init_estate(tmp_path / "e", ["dev"])
    path = tmp_path / "e" / "estate.toml"
    head = line.partition(" =")[0]
    kept = [x for x in path.read_text(encoding="utf-8").splitlines() if not x.startswith(head)]
    at = next(n for n, x in enumerate(kept) if x.startswith("[prices]"))
    kept.insert(at + 1, line)
    path.write_text("\n".join(kept), encoding="utf-8")
    with pytest.raises(SettingsError, match=says):
        open_estate(tmp_path / "e")


def test_a_wrong_file_is_named_with_its_place(tmp_path: Path) -> None:
    init_estate(tmp_path / "e", ["dev"])
    estate = open_estate(tmp_path / "e")
    estate.new_project("p1", "team")
    estate.new_model("p1/m1", "regression", ["d1"], label="y")
    path = tmp_path / "e/projects/p1/m1/model.toml"
    text = path.read_bytes()
    path.write_bytes(text + b"# caf\xe9\n")
    with pytest.raises(SettingsError, match=r"p1/m1/model\.toml: not UTF-8"):
        open_estate(tmp_path / "e")
    path.write_bytes(text.replace(b"task =", b"tusk =", 1))
    with pytest.raises(SettingsError, match=r"p1/m1/model\.toml: "):
        open_estate(tmp_path / "e")


@pytest.mark.parametrize(
    ("scope", "key", "value", "env"),
    [
        ("p1/m1", "train.qa.seconds", "5", "qa"),
        ("p1/m1", "train.test.seconds", "5", "test"),
        ("p1/m1", "train", "{ test = { seconds = 5 } }", "test"),
        ("p1/m1", "serving.prod.instances", "1", "prod"),
        ("p1/m1", "rnd.test", "true", "test"),
        ("estate", "policy.qa.max_cost_run", "1", "qa"),
        ("p1", "policy.test.max_cost_run", "1", "test"),
    ],
)
def test_an_override_for_an_environment_that_is_not_there(
    empty: Estate, scope: str, key: str, value: str, env: str
) -> None:
    with pytest.raises(SettingsError) as e:
        empty.set(scope, key, value)
    assert f"no environment {env!r}" in e.value.message and e.value.hint == "it has dev"
    assert e.value.exit_code == 2 and not open_estate(empty.site.root).site.settings.live(scope)
    empty.set("p1/m1", "train.dev.seconds", "5")


def test_a_wrong_environment_in_a_file_is_named_by_its_real_key(empty: Estate) -> None:
    edit(empty.site.root, "projects/p1/m1/model.toml", "[train.dev]", "[train.qa]")
    with pytest.raises(SettingsError) as e:
        open_estate(empty.site.root)
    assert e.value.message == (
        "p1/m1/model.toml: train.qa: there is no environment 'qa', only dev, test or prod"
    )


@pytest.mark.parametrize("name", ["nope", "p1/m1"])
def test_members_of_an_unknown_project(empty: Estate, name: str) -> None:
    with pytest.raises(NotFoundError) as e:
        empty.members(name)
    assert e.value.exit_code == 2 and "p1" in e.value.hint
    assert empty.members("p1") == [] and empty.members("estate") == []


def test_a_datasets_expectation_is_silvers_unless_it_says_bronze(empty: Estate, numbers) -> None:
    model = "projects/p1/m1/model.toml"
    check = '[[datasets.d1.expect]]\ncheck = "row_count"\nmax = 5\n\n[split]'
    edit(empty.site.root, model, "[split]", check)
    mine = open_estate(empty.site.root).model("p1/m1")
    mine.ingest("d1", [numbers("a.csv", 0, 30)], "2026-01-01")
    with pytest.raises(EsmlError, match="30 rows, expected at most 5"):
        mine.refine()
    edit(empty.site.root, model, "max = 5", 'max = 5\non = "gold"')
    with pytest.raises(SettingsError, match=r"datasets.d1.expect.0.on: .* under \[\[expect\]\]"):
        open_estate(empty.site.root)
    edit(
        empty.site.root,
        model,
        'max = 5\non = "gold"',
        'max = 50\non = "bronze"\n[[expect]]\ncheck = "row_count"\non = "silver"',
    )
    with pytest.raises(SettingsError, match=r"expect.0.on: .*datasets.<name>.expect"):
        open_estate(empty.site.root)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("datasets.d1.types", '{ x = "int65" }', "no column type 'int65', did you mean 'int64'"),
        ("datasets.d1.types", '{ x = "NONSENSE" }', "no column type 'NONSENSE'"),
        ("datasets.d1.encoding", "utf-9", "'utf-9' is unknown"),
        ("datasets.d1.encoding", "hex", "'hex' is unknown"),
        ("datasets.d1.delimiter", '""', "not one ASCII character"),
        ("datasets.d1.arrives", "dialy 25:00", "'dialy 25:00' is no promise"),
        ("datasets.d1.arrives", "daily 25:00", "'daily 25:00' is no promise"),
        ("expect", '[{ check = "in_range", column = "x", min = 3, max = 1 }]', "min 3 lies above max 1"),
        ("expect", '[{ check = "in_range", column = "x" }]', "needs min or max"),
        ("expect", '[{ check = "in_set", column = "x" }]', "needs values"),
        ("expect", '[{ check = "not_null" }]', "not_null needs a column"),
        ("expect", '[{ check = "regex", column = "x", pattern = "((" }]', "is no regular expression"),
        ("split.by", "group", "needs group"),
    ],
)
def test_values_that_no_run_could_use_are_refused_when_they_are_set(
    empty: Estate, key: str, value: str, said: str
) -> None:
    with pytest.raises(SettingsError) as e:
        empty.set("p1/m1", key, value)
    assert said in e.value.message and key.split(".")[-1] in e.value.message
    assert open_estate(empty.site.root).site.settings.models(), "what was there is still valid"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("datasets.d1.types", '{ x = "int64", y = "DECIMAL(9,2)" }'),
        ("datasets.d1.encoding", "latin-1"),
        ("datasets.d1.delimiter", ";"),
        ("datasets.d1.arrives", "daily 06:00"),
        ("datasets.d1.arrives", "monthly 1 06:00"),
        ("expect", r"""[{ check = "regex", column = "x", pattern = '\p{L}+(?i)x' }]"""),
        ("split", '{ by = "group", group = "x" }'),
    ],
)
def test_values_that_runs_can_use_are_taken(empty: Estate, key: str, value: str) -> None:
    empty.set("p1/m1", key, value)
    assert any(r.origin == "override" for r in empty.site.settings.rows("p1/m1") if r.key.startswith(key))


def test_a_table_set_as_a_whole_is_the_origin_of_each_value_in_it(empty: Estate) -> None:
    empty.set("p1/m1", "split", "{ train = 0.5, validate = 0.25, test = 0.25 }")
    empty.set("p1/m1", "split.seed", "7")
    rows = {r.key: r for r in open_estate(empty.site.root).site.settings.rows("p1/m1")}
    for key, value in (("train", 0.5), ("validate", 0.25), ("test", 0.25), ("seed", 7)):
        assert (rows[f"split.{key}"].value, rows[f"split.{key}"].origin) == (value, "override"), key
        assert rows[f"split.{key}"].by and rows[f"split.{key}"].at
    assert rows["split.by"].origin == "built-in" and rows["label"].origin == "model.toml"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("gates.min_gain.rmse", "inf", "finite"),
        ("gates.max_cost_1000_rows", "nan", "finite"),
        ("gates.floor.nonsense", "1", "did you mean"),
        ("gates.floor.r3", "0.5", "'r2'"),
        ("gates.interval", '["auk"]', "'auc'"),
    ],
)
def test_a_gate_takes_finite_numbers_and_metrics_that_there_are(
    empty: Estate, key: str, value: str, said: str
) -> None:
    with pytest.raises(SettingsError) as e:
        empty.set("p1/m1", key, value)
    assert key in e.value.message and said in e.value.message
    assert not empty.site.settings.overrides
    path = empty.site.root / "projects/p1/m1/model.toml"
    table, _, leaf = key.rpartition(".")
    rest = re.sub(r"^\[gates\].*?(?=^\[|\Z)", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    path.write_text(f"{rest}\n[{table}]\n{leaf} = {value}\n")
    with pytest.raises(SettingsError) as e:
        open_estate(empty.site.root)
    assert "p1/m1/model.toml" in e.value.message and key in e.value.message and said in e.value.message
