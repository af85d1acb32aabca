"""One small estate for all page tests: settings, IN files, and its way to a trained model through the SDK."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from cockpit import places
from cockpit.frame import opening
from esml_engine.estate import Estate, init_estate, open_estate

MODEL = "project001/m01_price"
PAGES = (
    "work", "estate", "project", "approvals", "costs", "audit", "settings", "lake", "dataset", "model", "leaderboard",
    "promotion", "deployments", "scored", "runs", "run", "row",
)  # fmt: skip


def delivery(folder: Path, name: str, first: int, last: int) -> Path:
    """A csv of houses; one broken row in it."""
    path = folder / name
    rows = [f"{n},{n % 17},{n % 5},{3 * (n % 17) + n % 5}" for n in range(first, last)]
    path.write_text("id,size,rooms,y\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    """Refined, split and trained in dev; one more IN file waits; two members."""
    folder = tmp_path_factory.mktemp("cockpit")
    root = folder / "estate"
    init_estate(root, ["dev", "test"], name="small")
    open_estate(root).new_project("project001", "care", owner="manager@small")
    open_estate(root).new_project("project002", "other")
    open_estate(root).new_model(MODEL, "regression", ["ds01_houses"], label="y", key="id")
    open_estate(root).new_model("project002/m02_secret", "regression", ["ds01_x"], label="y", key="id")
    settings = root / "projects" / MODEL / "model.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(
        text.replace("[train.dev]", '[train.dev]\nestimators = ["linear"]', 1), encoding="utf-8"
    )
    out = open_estate(root)
    out.member_add("project001", "engineer@small", "data_engineer")
    out.member_add("project001", "reader@small", "reader")
    model = out.model(MODEL)
    model.ingest("ds01_houses", [delivery(folder, "a.csv", 0, 90)], "2026-11-01")
    with out.hand.holding(warm=True):
        model.refine()
        model.split()
        model.train()
    model.ingest("ds01_houses", [delivery(folder, "b.csv", 90, 120)], "2026-11-08")
    return out


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An estate without a project."""
    root = tmp_path_factory.mktemp("empty") / "estate"
    init_estate(root, ["dev"])
    return root


Open = Callable[..., AppTest]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Open a page of an estate in Streamlit's own test runner: `page(root, name, act_as=…, **query)`."""

    def open_page(root: Path, name: str, act_as: str = "", **query: str | list[str]) -> AppTest:
        monkeypatch.setenv(opening.ENVIRONMENT, str(root))
        at = AppTest.from_file(str(places.APP), default_timeout=60)
        if act_as:
            at.session_state["act_as"] = act_as
        at.run()
        at.switch_page(f"../pages/{name}.py")
        for k, v in query.items():
            at.query_params[k] = v
        return at.run()

    return open_page


def text_of(at: AppTest) -> str:
    """Everything that a page says."""
    parts = [*at.title, *at.caption, *at.markdown, *at.info, *at.warning, *at.error, *at.subheader]
    return "\n".join(str(p.value) for p in parts)
