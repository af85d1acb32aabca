"""Named views: kept, replaced, forgotten; wrong filters refused; only for those who may read the rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from cockpit.views import scored as page
from esml_engine.errors import NotAllowedError, NotFoundError, UsageError
from esml_engine.estate import Estate, init_estate, open_estate

MODEL = "p1/m1"


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    init_estate(tmp_path / "estate", ["dev"])
    out = open_estate(tmp_path / "estate")
    out.new_project("p1", "team")
    out.new_model(MODEL, "regression", ["ds01"], label="y")
    out.member_add("p1", "reader@x", "reader")
    return out


def test_a_view_is_kept_replaced_and_forgotten(estate: Estate) -> None:
    model = estate.model(MODEL)
    model.save_view("mine", {"caller": ["web"], "from": "2026-10-01", "to": ""})
    assert [(v["name"], v["filters"]) for v in model.views()] == [
        ("mine", {"caller": ["web"], "from": "2026-10-01"})
    ]
    assert page.of_view(model.views()[0]["filters"]).callers == ("web",)
    model.save_view("mine", {"where": ["prediction >= 2"]})
    assert model.views()[0]["filters"] == {"where": ["prediction >= 2"]}
    model.drop_view("mine")
    assert model.views() == []
    assert [e["act"] for e in estate.audit(limit=3)][:3] == ["drop_view", "save_view", "save_view"]


def test_what_is_no_view_is_refused(estate: Estate) -> None:
    model = estate.model(MODEL)
    with pytest.raises(UsageError, match="no filter 'limit'"):
        model.save_view("v", {"limit": "3"})
    with pytest.raises(UsageError, match="1 to 60"):
        model.save_view(" ", {})
    with pytest.raises(NotFoundError, match="no view 'gone'"):
        model.drop_view("gone")


def test_a_reader_may_not(estate: Estate) -> None:
    as_reader = open_estate(estate.site.root, act_as="reader@x").model(MODEL)
    with pytest.raises(NotAllowedError):
        as_reader.save_view("v", {})
    with pytest.raises(NotAllowedError):
        as_reader.views()
