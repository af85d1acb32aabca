"""Shared by the tests of runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from esml_engine.estate import Estate
from tests.working import worker


@pytest.fixture
def up(empty: Estate) -> Iterator[None]:
    """A worker of its own process works for the estate meanwhile."""
    with worker(empty.site.root):
        yield
