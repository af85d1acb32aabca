"""One walk through a real browser: Estate, Model, Lake, refine under its plan, progress, the new version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.shots import settle
from esml_engine.estate import init_estate, open_estate
from tests.browser.conftest import serving

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]


def _estate(folder: Path) -> Path:
    root = folder / "estate"
    init_estate(root, ["dev"])
    open_estate(root).new_project("project001", "care")
    open_estate(root).new_model("project001/m01_price", "regression", ["ds01_houses"], label="y", key="id")
    delivery = folder / "houses.csv"
    delivery.write_text(
        "id,size,y\n" + "".join(f"{n},{n % 17},{3 * (n % 17) + n % 5}\n" for n in range(60)), encoding="utf-8"
    )
    open_estate(root).model("project001/m01_price").ingest("ds01_houses", [delivery], "2026-11-01")
    return root


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cockpit and a worker over a fresh estate."""
    with serving(_estate(tmp_path_factory.mktemp("walk"))) as address:
        yield address


def test_walk(url: str, page: Any) -> None:
    page.set_default_timeout(60_000)
    page.goto(url)
    settle(page)
    assert page.url.endswith("/work") and page.locator("h1").inner_text() == "My work"
    assert "1 IN file not refined yet" in page.inner_text("body")
    page.goto(url + "/estate")
    settle(page)
    assert page.locator("h1").inner_text() == "Estate"
    assert "1 project · 1 model" in page.inner_text("body")

    page.goto(url + "/model?project=project001&model=m01_price")
    settle(page)
    assert page.locator("h1").inner_text() == "m01_price"

    page.get_by_role("link", name="Lake").first.click()
    page.get_by_role("heading", name="Lake").wait_for()
    settle(page)
    assert "model=m01_price" in page.url, "the chosen model stays in the address"
    assert "1 waiting" in page.inner_text("body")
    assert "upper bound: no run yet" in page.inner_text("body"), "the plan stands before the button"

    page.get_by_role("button", name="Refine 1 file").dblclick()
    page.get_by_text("ds01_houses bronze v1: 60 rows").wait_for()
    body = page.inner_text("body")
    assert len(set(re.findall(r"r-[0-9a-z]{17}", body))) == 1, "a double click starts one run"
    assert "gold v1: 60 rows" in body
    page.get_by_text("no new IN file; every layer is current", exact=False).wait_for()

    page.goto(url + "/lake?project=gone&model=m01_price")
    page.get_by_text("is gone, or not yours to see").wait_for()
    assert page.get_by_text("ds01_houses").count() == 0, "a dead link never shows something else instead"


@pytest.mark.parametrize("path", ["/nonsense", "/a/b", "/lake/more/"])
def test_an_unknown_address_says_so(url: str, page: Any, path: str) -> None:
    page.goto(url + path)
    settle(page)
    assert page.locator("h1").inner_text() == "No such page"
    assert f"There is no page {path.rstrip('/')}." in page.inner_text("body")
