"""Everything that comes wrong: files, steps, expectations, disks, requests, settings, names. The last version stays current."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from esml_engine.errors import EsmlError, UsageError
from esml_engine.estate import Estate, open_estate
from esml_engine.model import Model
from tests.conftest import MODEL, esml
from tests.invariants import violations
from tests.working import until, worker

REF = "p1/m1"
Numbers = Callable[[str, int, int], Path]


def again(estate: Estate) -> Model:
    """The model with settings read afresh."""
    return open_estate(estate.site.root).model(REF)


def settle(estate: Estate, old: str, new: str) -> None:
    """Change model.toml."""
    path = estate.site.root / "projects/p1/m1/model.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def step(estate: Estate, name: str, code: str) -> Path:
    """Write a step file."""
    path = estate.site.root / "projects/p1/m1/steps" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
    return path


def failing(code: str, act: Callable[[], object]) -> EsmlError:
    """The error of an act that must fail with this code."""
    with pytest.raises(EsmlError) as caught:
        act()
    assert caught.value.code == code, caught.value.document()
    return caught.value


def versions(estate: Estate, table: str) -> list[int]:
    return [v["version"] for v in again(estate).table(table).versions()]


# files


BAD = {
    "binary.csv": bytes(range(256)) * 40,
    "nothing.csv": b"",
    "nul.csv": b"\x00" * 4096,
}


def test_unreadable_files_among_good_ones_are_refused_by_name(
    empty: Estate, numbers: Numbers, tmp_path: Path
) -> None:
    root = empty.site.root
    for name, content in BAD.items():
        (tmp_path / name).write_bytes(content)
    files = [str(tmp_path / n) for n in BAD]
    esml(root, "ingest", REF, "d1", *files, str(numbers("a.csv", 0, 30)), "--date", "2026-01-01")
    done = esml(root, "refine", REF)
    said = {r["file"].rpartition("/")[2]: r["reason"] for r in done["refused"]}
    assert set(said) == set(BAD) and all(name in reason for name, reason in said.items()), said
    assert {x["layer"]: x["rows"] for x in done["layers"]} == {"bronze": 30, "silver": 30, "gold": 30}
    # nothing is new, and what was refused is still said
    once_more = esml(root, "refine", REF)
    assert once_more["run"] is None and {r["file"].rpartition("/")[2] for r in once_more["refused"]} == set(
        BAD
    )
    assert versions(empty, "d1/bronze") == [1]
    # delivered again, whole: read
    shutil.copy(numbers("nothing.csv", 40, 45), tmp_path / "whole.csv")
    esml(root, "ingest", REF, "d1", str(tmp_path / "nothing.csv"), "--date", "2026-01-01")
    third = esml(root, "refine", REF)
    assert [x["rows"] for x in third["layers"] if x["layer"] == "gold"] == [35]
    assert {r["file"].rpartition("/")[2] for r in third["refused"]} == {"binary.csv", "nul.csv"}
    assert violations(root) == []


def test_a_refused_file_is_read_when_the_dataset_says_how(
    empty: Estate, numbers: Numbers, tmp_path: Path
) -> None:
    (tmp_path / "wide.csv").write_text("id,x,y\n900,1,2\n", encoding="utf-16")
    empty.model(REF).ingest("d1", [tmp_path / "wide.csv"], "2026-01-01")
    failing("unreadable", empty.model(REF).refine)
    empty.model(REF).ingest("d1", [numbers("a.csv", 0, 30)], "2026-01-01")
    assert len(empty.model(REF).refine()["refused"]) == 1
    settle(empty, "[datasets.d1]", '[datasets.d1]\nencoding = "utf-16"')
    said = again(empty).refine(dry_run=True)
    assert not said.draft.nothing_to_do, "the encoding changed: the refused file waits again"


def test_truncated_parquet_is_refused_and_the_rest_goes_on(empty: Estate, tmp_path: Path) -> None:
    settle(empty, '# format = "csv"', 'format = "parquet"')
    whole, cut, middle = tmp_path / "whole.parquet", tmp_path / "cut.parquet", tmp_path / "middle.parquet"
    table = pa.table(
        {"id": range(5000), "x": [i % 7 for i in range(5000)], "y": [1.5 * i for i in range(5000)]}
    )
    pq.write_table(table, whole, compression="none")
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    middle.write_bytes(content[:4] + b"\xff" * (len(content) - 3000) + content[len(content) - 2996 :])
    again(empty).ingest("d1", [whole, cut, middle], "2026-01-01")
    done = esml(empty.site.root, "refine", REF)
    assert {r["file"].rpartition("/")[2] for r in done["refused"]} == {"cut.parquet", "middle.parquet"}
    assert [x["rows"] for x in done["layers"]] == [5000, 5000, 5000]


def test_only_unreadable_files_fail_and_make_nothing(empty: Estate, tmp_path: Path) -> None:
    root = empty.site.root
    for name, content in BAD.items():
        (tmp_path / name).write_bytes(content)
    esml(root, "ingest", REF, "d1", *(str(tmp_path / n) for n in BAD), "--date", "2026-01-01")
    error = esml(root, "refine", REF, check=1)["error"]
    assert error["code"] == "unreadable" and all(n in error["message"] for n in BAD)
    assert versions(empty, "d1/bronze") == []
    assert violations(root) == []


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
    error = esml(root, "refine", REF, check=1)["error"]
    assert error["code"] == "step" and "KeyError" in error["message"]
    assert 'd1.py line 6: return df[df["nope"] > limit]' in error["message"]
    assert versions(empty, "d1/silver") == [1] and versions(empty, "gold") == [1]
    assert len(again(empty).dataset("d1").silver.read()) == 30
    run = esml(root, "runs")[0]["run"]
    path.write_text(STEP.replace("nope", "x"), encoding="utf-8")
    esml(root, "retry", run)
    assert again(empty).dataset("d1").silver.read()["x"].min() == 4
    assert esml(root, "refine", REF)["run"] is None
    path.write_text("def step(df, ctx):\n    return df.head(3)\n", encoding="utf-8")
    assert esml(root, "refine", REF)["layers"][-1]["rows"] == 3
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
    done = esml(empty.site.root, "refine", REF)
    warned = {x["layer"]: x["warnings"] for x in done["layers"]}
    assert warned[layer][0]["check"] == "row_count" and len(again(empty).table(table).read()) == 60
    assert violations(empty.site.root) == []


# a full disk


@pytest.fixture
def tiny(empty: Estate) -> Iterator[Path]:
    """The lake on a file system of 2 MB."""
    lake = empty.site.root / "lake/dev"
    lake.mkdir(parents=True, exist_ok=True)
    keep = lake.with_name("kept")
    shutil.copytree(lake, keep)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root to mount a small file system")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(lake)], check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        shutil.copytree(keep, lake, dirs_exist_ok=True)
        yield lake
    finally:
        subprocess.run(["umount", "-l", str(lake)], check=True)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_full_disk_under_the_lake(
    empty: Estate, numbers: Numbers, tiny: Path, kind: str, tmp_path: Path
) -> None:
    root = empty.site.root
    if kind == "parquet":
        settle(empty, '# format = "csv"', 'format = "parquet"')

    def made(name: str, a: int, b: int) -> Path:
        if kind == "csv":
            return numbers(name + ".csv", a, b)
        path = tmp_path / f"{name}.parquet"
        ids = list(range(a, b))
        pq.write_table(pa.table({"id": ids, "x": [i % 17 for i in ids], "y": [i % 5 for i in ids]}), path)
        return path

    again(empty).ingest("d1", [made("a", 0, 60)], "2026-01-01")
    again(empty).refine()
    again(empty).ingest("d1", [made("b", 60, 20_000)], "2026-01-02")
    filler = tiny / ".filler"
    with filler.open("wb", buffering=0) as f, pytest.raises(OSError, match="No space"):
        while True:
            f.write(b"x" * 4096)
    error = esml(root, "refine", REF, check=1)["error"]
    assert error["code"] == "disk" and "free space" in error["hint"], error
    assert versions(empty, "d1/bronze") == [1] and len(again(empty).gold.read()) == 60
    refused = failing("disk", lambda: again(empty).ingest("d1", [made("c", 0, 9000)], "2026-01-03"))
    assert "free space" in refused.hint
    run = esml(root, "runs")[0]["run"]
    filler.unlink()
    assert esml(root, "retry", run)["layers"][-1]["rows"] == 20_000
    if kind == "csv":
        assert violations(root) == []


SMALL_FILES = """import resource
import numpy as np


def step(df, ctx):
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
    df = df.loc[df.index.repeat(2000)].reset_index(drop=True)
    df["noise"] = np.random.default_rng(1).random(len(df))
    return df
"""


def test_a_disk_that_takes_no_more_under_a_step(empty: Estate, numbers: Numbers) -> None:
    model = empty.model(REF)
    model.ingest("d1", [numbers("a.csv", 0, 30)], "2026-01-01")
    model.refine()
    path = step(empty, "d1.py", SMALL_FILES)
    error = failing("disk", again(empty).refine)
    assert "silver:d1" in error.message and "free space" in error.hint
    assert versions(empty, "d1/silver") == [1]
    path.unlink()
    assert again(empty).refine()["run"] is None  # back to the default step: silver v1 is what it makes
    assert violations(empty.site.root) == []


# redelivery, foreign files


def test_a_changed_redelivery_replaces_exactly_that_files_rows(
    empty: Estate, numbers: Numbers, csv_file, tmp_path: Path
) -> None:
    root, model = empty.site.root, empty.model(REF)
    model.ingest("d1", [numbers("a.csv", 0, 30), numbers("b.csv", 30, 60)], "2026-01-01")
    model.refine()
    old = model.gold.versions()[0]["version"]
    csv_file("b.csv", "id,x,y", ["30,100,7", "31,oops,7"])
    assert model.ingest("d1", [tmp_path / "b.csv"], "2026-01-01")["files"][0]["status"] == "replaced"
    model.refine()
    now = model.dataset("d1").bronze.read()
    assert sorted(now["id"]) == list(range(31)) and set(now[now["id"] == 30]["x"]) == {100}
    assert len(model.dataset("d1").quarantine()) == 1
    assert len(model.dataset("d1").bronze.read(version=1)) == 60 and len(model.gold.read(version=old)) == 60
    names = [n["name"] for n in model.lineage("gold", old)["nodes"] if n["kind"] == "file"]
    new = [n["name"] for n in model.lineage("gold")["nodes"] if n["kind"] == "file"]
    assert len(names) == 2 and len(new) == 2 and len(set(names) & set(new)) == 1, (names, new)
    assert model.ingest("d1", [tmp_path / "b.csv"], "2026-01-01")["files"][0]["status"] == "unchanged"
    assert model.refine()["run"] is None
    assert violations(root) == []


def test_two_files_of_the_same_content_are_two_files(empty: Estate, numbers: Numbers, tmp_path: Path) -> None:
    model = empty.model(REF)
    a = numbers("a.csv", 0, 30)
    shutil.copy(a, tmp_path / "b.csv")
    model.ingest("d1", [a, tmp_path / "b.csv"], "2026-01-01")
    model.refine()
    assert len(model.dataset("d1").bronze.read()) == 60
    model.ingest("d1", [numbers("b.csv", 100, 105)], "2026-01-01")
    model.refine()
    assert sorted(model.dataset("d1").bronze.read()["id"]) == [*range(30), *range(100, 105)]
    assert violations(empty.site.root) == []


@pytest.mark.parametrize("name", ["spark-part-0001.csv", "it's [odd] *.csv", "two\nlines.csv", "ümlaut.csv"])
def test_a_foreign_file_in_the_lake_is_found(empty: Estate, numbers: Numbers, name: str) -> None:
    model = empty.model(REF)
    folder = Path(empty.site.platform("dev").lake_root()) / "projects/p1/m1/train/d1/in/2026/01/01"
    folder.mkdir(parents=True)
    shutil.copy(numbers("other.csv", 100, 110), folder / "it's o other.csv")
    model.refine()
    shutil.copy(numbers("a.csv", 0, 30), folder / name)
    done = model.refine()
    assert not done["refused"] and done["layers"][-1]["rows"] == 40
    shutil.copy(numbers("a2.csv", 0, 20), folder / name)  # its owner overwrites it
    assert model.refine()["layers"][-1]["rows"] == 30
    assert len(model.gold.read(version=2)) == 40


# drift, inference


@pytest.mark.parametrize("policy", ["evolve", "warn", "fail"])
def test_added_and_dropped_columns(empty: Estate, numbers: Numbers, csv_file, policy: str) -> None:
    settle(empty, '# drift = "warn"', f'drift = "{policy}"')
    model = again(empty)
    model.ingest("d1", [numbers("a.csv", 0, 30)], "2026-01-01")
    model.refine()
    model.ingest("d1", [csv_file("b.csv", "id,y,z", ["100,1,9", "101,2,8"])], "2026-01-02")
    if policy == "fail":
        error = failing("expectation", again(empty).refine)
        assert "added column z" in error.message and "dropped column x" in error.message
        assert versions(empty, "d1/bronze") == [1]
        return
    done = esml(empty.site.root, "refine", REF)
    rows = again(empty).dataset("d1").bronze.read()
    assert set(rows.columns) == {"id", "x", "y", "z"} and len(rows) == 32
    assert rows["z"].isna().sum() == 30 and rows["x"].isna().sum() == 2
    shown = {(w["check"], w["column"]) for x in done["layers"] for w in x["warnings"]}
    assert shown == (set() if policy == "evolve" else {("drift:added", "z"), ("drift:dropped", "x")})
    assert violations(empty.site.root) == []


def test_inference_files_come_without_the_label(empty: Estate, numbers: Numbers, csv_file) -> None:
    settle(
        empty,
        "[split]",
        '[[expect]]\ncheck = "not_null"\ncolumn = "y"\nlevel = "error"\n\n[split]',
    )
    settle(empty, '# drift = "warn"', 'drift = "fail"')
    model = again(empty)
    model.ingest("d1", [numbers("a.csv", 0, 30)], "2026-01-01")
    model.refine()
    model.ingest("d1", [csv_file("i.csv", "id,x", ["500,1", "501,2"])], "2026-01-02", "inference")
    model.refine(purpose="inference")
    model.ingest("d1", [csv_file("j.csv", "id,x", ["502,1"])], "2026-01-03", "inference")
    model.refine(purpose="inference")
    assert len(model.to_score.read()) == 3


# names and paths


@pytest.mark.parametrize(
    "args",
    [
        ("show", REF, "--table", "../../x"),
        ("show", REF, "--table", "d1/../../bronze"),
        ("versions", REF, "--table", "inference/../bronze"),
        ("show", REF, "--table", "gold\n"),
        ("show", "p1/..", "--table", "gold"),
        ("show", "../p1/m1", "--table", "gold"),
        ("refine", "p1/m1/../m1"),
        ("refine", REF, "--dataset", "../d1"),
        ("new", "model", "p1/..", "--task", "regression", "--datasets", "d1"),
        ("new", "model", "p1/m2", "--task", "regression", "--datasets", "../d1"),
        ("new", "project", "..", "--team", "t"),
        ("new", "project", "p2\n", "--team", "t"),
        ("ingest", REF, "d1", "/etc/hostname", "--date", "2026/../../x"),
        ("status", "../../etc"),
        ("runs", "../../r"),
    ],
)
def test_names_that_leave_their_place_are_refused(empty: Estate, args: tuple[str, ...]) -> None:
    before = sorted(str(p) for p in empty.site.root.rglob("*") if ".esml" not in str(p))
    esml(empty.site.root, *args, check=2)
    assert sorted(str(p) for p in empty.site.root.rglob("*") if ".esml" not in str(p)) == before


def test_file_names_that_no_lake_path_may_hold(empty: Estate, numbers: Numbers, tmp_path: Path) -> None:
    content = numbers("ok.csv", 0, 3).read_bytes()
    odd = [
        tmp_path / "two\nlines.csv",
        tmp_path / "-dash.csv",
        tmp_path / ".hidden.csv",
        tmp_path / "a;b.csv",
    ]
    for path in odd:
        path.write_bytes(content)
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    said = empty.model(REF).ingest("d1", [*odd, folder, tmp_path / "ok.csv"], "2026-01-01")["files"]
    assert [f["status"] for f in said] == ["refused"] * 5 + ["added"]
    assert all(f["reason"] for f in said[:5])


def test_a_secret_of_a_name_with_slashes_stays_in_its_folder(empty: Estate) -> None:
    platform = empty.site.platform("dev")
    with pytest.raises(UsageError):
        platform.put_secret("../../estate", "x")
    with pytest.raises(UsageError):
        platform.get_secret("../../estate.toml")


# requests over HTTP


def test_wrong_requests_name_the_column(demo: Path) -> None:
    """Against the demo's own endpoint, kept up by a long-lived worker."""
    columns = [
        c["name"] for c in esml(demo, "show", MODEL, "--table", "gold_test", "--limit", "1")["columns"]
    ]
    row = esml(demo, "show", MODEL, "--table", "gold_test", "--limit", "1")["rows"][0]
    with worker(demo):
        access = esml(demo, "keys", MODEL)

        def ask(names: list[str], values: list[Any], key: str = access["key"]) -> httpx.Response:
            return httpx.post(
                access["url"],
                json={"input_data": {"columns": names, "data": [values]}},
                headers={"authorization": f"Bearer {key}"},
                timeout=30,
            )

        health = access["url"].replace("/score", "/health")
        until(lambda: answers(health), "the endpoint")
        unknown = ask(["nonsense"], [1])
        assert unknown.status_code == 400 and "error" in unknown.json()
        features = [n for n in columns if n not in ("y", "patient_id")]
        good = [row[n] for n in features]
        said = ask(features, good)
        if said.status_code != 200:  # the signature names what it takes
            raise AssertionError(said.json())
        extra = ask([*features, "nonsense"], [*good, 1])
        assert extra.status_code == 400 and "nonsense" in extra.json()["error"]["message"]
        missing = ask(features[1:], good[1:])
        assert missing.status_code == 400 and features[0] in missing.json()["error"]["message"]
        text = ask(features, ["tall", *good[1:]])
        assert text.status_code == 400 and features[0] in text.json()["error"]["message"]
        assert ask(features, good, key="wrong").status_code == 401
        assert httpx.post(access["url"], content=b"{", timeout=30).status_code == 401
        broken = httpx.post(
            access["url"], content=b"{", headers={"authorization": f"Bearer {access['key']}"}, timeout=30
        )
        assert broken.status_code == 400 and "not JSON" in broken.json()["error"]["message"]


def answers(health: str) -> bool:
    try:
        return httpx.get(health, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
