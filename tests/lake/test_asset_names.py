"""Names of data assets: one table each, in the original's manner."""

from __future__ import annotations

import pytest

from esml_engine.estate import Estate, open_estate
from esml_engine.lake.assets import announce_new, asset_name
from esml_engine.refs import ModelRef


def test_no_two_tables_are_one_asset(empty: Estate) -> None:
    root = empty.site.root
    for model, dataset in (("a_b", "cc"), ("aa", "b_cc")):
        open_estate(root).new_model(f"p1/{model}", "regression", [dataset], label="y", key="id")
    site = open_estate(root).site
    one, other = ModelRef.parse("p1/a_b"), ModelRef.parse("p1/aa")
    assert asset_name(site, one, "cc/silver") == "A_B_CC_TRAIN_SILVER", "nobody else's: as it always was"
    assert asset_name(site, one, "gold") == "A_B_TRAIN_GOLD"
    open_estate(root).new_model("p1/aa_b", "regression", ["cc"], label="y", key="id")
    site = open_estate(root).site
    third = ModelRef.parse("p1/aa_b")
    names = [asset_name(site, other, "b_cc/silver"), asset_name(site, third, "cc/silver")]
    assert len(set(names)) == 2 and all(n.startswith("AA_B_CC_TRAIN_SILVER") for n in names)
    assert asset_name(site, one, "cc/silver") == "A_B_CC_TRAIN_SILVER"
    open_estate(root).new_project("p2", "team")
    open_estate(root).new_model("p2/m1", "regression", ["d1"], label="y", key="id")
    site = open_estate(root).site
    both = {asset_name(site, ModelRef.parse(f"{p}/m1"), "d1/bronze") for p in ("p1", "p2")}
    assert both == {"P1_M1_D1_TRAIN_BRONZE", "P2_M1_D1_TRAIN_BRONZE"}
    open_estate(root).new_model("p2/p1_m1", "regression", ["d1"], label="y", key="id")
    site = open_estate(root).site
    golds = {asset_name(site, ModelRef.parse(r), "gold") for r in ("p1/m1", "p2/m1", "p2/p1_m1")}
    assert len(golds) == 3, "a model may be called as a project with its model"


def test_a_table_whose_asset_got_another_name_is_told_whole_under_it(
    split_small: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, ref = split_small.site, ModelRef.parse("p1/m1")
    told: list[tuple[str, int]] = []
    monkeypatch.setattr(type(site.platform("dev")), "announce", lambda _, a: told.append((a.name, a.version)))
    count = announce_new(site, ref, "dev", anew=True)
    assert ("M1_TRAIN_GOLD", 1) in told and announce_new(site, ref, "dev") == 0
    split_small.new_project("p2", "team")
    split_small.new_model("p2/m1", "regression", ["d1"], label="y", key="id")
    told.clear()
    assert announce_new(split_small.site, ref, "dev") == count
    assert ("P1_M1_TRAIN_GOLD", 1) in told and all(n.startswith("P1_M1_") for n, _ in told)
