"""Names and paths that leave their place, and wrong requests over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from esml_engine.errors import UsageError
from esml_engine.estate import Estate
from esml_engine.serving.rows import columns_of
from tests.conftest import MODEL, cli
from tests.e2e.wrong import REF, Numbers
from tests.working import until, worker

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
    cli(empty.site.root, *args, check=2)
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
    columns = [c["name"] for c in cli(demo, "show", MODEL, "--table", "gold_test", "--limit", "1")["columns"]]
    row = cli(demo, "show", MODEL, "--table", "gold_test", "--limit", "1")["rows"][0]
    with worker(demo):
        access = cli(demo, "keys", MODEL)

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


@pytest.mark.parametrize(
    "text", [b'[{"x":1,', b"", b"\xff\xfe[", b'{"input_data": {"columns": ["x"]}}', b'{"input_data": 3}']
)
def test_a_json_file_that_is_none_is_named(tmp_path: Path, text: bytes) -> None:
    (file := tmp_path / "rows.json").write_bytes(text)
    with pytest.raises(UsageError) as e:
        columns_of(file)
    assert "rows.json" in e.value.message or "input_data" in e.value.message
