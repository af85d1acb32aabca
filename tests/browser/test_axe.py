"""Accessibility: axe finds nothing serious or critical on any page, in both themes, beyond Streamlit's own frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.shots import addresses, launch, settle
from esml_engine.estate import open_estate
from tests.browser.conftest import serving
from tests.conftest import copy_of

pytestmark = pytest.mark.browser

_ALL = {"resultTypes": ["violations"]}  # what passed is not worked out in full
_COLOURS = {**_ALL, "runOnly": ["color-contrast", "link-in-text-block"]}  # what another theme may change
# what Streamlit draws itself, rule by rule; each was looked at
FRAME = {
    "list": ("stSidebarNav",),  # its sections' headers stand between the links
    "listitem": ("stSidebarNav",),
    "svg-img-alt": ("stVegaLiteChart", "stMetric"),  # Vega's own marks of a brush and of a sparkline
    "aria-allowed-attr": ("stSelectbox",),
    "scrollable-region-focusable": ("stDataFrame",),  # a canvas with a keyboard handling of its own
}


@pytest.fixture(scope="module")
def root(demo_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of(demo_source, tmp_path_factory.mktemp("axe") / "estate")


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with serving(root) as address:
        yield address


def row_of(root: Path) -> str:
    """The address of one scored row of the demo."""
    project, model, env = "project002", "m11_diabetes", "prod"
    row = open_estate(root).model(f"{project}/{model}", env).scored(limit=1).document()["rows"][0]
    return f"/row?project={project}&model={model}&env={env}&request={row['request_id']}&row={row['row']}"


def decided_of(root: Path) -> str:
    """The address of a request that was refused."""
    return f"/approvals?request={open_estate(root).requests('refused')[0]['request']}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as p:
        opened = launch(p)
        yield opened
        opened.close()


def test_no_serious_finding_in_either_theme(root: Path, url: str, browser: Any) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    ).Axe()
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(120_000)
    found = []
    pages = addresses(page, url)
    assert "run" in pages
    nothing = "/scored?project=project002&model=m11_diabetes&env=prod&caller=nobody"
    more = {"row": row_of(root), "decided": decided_of(root), "no row left": nothing}
    schemes = ["light", "dark"]
    for name, path in {**pages, **more}.items():
        page.goto(url + path)
        settle(page, 120)
        for scheme, rules in zip(schemes, (_ALL, _COLOURS), strict=True):
            _turned(page, scheme)
            for v in axe.run(page, options=rules).response["violations"]:
                if v["impact"] in ("serious", "critical"):
                    found += [
                        f"{name}, {scheme}: {v['id']}: {n['html'][:160]}"
                        for n in v["nodes"]
                        if not _frame(page, v["id"], n)
                    ]
        schemes.reverse()  # the next page begins as this one ends
    context.close()
    assert not found, "\n".join(found)


def _turned(page: Any, scheme: str) -> None:
    """The page in a theme: Streamlit follows what the browser prefers, and this waits until its ground has that theme's colour."""
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function(
        """scheme => {
            const [r, g, b] = getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor.match(/\\d+/g)
            return (Number(r) + Number(g) + Number(b) > 384) === (scheme === 'light')
        }""",
        arg=scheme,
    )
    settle(page, 120)


def _frame(page: Any, rule: str, node: dict[str, Any]) -> bool:
    """Whether a finding lies inside what Streamlit draws and we can't change."""
    inside = "".join(f",[data-testid={x}]" for x in FRAME.get(rule, ()))[1:]
    if not inside:
        return False
    target = node["target"][0]
    return bool(
        page.evaluate(
            "([t, inside]) => { const e = document.querySelector(t); return !!(e && e.closest(inside)) }",
            [target if isinstance(target, str) else target[0], inside],
        )
    )
