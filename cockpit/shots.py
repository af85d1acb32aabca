"""Screenshots of every page in both themes and three sizes: `python -m cockpit.shots URL OUTDIR`. Needs a running cockpit and Chromium."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

SIZES = {"1440x900": (1440, 900), "1024x768": (1024, 768), "390x844": (390, 844)}
SCHEMES = ("light", "dark")
PHONE = (
    "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Mobile Safari/537.36"
)
"""What a phone calls itself: pages are laid out for it by that."""
ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PAGES = {
    "work": "/work", "estate": "/estate", "project": "/project", "approvals": "/approvals", "costs": "/costs", "audit": "/audit",
    "lake": "/lake", "lake-inference": "/lake?purpose=inference", "lake-deliver": "/lake?act=Deliver+files",
    "dataset": "/dataset", "dataset-profile": "/dataset?tab=Profile",
    "model": "/model", "model-versions": "/model?tab=Versions", "model-cost": "/model?tab=Cost", "leaderboard": "/leaderboard",
    "leaderboard-train": "/leaderboard?train=true",
    "promotion": "/promotion?env=prod", "deployments": "/deployments?env=prod", "scored": "/scored?env=prod",
    "scored-profile": "/scored?env=prod&show=Profile",
    "runs": "/runs", "settings": "/settings",
}  # fmt: skip
"""Each page, and those of its tabs that look unlike it."""


def chromium() -> str | None:
    """An installed Chromium's path; None: try Playwright's own."""
    return next((found for n in _NAMES if (found := shutil.which(n))), None)


def launch(playwright: Any) -> Any:
    """A headless browser: the installed Chromium, else Playwright's."""
    return playwright.chromium.launch(executable_path=chromium(), args=ARGS)


def settle(page: Any, seconds: float = 30.0) -> None:
    """Wait until the page has its title, nothing of it is being drawn, and its height has stopped moving."""
    page.locator("h1").first.wait_for(timeout=seconds * 1000)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=seconds * 1000)
    end, before, same = time.monotonic() + seconds, "", 0
    while time.monotonic() < end and same < 4:
        page.wait_for_timeout(120)
        busy = page.locator("[data-testid=stSkeleton]").count()
        now = f"{busy}:{page.evaluate('document.body.innerText.length')}"
        same = same + 1 if now == before and not busy else 0
        before = now


def addresses(page: Any, url: str) -> dict[str, str]:
    """Every page's address; the run's is taken from the list of runs."""
    found = dict(PAGES)
    page.goto(url + "/lake")
    settle(page)
    m = re.search(r"r-[0-9a-z]{17}", page.inner_text("body"))
    if m:
        found["run"] = f"/run?run={quote(m[0])}"
    return found


def take(
    url: str, out: Path, only: tuple[str, ...] = (), sizes: tuple[str, ...] = tuple(SIZES)
) -> list[Path]:
    """Take them; returns the files."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    made = []
    with sync_playwright() as p:
        browser = launch(p)
        first = browser.new_page()
        pages = addresses(first, url)
        first.close()
        for size in sizes:
            width, height = SIZES[size]
            for scheme in SCHEMES:
                phone = {"user_agent": PHONE, "has_touch": True} if width < 500 else {}
                context = browser.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme=scheme,
                    timezone_id="Europe/Stockholm",
                    **phone,
                )
                page = context.new_page()
                for name, path in pages.items():
                    if only and name not in only:
                        continue
                    page.goto(url + path)
                    settle(page)
                    target = out / f"{name}-{size}-{scheme}.png"
                    page.screenshot(path=str(target))
                    made.append(target)
                context.close()
        browser.close()
    return made


def main() -> int:
    """The command."""
    if len(sys.argv) < 3:
        sys.stderr.write("usage: python -m cockpit.shots URL OUTDIR [PAGE ...] [SIZE ...]\n")
        return 2
    rest = sys.argv[3:]
    sizes = tuple(r for r in rest if r in SIZES) or tuple(SIZES)
    for f in take(
        sys.argv[1].rstrip("/"), Path(sys.argv[2]), tuple(r for r in rest if r not in SIZES), sizes
    ):
        sys.stdout.write(f"{f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
