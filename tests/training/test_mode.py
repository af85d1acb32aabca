"""Which training a model gets: its own train.py where there is one, unless the settings say otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.estate import Estate, open_estate
from esml_engine.refs import ModelRef
from esml_engine.training.acts import profile_of

REF = ModelRef.parse("p1/m1")


def _mode(root: Path) -> str:
    return str(profile_of(open_estate(root).site, REF, "dev", {}).mode)


def test_a_step_of_ones_own_is_used_without_a_word_in_the_settings(empty: Estate) -> None:
    root = empty.site.root
    assert _mode(root) == "automl"
    steps = root / "projects/p1/m1/steps"
    steps.mkdir(exist_ok=True)
    (steps / "train.py").write_text("def train(train, validate, ctx):\n    return None\n")
    assert _mode(root) == "custom"
    settings = root / "projects/p1/m1/model.toml"
    settings.write_text(settings.read_text().replace("[train.dev]", '[train.dev]\nmode = "automl"', 1))
    assert _mode(root) == "automl", "said explicitly, AutoML it is"


def test_ctrl_c_is_one_document_and_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib
    import json

    cli = importlib.import_module("esml_engine.cli.main")

    monkeypatch.setattr(cli, "_keep_only", lambda words: None)
    monkeypatch.setattr(cli, "app", lambda standalone_mode: 130)
    monkeypatch.setattr("sys.argv", ["esml", "--json", "train", "p1/m1"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().out)["error"]["message"] == "interrupted"


def test_a_forecast_by_ones_own_step_is_said_to_come_later(tmp_path: Path) -> None:
    from esml_engine.errors import EsmlError
    from esml_engine.estate import init_estate

    init_estate(tmp_path / "e", ["dev"])
    estate = open_estate(tmp_path / "e")
    estate.new_project("p1", "team")
    estate.new_model("p1/m1", "forecasting", ["d1"], label="y", forecast={"time_column": "t", "horizon": 3})
    steps = tmp_path / "e/projects/p1/m1/steps"
    steps.mkdir(exist_ok=True)
    (steps / "train.py").write_text("def train(train, validate, ctx):\n    return None\n")
    assert _mode(tmp_path / "e") == "custom", "never left aside without a word"
    with pytest.raises(EsmlError):
        open_estate(tmp_path / "e").model("p1/m1").plan_train()
