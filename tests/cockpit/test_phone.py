"""What a phone is shown: lists where a table would lie beyond the edge, the deciding columns first elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from cockpit.frame import screens
from esml_engine.estate import Estate
from tests.cockpit.conftest import MODEL, Open, text_of

WHERE = {"project": MODEL.split("/")[0], "model": MODEL.split("/")[1], "env": "dev"}


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser says that it is a phone's."""
    for place in (
        "frame.navigation",
        "frame.components",
        "parts.boards",
        "parts.comparing",
        "parts.listing",
        "frame.screens",
    ):  # the last one is where the others have it from
        monkeypatch.setattr(f"cockpit.{place}.on_phone", lambda: True)


def test_the_best_of_each_environment_is_a_list(estate: Estate, page: Open, phone: None) -> None:
    small = page(estate.site.root, "leaderboard", **WHERE)
    assert not small.exception and not small.table
    assert "**dev** v1 :gray-badge[:material/lock: champion]" in text_of(small)
    assert "its 95 % interval, against the trivial baseline" in text_of(small)


def test_on_a_wide_screen_it_is_a_table(estate: Estate, page: Open) -> None:
    wide = page(estate.site.root, "leaderboard", **WHERE)
    assert wide.table[0].value["Version"].iloc[0] == "v1"


def test_the_project_is_named_without_its_team_so_that_both_fit_on_a_row(
    estate: Estate, page: Open, phone: None
) -> None:
    assert page(estate.site.root, "lake", **WHERE).selectbox(key="pick:project").options[0] == "project001"


def test_deciding_columns_come_first_on_a_phone_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert screens.deciding_first(("a", "b", "c"), ("c", "x")) == ["a", "b", "c"]
    monkeypatch.setattr(screens, "on_phone", lambda: True)
    assert screens.deciding_first(("a", "b", "c"), ("c", "x")) == ["c", "a", "b"]


@pytest.mark.parametrize("name", ["audit", "estate", "approvals", "scored", "lake", "promotion"])
def test_pages_open_on_a_phone(estate: Estate, page: Open, phone: None, name: str) -> None:
    at = page(estate.site.root, name, **WHERE)
    assert not at.exception and not at.error, Path(name)


def test_the_estate_is_a_list_of_cards_on_a_phone(estate: Estate, page: Open, phone: None) -> None:
    at = page(estate.site.root, "estate")
    assert not at.dataframe and "No IN file yet" in text_of(at) and "Stage trained" in text_of(at)
