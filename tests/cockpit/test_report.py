"""The estate's report: one page of what the list shows, nothing of a name is markup."""

from __future__ import annotations

import pandas as pd

from cockpit.views.estate import Need, Row
from cockpit.views.figures import Figure
from cockpit.views.report import report


def _row(model: str, *needs: Need) -> Row:
    return Row(model, needs, "gold", 0.5, "", "2 d", "Data engineer", "RMSE", {}, None, "", 0)


def test_figures_requests_needs_and_lenses_stand_on_one_page() -> None:
    rows = [
        _row("p/a", Need("late", "Late IN: d1, 2 d"), Need("quality", "3 rows in quarantine")),
        _row("p/b"),
    ]
    progress = pd.DataFrame([{"Model": "a", "progress": 0.5}, {"Model": "b<script>", "progress": 1.0}])
    page = report(
        "2 models",
        [Figure("Spent", "€ 3", "of € 5")],
        [r"Promote **a v2** to prod: asked by x\_y"],
        rows,
        {"Progress": progress},
    )
    assert '<dd class="f">€ 3</dd>' in page and "<li>Promote a v2 to prod: asked by x_y</li>" in page
    assert page.count("<td>p/a</td>") == 2, "each need has a line"
    assert "<td>50</td>" in page and "b&lt;script&gt;" in page and "<script" not in page
    assert "src=" not in page and "href=" not in page, "it needs nothing else"


def test_where_nothing_waits_it_says_so() -> None:
    page = report("1 model", [], [], [_row("p/a")], {})
    assert "Nothing waits." in page and "No model needs anybody." in page
