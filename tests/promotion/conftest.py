"""A small estate of three environments with a trained model in dev and split gold everywhere, built once and copied."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esml_engine.door.facts import Call
from esml_engine.estate import Estate, init_estate, open_estate
from tests.conftest import built_once

MODEL = "p1/m1"
POLICY = "[policy.prod]\napprovals = 1\n"


def bent(path: Path, a: int, b: int) -> Path:
    """`id,x,y` rows a..b of a line with a bend and some noise."""
    rows = [f"{i},{i % 17},{3 * (i % 17) + (i * 7919 % 11)}" for i in range(a, b)]
    path.write_text("\n".join(["id,x,y", *rows]) + "\n", encoding="utf-8")
    return path


def quick(root: Path) -> None:
    """One linear estimator: a training of a second."""
    path = root / "projects/p1/m1/model.toml"
    text = path.read_text().replace(
        "seconds = 15\ntrials = 20\nfolds = 5", 'seconds = 60\ntrials = 1\nfolds = 2\nestimators = ["linear"]'
    )
    path.write_text(text)


def build(root: Path, work: Path, environments: list[str]) -> None:
    init_estate(root, environments)
    open_estate(root).new_project("p1", "team")
    open_estate(root).new_model(MODEL, "regression", ["d1"], label="y", key="id")
    quick(root)
    with open_estate(root).hand.holding(warm=True):
        pass
    estate = open_estate(root)
    with estate.hand.holding(warm=True):
        for env in environments:
            model = estate.model(MODEL, env)
            model.ingest("d1", [bent(work / f"{env}.csv", 0, 240)], "2026-01-01")
            model.refine()
            model.split()
        estate.model(MODEL).train()
        for actor, role in (
            ("approver@p1", "approver"),
            ("second@p1", "approver"),
            ("manager@p1", "project_manager"),
            ("scientist@p1", "data_scientist"),
        ):
            estate.member_add("p1", actor, role)


@pytest.fixture(scope="session")
def three_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_once(
        tmp_path_factory, "three", lambda root: build(root, root.parent, ["dev", "test", "prod"])
    )


@pytest.fixture
def three(three_source: Path, tmp_path: Path) -> Estate:
    """dev, test, prod; v1 is dev's champion."""
    shutil.copytree(three_source, tmp_path / "three", symlinks=True)
    return open_estate(tmp_path / "three")


def as_(estate: Estate, actor: str) -> Estate:
    """The same estate with another member's rights."""
    return open_estate(estate.site.root, act_as=actor)


def setting(estate: Estate, text: str, file: str = "estate.toml") -> None:
    """Add TOML to a settings file and read it again."""
    path = estate.site.root / file
    path.write_text(path.read_text() + "\n" + text)
    estate.site.reload()


def do(estate: Estate, act: str, env: str, **params: Any) -> dict[str, Any]:
    """One act on the model."""
    return estate.hand.do(Call(act, MODEL, env, params))


def promote(estate: Estate, source: str, target: str, **params: Any) -> dict[str, Any]:
    return do(estate, "promote", target, source=source, **params)


def decide(
    estate: Estate, act: str, asked: dict[str, Any], reason: str = "looked at it", follow: bool = True
) -> dict[str, Any]:
    """Approve or refuse, then wait for what it released."""
    said = estate.hand.do(
        Call(
            act,
            asked["object"],
            asked["env"],
            {"request": asked["request"], "reason": reason, "kind": asked["kind"]},
        )
    )
    if follow and said["state"] == "approved":
        said["after"] = estate.hand.follow(said["run"])
    return said


Decide = Callable[..., dict[str, Any]]
