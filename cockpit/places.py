"""Where the pages and the theme lie: beside `cockpit/` in a checkout, in the environment's `share/` when installed."""

from __future__ import annotations

import functools
import sysconfig
from pathlib import Path

APP = Path(__file__).parent / "app.py"


@functools.cache
def home() -> Path:
    """The folder that holds `pages/` and `.streamlit/`.

    Raises:
        FileNotFoundError: neither a checkout nor an installation has them.
    """
    for folder in (
        Path(__file__).resolve().parents[1],
        Path(sysconfig.get_path("data")) / "share" / "esml-cockpit",
    ):
        if (folder / "pages" / "estate.py").is_file():
            return folder
    raise FileNotFoundError("the cockpit's pages are not installed")


@functools.cache
def page(name: str) -> Path:
    """A page's file."""
    return home() / "pages" / f"{name}.py"
