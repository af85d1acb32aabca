"""The five people's walks over the demo estate, in a real browser; one of them by keyboard alone."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.shots import settle
from esml_engine.estate import open_estate
from esml_engine.runs import records
from tests.browser.conftest import serving
from tests.conftest import copy_of

pytestmark = pytest.mark.browser
DIABETES = "project=project002&model=m11_diabetes"
TUMOUR = "project=project002&model=m12_tumour"


@pytest.fixture(scope="module")
def root(demo_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo estate, for all walks: each walks on something of its own."""
    return copy_of(demo_source, tmp_path_factory.mktemp("walks") / "estate")


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with serving(root) as address:
        yield address


@pytest.fixture(autouse=True)
def _patient(page: Any) -> None:
    page.set_default_timeout(120_000)


def until(ready: Callable[[], bool], seconds: float = 180) -> None:
    """Wait for what a run does in the background."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.2)


def go(page: Any, address: str, title: str) -> str:
    """Open an address, wait for its page, answer what it says."""
    page.goto(address)
    page.get_by_role("heading", name=title, exact=True).first.wait_for()
    settle(page)
    return str(page.inner_text("body"))


def test_project_manager(url: str, page: Any, root: Path) -> None:
    """My work -> the approval with its evidence -> approve -> cost against budget; by keyboard alone."""
    body = go(page, f"{url}/work?as=approver@demo", "My work")
    assert "Yours to decide" in body and "m12_tumour" in body
    _tab_to(page, "Review")
    page.keyboard.press("Enter")
    page.get_by_text("I have read the evidence").wait_for()
    settle(page)
    body = page.inner_text("body")
    assert "challenger" in body and "passed" in body, "both models and the gates on one screen"
    approve = page.get_by_role("button", name="Approve", exact=True)
    assert approve.is_disabled(), "not before a reason is given and the evidence read"
    _tab_to(page, "Reason, kept with the decision")
    page.keyboard.type("better on prod's own rows")
    page.keyboard.press("Enter")
    settle(page)
    _tab_to(page, "I have read the evidence")
    page.keyboard.press("Space")
    settle(page)
    _tab_to(page, "Approve")
    page.keyboard.press("Enter")
    page.get_by_text("Yours to decide").wait_for(state="detached")
    settle(page)
    _tab_to(page, "Costs")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Costs", exact=True).wait_for()
    body = go(page, f"{url}/costs?as=manager@demo&{TUMOUR}", "Costs")
    assert "Spent against budget" in body and "of € 100.00 a month" in body
    until(lambda: open_estate(root).model("project002/m12_tumour", "prod").timeline()[0]["version"] == 2)
    body = go(page, f"{url}/promotion?as=manager@demo&{TUMOUR}&env=prod&version=2", "Promotion")
    assert "v2 is the champion of prod" in body


def test_data_engineer(url: str, page: Any, tmp_path: Path) -> None:
    """New files -> plan -> refine -> the broken rows -> the dataset's versions."""
    go(page, f"{url}/lake?as=engineer@demo&{DIABETES}&env=test&act=Deliver files", "Lake")
    before = page.inner_text("body")
    header = "patient_id,age,sex,bmi,bp,y"
    file = tmp_path / "late.csv"
    file.write_text(f"{header}\n9001,50,1,25.5,80,150\n9002,fifty,1,25.5,80,150\n9003,51,2,26,81,151\n")
    page.locator("input[type=file]").set_input_files(str(file))
    page.get_by_role("button", name="Deliver 1 file").click()
    page.get_by_text("Delivered to ds01_diabetes of test: 1 file added.").wait_for()
    settle(page)
    assert page.inner_text("body") != before
    page.get_by_role("link", name="See the plan of refining").click()
    refine = page.get_by_role("button", name=re.compile(r"^Refine \d files?$"))
    refine.wait_for()
    settle(page)
    assert "env=test" in page.url and "act=" not in page.url, "what is shown can be sent to somebody"
    assert "Predicted cost" in page.inner_text("body"), "the plan stands before the button"
    refine.click()
    page.get_by_text("It made:").wait_for()
    settle(page)
    go(page, f"{url}/dataset?as=engineer@demo&{DIABETES}&env=test&table=ds01_diabetes/bronze&tab=Quarantine",
        "Dataset")  # fmt: skip
    page.get_by_text(re.compile(r"age.*fifty|fifty.*age|not.*int", re.I)).first.wait_for()
    body = go(page, f"{url}/dataset?as=engineer@demo&{DIABETES}&env=test&table=ds01_diabetes/bronze&tab=Changes",
        "Dataset")  # fmt: skip
    assert "Rows added" in body


def test_data_scientist(url: str, page: Any, root: Path) -> None:
    """Train with its plan -> leaderboard -> compare -> ask for a promotion -> refused, with the reason to read."""
    who = "as=scientist@demo&"
    open_estate(root).set("project002/m11_diabetes", "gates.min_gain.rmse", "40")  # nobody gains that much
    go(page, f"{url}/leaderboard?{who}{DIABETES}&env=dev&train=true", "Leaderboard")
    assert "Predicted cost" in page.inner_text("body")
    budget = page.locator("input[aria-label='Budget, seconds']")
    budget.fill("3")
    budget.press("Enter")
    settle(page)
    page.get_by_role("button", name="Train in dev").click()
    board = open_estate(root).model("project002/m11_diabetes")
    until(
        lambda: any(r["model_version"] == 3 for r in board.leaderboard())
    )  # the demo's own run may still be shown
    page.get_by_text(re.compile(r"took .* metered")).first.wait_for()
    settle(page)
    body = page.inner_text("body")
    assert "Best by environment" in body and "95 % interval" in body
    go(page, f"{url}/promotion?{who}{DIABETES}&env=test&version=3", "Promotion")
    page.get_by_role("button", name="Promote v3 to test").click()
    page.get_by_text("What would change it").wait_for()
    settle(page)
    body = page.inner_text("body")
    assert "refused" in body and "It would pass with rmse of" in body, "the reason, and what would change it"


def test_analyst(url: str, page: Any, root: Path) -> None:
    """A shared link -> chips -> histogram -> passport -> export: the file holds what the filter leaves."""
    who = "as=analyst@demo&"
    link = f"{url}/scored?{who}{DIABETES}&env=prod&caller=web&where=prediction+%3E%3D+100"
    body = go(page, link, "Scored data")
    assert "caller is web ✕" in body.replace("\n", " ") and "prediction ≥ 100" in body
    model = open_estate(root).model("project002/m11_diabetes", "prod")
    wanted = model.scored(caller="web", where=("prediction >= 100",)).document()
    assert f"Export {wanted['total']} row" in body
    _draw_over_the_days(page)
    days = [d["day"] for d in wanted["by_day"]]
    until(lambda: f"from={days[0]}&to={days[-1]}" in page.url, 60)
    settle(page)
    assert f"Export {wanted['total']} row" in page.inner_text("body"), "all of them are of these days"
    with page.expect_download() as given:
        page.get_by_role("link", name=re.compile(r"^download Export|Export \d+ row")).first.click()
    rows = list(csv.DictReader(io.StringIO(Path(given.value.path()).read_text())))
    assert len(rows) == wanted["total"] and {r["caller_id"] for r in rows} == {"web"}
    assert sorted(r["request_id"] + r["row"] for r in rows) == sorted(r["request_id"] + str(r["row"]) for r in wanted["rows"])  # fmt: skip
    page.get_by_role("tab", name="Profile").click()
    page.get_by_text(re.compile(r"over all \d+ filtered rows?")).wait_for()
    r = wanted["rows"][0]
    body = go(page, f"{url}/row?{who}{DIABETES}&env=prod&request={r['request_id']}&row={r['row']}",
        f"Row {r['row']} of request {r['request_id']}")  # fmt: skip
    assert "IN file" in body, "the passport leads back to the file"


def test_operator(url: str, page: Any, root: Path) -> None:
    """A failed run -> its log -> retry; deploy -> test console -> the way back."""
    go(page, f"{url}/runs?state=failed", "Runs")
    failed = next(r["run"] for r in open_estate(root).runs(state="failed"))
    page.goto(f"{url}/run?run={failed}")
    page.get_by_text("It failed:").wait_for()
    settle(page)
    store = open_estate(root).site.store
    before = records.get(store, failed)["attempt"]
    page.get_by_role("button", name="Retry").click()
    until(lambda: records.get(store, failed)["attempt"] == before + 1)
    until(lambda: records.get(store, failed)["state"] == "failed")  # the file is as broken as it was
    page.get_by_text("It failed:").wait_for()
    go(page, f"{url}/deployments?{DIABETES}&env=prod", "Deployments")
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Passport of the first row").wait_for()
    assert "v2 answered 1 row" in page.inner_text("body")
    go(page, f"{url}/deployments?{DIABETES}&env=prod&tab=Take back", "Deployments")
    page.get_by_role("button", name=re.compile(r"^Shift traffic to v1$")).click()
    page.get_by_text("v1 · 100 % of traffic").nth(1).wait_for()


def test_back_and_forward_need_one_press_a_page(url: str, page: Any) -> None:
    """Through the navigation and from a chosen row; filters are there again."""
    go(page, f"{url}/estate?lens=money", "Estate")
    page.get_by_test_id("stSidebar").get_by_role("link", name="Lake", exact=True).click()
    page.get_by_role("heading", name="Lake", exact=True).wait_for()
    settle(page)
    lake = page.url
    page.go_back()
    page.get_by_role("heading", name="Estate", exact=True).wait_for()
    settle(page)
    assert page.url == f"{url}/estate?lens=money"
    page.go_forward()
    page.get_by_role("heading", name="Lake", exact=True).wait_for()
    settle(page)
    assert page.url == lake
    link = f"{url}/scored?{DIABETES}&env=prod&caller=web&as=analyst%40demo"
    go(page, link, "Scored data")
    page.get_by_test_id("stDataFrame").first.click(position={"x": 18, "y": 52})  # the first row's box
    page.get_by_role("link", name=re.compile("Passport")).click()
    page.get_by_role("heading", name=re.compile("^Row ")).wait_for()
    settle(page)
    page.go_back()
    page.get_by_role("heading", name="Scored data", exact=True).wait_for()
    settle(page)
    assert page.url == link and "caller is web" in page.inner_text("body")
    for left in (
        f"/dataset?{DIABETES}&env=dev&table=ds01_diabetes%2Fbronze&tab=Quarantine",
        f"/lake?{DIABETES}&env=dev&purpose=inference&act=Split", f"/scored?{DIABETES}&env=prod&caller=web&show=Profile",
        f"/leaderboard?{DIABETES}&env=dev&train=true",
        "/audit?actor=engineer%40demo", "/runs?kind=train",
    ):  # fmt: skip
        page.goto(f"{url}{left}")
        settle(page)
        page.get_by_test_id("stSidebar").get_by_role("link", name="Settings", exact=True).click()
        page.get_by_role("heading", name="Settings", exact=True).wait_for()
        settle(page)
        page.go_back()
        page.get_by_role("heading", name="Settings", exact=True).wait_for(state="detached")
        assert page.url == f"{url}{left}", "the view that was left, with all of its choices"


def test_a_way_to_the_page_it_stands_on_moves_the_address(url: str, page: Any) -> None:
    """What was opened can be loaded again, sent, and left by Back."""
    start = f"{url}/promotion?{DIABETES}&env=dev"
    go(page, start, "Promotion")
    page.get_by_role("link", name="Promotion into test").click()
    page.get_by_text("dev → test").first.wait_for()
    settle(page)
    assert "env=test" in page.url
    page.reload()
    page.get_by_text("dev → test").first.wait_for()
    page.go_back()
    page.get_by_role("link", name="Promotion into test").wait_for()
    assert page.url == start
    go(page, f"{url}/leaderboard?{DIABETES}&env=dev&train=true", "Leaderboard")
    page.get_by_role("button", name="Close the plan").wait_for()
    page.get_by_test_id("stSidebar").get_by_role("link", name="Leaderboard", exact=True).click()
    page.get_by_role("button", name="Train: see the plan").wait_for()
    settle(page)
    assert "train=" not in page.url


def test_by_keyboard_alone(url: str, page: Any) -> None:
    """From the navigation to the lake of another model, and its plan opened, without a pointer."""
    from playwright.sync_api import TimeoutError as Late

    go(page, f"{url}/work", "My work")
    _tab_to(page, "Lake")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Lake", exact=True).wait_for()
    settle(page)
    _tab_to(page, "Plan in full")
    page.keyboard.press("Enter")
    page.get_by_text(re.compile(r"^1\. |Plan [0-9a-f]{8}")).first.wait_for()
    page.keyboard.press("Escape")
    _tab_to(page, "Refine", back=True)
    for here, name in (("Refine", "Deliver files"), ("Deliver files", "Split")):
        page.keyboard.press("ArrowRight")
        try:
            page.locator("[role=tab]:focus", has_text=name).wait_for(timeout=20_000)
        except Late:  # pressed while the page was drawn again: the tab that is open has it no more
            _tab_to(page, here, back=True)
            page.keyboard.press("ArrowRight")
            page.locator("[role=tab]:focus", has_text=name).wait_for()
        settle(page)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Split gold").wait_for()


def _draw_over_the_days(page: Any) -> None:
    """Draw a stretch over all bars of the histogram."""
    chart = page.get_by_test_id("stVegaLiteChart").first
    chart.locator("svg").wait_for()
    chart.scroll_into_view_if_needed()
    for _ in range(6):  # a chart that was drawn may not listen yet
        box = chart.bounding_box()
        y = box["y"] + box["height"] * 0.4
        page.mouse.move(box["x"] + box["width"] * 0.15, y)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.5, y, steps=5)
        page.mouse.move(box["x"] + box["width"] * 0.95, y, steps=5)
        page.mouse.up()
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if "from=" in page.url:
                return
            page.wait_for_timeout(200)
    raise AssertionError(f"nothing was drawn: {page.url}")


def _tab_to(page: Any, name: str, most: int = 80, *, back: bool = False) -> None:
    """Press Tab (or Shift+Tab) until the focus is on something of that name."""
    focus = "(() => { const e = document.activeElement; return (e.innerText || e.getAttribute('aria-label') || '').trim() })()"
    seen: list[list[str]] = []
    for _ in range(most):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        lines = [x for x in page.evaluate(focus).split("\n") if x.strip()]
        if len(lines) <= 3:  # more: a frame around many things
            seen.append(lines)
            if name in lines:
                return
    raise AssertionError(f"{name!r} has no focus within {most} steps: {seen}")
