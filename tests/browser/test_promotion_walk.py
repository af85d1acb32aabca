"""A walk in a real browser: refused for test with the reason read, retrained, promoted, asked for prod, approved, rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.shots import settle
from esml_engine.estate import init_estate, open_estate
from tests.browser.conftest import serving

pytestmark = pytest.mark.browser
MODEL = "project001/m01_price"
WHERE = "project=project001&model=m01_price"


def _rows(folder: Path, name: str, first: int, last: int) -> Path:
    path = folder / name
    lines = [f"{n},{n % 17},{n % 5},{3 * (n % 17) + 4 * (n % 5) + n % 3}" for n in range(first, last)]
    path.write_text("id,size,rooms,y\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """v1 is champion of all three environments; v2 was trained in dev on gold that had lost a column."""
    folder = tmp_path_factory.mktemp("promotion")
    root = folder / "estate"
    init_estate(root, ["dev", "test", "prod"])
    path = root / "estate.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("[serving]\n", "[policy.prod]\napprovals = 1\n\n[serving]\n", 1), encoding="utf-8"
    )
    open_estate(root).new_project("project001", "care")
    open_estate(root).new_model(MODEL, "regression", ["ds01_houses"], label="y", key="id")
    settings = root / "projects" / MODEL / "model.toml"
    text = settings.read_text(encoding="utf-8")
    text = text.replace("[train.dev]", '[train.dev]\nestimators = ["linear"]', 1)
    settings.write_text(
        text.replace("[gates]\n", "[gates]\nmin_gain = { rmse = -0.5 }\n", 1), encoding="utf-8"
    )
    estate = open_estate(root)
    for actor, role in (("scientist@small", "data_scientist"), ("approver@small", "approver")):
        estate.member_add("project001", actor, role)
    estate.member_add("project001", "scientist@small", "data_engineer")
    step = settings.parent / "steps" / "ds01_houses.py"
    with estate.hand.holding(warm=True):
        for env in ("dev", "test", "prod"):
            estate.model(MODEL, env).ingest("ds01_houses", [_rows(folder, "a.csv", 0, 200)], "2026-11-01")
        asked = open_estate(root, act_as="scientist@small").model(MODEL).pipeline("prod")
        open_estate(root, act_as="approver@small").approve(asked["request"], "the first one")
        step.write_text("def step(df, ctx):\n    return df.assign(rooms=0)\n", encoding="utf-8")
        model = open_estate(root).model(MODEL)
        model.refine()
        model.split()
        assert model.train()["alias"] == "champion"  # of dev: there v1 misses the column as well
    step.unlink()
    open_estate(root).model(MODEL).ingest("ds01_houses", [_rows(folder, "b.csv", 200, 300)], "2026-11-08")
    with serving(root) as address:
        yield address


def _act_as(page: Any, who: str) -> None:
    page.locator("[data-testid=stSidebar] [data-testid=stSelectbox] input").first.click()
    page.get_by_role("option", name=who).click()
    page.get_by_text(f"You see and do what {who} may.").wait_for()
    settle(page)


def _start(page: Any, label: str) -> None:
    """Press a button; the plan behind it then has nothing more to do, so the page is drawn without it."""
    button = page.get_by_role("button", name=label, exact=True).first
    button.click()
    button.wait_for(state="detached")
    settle(page)


def test_walk(url: str, page: Any) -> None:
    page.set_default_timeout(90_000)
    page.goto(f"{url}/promotion?{WHERE}&env=test&version=2")
    settle(page)
    _act_as(page, "scientist@small")
    page.get_by_text("v2 was not compared with test yet").wait_for()
    page.get_by_role("button", name="Promote v2 to test").click()
    page.get_by_text("What would change it").wait_for()
    body = page.inner_text("body")
    assert "RMSE not worse" in body and "It would pass with rmse of" in body

    # retrained on newer gold: the step that lost a column is gone
    page.goto(f"{url}/model?{WHERE}&env=dev")
    settle(page)
    _act_as(page, "scientist@small")
    for label in ("Refine", "Split gold", "Train"):
        _start(page, label)
    page.get_by_text("v3 of dev may go up to test", exact=False).first.wait_for()
    page.get_by_role("link", name="Compare and promote to test").click()
    page.get_by_role("heading", name="Promotion").wait_for()
    settle(page)
    page.get_by_role("button", name="Promote v3 to test").click()
    page.get_by_text("v3 is the champion of test", exact=False).first.wait_for()

    page.get_by_role("radio", name="prod").click()
    settle(page)
    page.get_by_role("button", name="Promote v3 to prod").click()
    page.get_by_text("It is your own request", exact=False).first.wait_for()

    page.get_by_role("link", name="My work").first.click()
    page.get_by_role("heading", name="My work").wait_for()
    settle(page)
    _act_as(page, "approver@small")
    page.get_by_text("Yours to decide · 1").wait_for()
    page.get_by_role("button", name="Review").click()
    page.get_by_label("Reason, kept with the decision").fill("better on prod's own rows")
    page.get_by_label("Reason, kept with the decision").press("Enter")
    settle(page)
    page.get_by_text("I have read the evidence").click()
    settle(page)
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("Nothing waits for you").wait_for()

    page.get_by_role("link", name="Promotion").first.click()
    page.get_by_role("heading", name="Promotion").wait_for()
    page.get_by_text("v3 is the champion of prod", exact=False).first.wait_for()
    page.get_by_role("button", name="Roll back prod").click()
    page.get_by_text("rollback", exact=True).first.wait_for()
    page.reload()
    settle(page)
    page.get_by_text("Champions of prod").wait_for()
    line = page.locator("[data-testid=stTable]").last.inner_text()
    assert [w for w in line.split() if w in ("v1", "v3")] == ["v1", "v3", "v1"], line
