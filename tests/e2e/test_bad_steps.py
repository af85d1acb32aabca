"""Steps and expectations that fail. The last version stays current."""

from __future__ import annotations

import pytest

from esml_engine.estate import Estate
from tests.conftest import cli
from tests.e2e.wrong import REF, Numbers, again, failing, settle, step, versions
from tests.invariants import violations

# steps


STEP = """import pandas as pd


def step(df: pd.DataFrame, ctx):
    limit = 3
    return df[df["nope"] > limit]
"""


def test_a_step_that_raises_is_named_with_line_and_source(empty: Estate, numbers: Numbers) -> None:
    root = empty.site.root
    model = empty.model(REF)
    model.ingest("d1", [numbers("a.csv", 0, 30)], "2026-01-01")
    model.refine()
    path = step(empty, "d1.py", STEP)
    error = cli(root, "refine", REF, check=1)["error"]
    assert error["code"] == "step" and "KeyError" in error["message"]
    assert 'd1.py line 6: return df[df["nope"] > limit]' in error["message"]
    assert versions(empty, "d1/silver") == [1] and versions(empty, "gold") == [1]
    assert len(again(empty).dataset("d1").silver.read()) == 30
    run = cli(root, "runs")[0]["run"]
    path.write_text(STEP.replace("nope", "x"), encoding="utf-8")
    cli(root, "retry", run)
    assert again(empty).dataset("d1").silver.read()["x"].min() == 4
    assert cli(root, "refine", REF)["run"] is None
    path.write_text("def step(df, ctx):\n    return df.head(3)\n", encoding="utf-8")
    assert cli(root, "refine", REF)["layers"][-1]["rows"] == 3
    assert violations(root) == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def step(df, ctx):\n    return 3\n", "returned no table"),
        ("def step(df, ctx)\n    return df\n", "line 1"),
        ("x = 1\n", "no function step"),
        ("import sys\nsys.exit(0)\n", "line 2: sys.exit(0)"),
        ("def step(df, ctx):\n    raise SystemExit\n", "line 2: raise SystemExit"),
        ("def step(df, ctx):\n    raise KeyboardInterrupt\n", "line 2: raise KeyboardInterrupt"),
        ("def step(df, ctx):\n    return step(df, ctx)\n", "RecursionError"),
        ("def step(df, ctx):\n    open('/nowhere/at/all')\n", "line 2: open('/nowhere/at/all')"),
    ],
)
def test_steps_that_are_no_steps(empty: Estate, numbers: Numbers, code: str, words: str) -> None:
    empty.model(REF).ingest("d1", [numbers("a.csv", 0, 30)], "2026-01-01")
    step(empty, "d1.py", code)
    assert words in failing("step", again(empty).refine).message
    assert versions(empty, "d1/silver") == []


def test_a_step_in_sql_with_a_wrong_column(empty: Estate, numbers: Numbers) -> None:
    model = empty.model(REF)
    model.ingest("d1", [numbers("a.csv", 0, 30)], "2026-01-01")
    model.refine()
    path = step(empty, "d1.sql", "SELECT id, wrong, y FROM bronze")
    error = failing("step", again(empty).refine)
    assert "d1.sql" in error.message and "wrong" in error.message and "bronze" in error.hint
    assert versions(empty, "d1/silver") == [1]
    path.write_text("SELECT id, x, y FROM bronze WHERE x > 3", encoding="utf-8")
    again(empty).refine()
    assert versions(empty, "d1/silver") == [2, 1]


# expectations


@pytest.mark.parametrize("layer", ["bronze", "silver", "gold"])
def test_an_expectation_of_level_error_stops_its_layer(empty: Estate, numbers: Numbers, layer: str) -> None:
    table = "gold" if layer == "gold" else f"d1/{layer}"
    where = "[[expect]]" if layer == "gold" else f'[[datasets.d1.expect]]\non = "{layer}"'
    check = f'{where}\ncheck = "row_count"\nmax = 35\nlevel = "error"\n\n[split]'
    if layer == "gold":
        path = empty.site.root / "projects/p1/m1/model.toml"
        path.write_text(path.read_text().replace("[split]", check, 1))
    else:
        settle(empty, "[split]", check)
    model = again(empty)
    model.ingest("d1", [numbers("a.csv", 0, 30)], "2026-01-01")
    model.refine()
    model.ingest("d1", [numbers("b.csv", 30, 60)], "2026-01-02")
    error = failing("expectation", again(empty).refine)
    assert "60 rows, expected at most 35" in error.message and table in error.message
    assert versions(empty, table) == [1] and len(again(empty).table(table).read()) == 30
    # met only by a warning: shown, not stopped
    path = empty.site.root / "projects/p1/m1/model.toml"
    path.write_text(path.read_text().replace('level = "error"\n\n[split]', 'level = "warn"\n\n[split]', 1))
    done = cli(empty.site.root, "refine", REF)
    warned = {x["layer"]: x["warnings"] for x in done["layers"]}
    assert warned[layer][0]["check"] == "row_count" and len(again(empty).table(table).read()) == 60
    assert violations(empty.site.root) == []
