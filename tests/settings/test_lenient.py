"""A model whose settings can't be used stops what is asked about it, not the worker that serves the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.door.site import Site
from esml_engine.errors import EsmlError, PlatformError, SettingsError, UsageError
from esml_engine.estate import Estate, open_estate
from esml_engine.platforms.rows import bad
from esml_engine.refs import ModelRef
from esml_engine.settings import ModelSettings, load
from tests.conftest import cli


def test_a_worker_goes_on_without_a_model_whose_file_is_wrong(empty: Estate) -> None:
    empty.new_model("p1/m2", "regression", ["d1"], label="y", key="id")
    path = empty.site.root / "projects/p1/m2/model.toml"
    good = path.read_text()
    site = Site(empty.site.root, lenient=True)
    for text in ("task = = 1\n", good.replace('task = "regression"', 'task = "regresion"')):
        path.write_text(text)
        with pytest.raises(SettingsError, match=r"p1/m2/model\.toml"):
            Site(empty.site.root)
        site.reload()
        assert site.settings.models() == [ModelRef("p1", "m1")]
        with pytest.raises(SettingsError, match=r"p1/m2/model\.toml"):
            site.settings.model(ModelRef("p1", "m2"))
        around = site.settings.around
        assert around(ModelRef("p1", "m1")) == "p1/m1" and around(ModelRef("p1", "m2")) == "p1"
        assert around(ModelRef("gone", "m2")) == "estate", "what its endpoint costs is known in any case"
    path.write_text(good)
    site.reload()
    assert len(site.settings.models()) == 2 and not site.files.broken


def test_a_project_whose_file_is_wrong_stops_its_own_models_alone(empty: Estate) -> None:
    empty.new_project("p2", "team")
    empty.new_model("p2/m1", "regression", ["d1"], label="y", key="id")
    path = empty.site.root / "projects/p2/project.toml"
    path.write_text(path.read_text() + "colour = 1\n")
    said = cli(empty.site.root, "doctor")
    (wrong,) = [r for r in said if r["part"] == "settings"]
    assert not wrong["ok"] and "p2/project.toml" in wrong["message"] and "colour" in wrong["message"]
    site = Site(empty.site.root, lenient=True)
    assert site.settings.models() == [ModelRef("p1", "m1")]
    for scope in ("p2", "p2/m1"):
        with pytest.raises(SettingsError, match=r"p2/project\.toml"):
            site.files.raw(scope)


def test_a_split_needs_rows_to_train_on_and_takes_no_unknown_word(
    empty: Estate, numbers, tmp_path: Path
) -> None:
    model = empty.model("p1/m1")
    model.ingest("d1", [numbers("a.csv", 0, 40)], "2026-01-01")
    model.refine()
    with pytest.raises(Exception, match="without rows to train on"):
        model.split(train=0, validate=0.5, test=0.5)
    for wrong in (
        {"train": "a"},
        {"seed": 1.5},
        {"seed": True},
        {"stratify": "maybe"},
        {"by": "luck"},
        {"group": 3},
    ):
        with pytest.raises(UsageError, match=f"{next(iter(wrong.values()))}"):
            model.split(**wrong)
    with pytest.raises(TypeError, match="banana"):
        model.split(banana=1)
    assert model.table("gold_train").versions() == []


def test_doctor_names_the_file_and_an_act_on_another_model_goes_on(empty: Estate) -> None:
    empty.new_model("p1/m2", "analytics", ["d1"])
    path = empty.site.root / "projects/p1/m1/model.toml"
    path.write_text("task = = 1\n")
    said = open_estate(empty.site.root, lenient=True).doctor()
    wrong = next(r for r in said if r["part"] == "settings")
    assert not wrong["ok"] and "p1/m1/model.toml: not valid TOML" in wrong["message"]
    assert any(r["part"] == "dev lake" and r["ok"] for r in said)
    assert cli(empty.site.root, "status", check=2)["error"]["code"] == "settings"
    assert "no IN file" in cli(empty.site.root, "refine", "p1/m2", "--dry-run")["plan"]["nothing_to_do"]
    assert "no IN file" in cli(empty.site.root, "refine", "p1/m2")["nothing_to_do"]
    assert cli(empty.site.root, "refine", "p1/m1", check=2)["error"]["code"] == "settings"


def test_doctor_says_that_a_lake_is_away(empty: Estate, numbers) -> None:
    empty.model("p1/m1").ingest("d1", [numbers("a.csv", 0, 40)], "2026-01-01")
    empty.model("p1/m1").refine()
    row = next(r for r in empty.doctor() if r["part"] == "dev catalogue")
    assert row["ok"] and row["message"].startswith("3 of its tables")
    (empty.site.root / "lake/dev").rename(empty.site.root / "elsewhere")
    away = open_estate(empty.site.root)
    row = next(r for r in away.doctor() if r["part"] == "dev catalogue")
    assert not row["ok"] and "3 of 3 tables" in row["message"] and "backup" in row["hint"]
    row = next(r for r in away.doctor() if r["part"] == "dev lake")
    assert row["ok"] is False and "was recorded there" in row["message"]
    for act in (
        lambda: away.model("p1/m1").refine(),
        lambda: away.model("p1/m1").ingest("d1", [numbers("b.csv", 40, 50)], "2026-01-02"),
    ):
        with pytest.raises(
            PlatformError, match=r"the lake of dev is not at .*though what p1/m1 has was recorded there"
        ):
            act()
    said = away.new_model("p1/m2", "regression", ["d1"], label="y", key="id")
    assert "p1/m2 has no folders in dev yet: the lake of dev is not at" in said["warnings"][0]["message"]
    with pytest.raises(PlatformError, match="the lake of dev is not at"):
        away.model("p1/m2").ingest("d1", [numbers("c.csv", 0, 9)], "2026-01-01")
    assert not (empty.site.root / "lake/dev").exists(), "it can be put back to its place"
    assert away.cancel(away.runs()[0]["run"])["state"] == "done", "said without asking the lake"
    (empty.site.root / "elsewhere").rename(empty.site.root / "lake/dev")
    assert open_estate(empty.site.root).model("p1/m1").refine()["nothing_to_do"]


def test_doctor_says_the_cause_once(empty: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies behind a lake that can't be read is not checked; what lies beside it is."""
    platform = empty.site.platform("dev")
    wrong = {"part": "dev lake", "ok": False, "message": "it is read only", "hint": "mend it"}
    beside = {"part": "dev vault", "ok": False, "message": "it is locked", "hint": "open it"}
    monkeypatch.setattr(platform, "check", lambda prices=None: [wrong, beside])
    rows = {r["part"]: r for r in empty.doctor("dev")}
    assert [p for p, r in rows.items() if r["ok"] is False] == ["dev lake", "dev vault"]
    for part in ("dev design", "dev catalogue", "dev folders"):
        assert rows[part]["ok"] is None and rows[part]["message"].endswith("dev lake has to work first")
    monkeypatch.setattr(platform, "check", lambda prices=None: [beside])
    rows = {r["part"]: r for r in empty.doctor("dev")}
    assert rows["dev design"]["ok"] and rows["dev catalogue"]["ok"] and not rows["dev vault"]["ok"]


@pytest.mark.parametrize(
    ("hint", "left"),
    [
        ("see the message; esml doctor --env checks each part", "see the message"),
        ("esml doctor names the missing role and the command", ""),
        ("a; esml doctor says it; b", "a; b"),
        ("esml doctor says it; b", "b"),
        ("az login", "az login"),
    ],
)
def test_a_row_of_doctor_does_not_lead_back_to_it(hint: str, left: str) -> None:
    assert bad("p", EsmlError("m", hint=hint))["hint"] == left
    assert bad("p", EsmlError("m", hint=hint), "look there")["hint"] == (left or "look there")


def test_an_expectation_that_comes_later_is_said_before_anything_runs(empty: Estate, numbers) -> None:
    empty.model("p1/m1").ingest("d1", [numbers("a.csv", 0, 40)], "2026-01-01")
    path = empty.site.root / "projects/p1/m1/model.toml"
    path.write_text(path.read_text() + '[[expect]]\ncheck = "custom"\ncolumn = "x"\n')
    said = cli(empty.site.root, "refine", "p1/m1", "--dry-run", check=2)["error"]
    assert said["code"] == "not_yet" and "custom comes later" in said["message"]
    assert open_estate(empty.site.root).runs() == []


def test_one_wrong_file_stops_what_is_about_it_alone_on_the_command_line(empty: Estate) -> None:
    empty.new_model("p1/m2", "regression", ["d1"], label="y", key="id")
    root = empty.site.root
    path = root / "projects/p1/m2/model.toml"
    path.write_text(path.read_text() + "colour = 1\n")
    assert cli(root, "runs") == [] and [r["model"] for r in cli(root, "status", "p1")] == ["p1/m1"]
    assert cli(root, "settings", "p1/m1")
    for about in (("status",), ("status", "p1/m2"), ("settings", "p1/m2")):
        assert cli(root, *about, check=2)["error"]["code"] == "settings"


@pytest.mark.parametrize(
    ("task", "gates"),
    [
        ("classification", "[gates]\nmin_gain = { rmse = 1.0 }"),
        ("regression", "[gates]\nceiling = { log_loss = 1.0 }"),
        ("regression", '[gates]\ninterval = ["auc"]'),
        ("regression", "[gates]\nweights = { rmse = -1.0 }"),
    ],
)
def test_gates_that_no_version_could_pass_are_refused(tmp_path: Path, task: str, gates: str) -> None:
    path = tmp_path / "model.toml"
    path.write_text(f'task = "{task}"\nlabel = "y"\n[datasets.d1]\n{gates}\n')
    with pytest.raises(SettingsError, match="gates"):
        load(path, ModelSettings)
