"""An estate's platforms: one object an environment, whoever asks first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from esml_engine.door import site as door
from esml_engine.door.site import Site
from esml_engine.estate import Estate


def test_threads_that_ask_at_once_get_the_same_platform(
    empty: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one follows the other's job on a platform that did not start it, and takes it for lost."""
    opened: list[Any] = []
    second = threading.Event()
    real = door.open_platform

    def opening(*args: Any) -> Any:
        opened.append(args)
        if len(opened) > 1:
            second.set()
        second.wait(0.3)  # somebody else has the time to begin as well
        return real(*args)

    monkeypatch.setattr(door, "open_platform", opening)
    site = Site(empty.site.root)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(site.platform, ["dev"] * 4))
    assert len(opened) == 1 and len({id(p) for p in found}) == 1
