"""An evidence pack is whole or says what was changed; the page carries it, and the printed recipe verifies it."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esml_engine.promotion import evidence, page

GATE = {"gate": "min_gain:rmse", "passed": False, "champion": 5.0, "challenger": 6.0, "difference": -1.0, "interval": [-2.0, 0.5],
    "margin": -1.0, "reason": "worse <b>", "would_pass_if": {"text": "rmse of 5"}}  # fmt: skip
MODEL = {"version": 2, "environment": "dev", "trained_in": "dev", "training_run": "r-2", "sha256": "b" * 64,
    "estimator": "linear", "data": {"env": "dev", "gold": 1}}  # fmt: skip
SECTIONS: dict[str, Any] = {
    "decision": {"object": "p/m", "from": "dev", "to": "test", "version": 2, "state": "refused", "decided_by": "gates",
        "reason": "ä & <x>", "at": "2026-11-24"},
    "models": {"challenger": MODEL, "champion": {**MODEL, "version": 1}},
    "metrics": {"primary": "rmse", "challenger": {"rmse": 6.0}, "champion": {"rmse": 5.0}, "baseline": {"rmse": 9.0},
        "intervals_of_difference": {"rmse": [-2.0, 0.5]}, "rows": 100,
                "distribution": {"metric": "rmse", "edges": [0.1 * i for i in range(41)], "counts": list(range(40))}},
    "gates": {"verdict": "refuse", "gates": [GATE], "settings": {}},
    "data": {"tables": [{"environment": "test", "table": "gold_test", "version": 3, "rows": 100, "use": ["compared on"],
        "schema_sha256": "c" * 64}]},
    "policy": {"environment": "test", "in_force": {"approvals": 1}, "origin": {"approvals": "estate"}},
    "request": {"run": "r-3", "by": "anna", "person": "os", "at": "2026-11-24"},
    "approvals": {"needed": 1, "decisions": [{"verdict": "refuse", "by": "bob", "person": "os", "at": "2026", "reason": "no"}],
        "note": evidence.ONE_PERSON},
    "engine": {"version": "0.1.0", "estate": "contoso"},
}  # fmt: skip
PACK = evidence.sealed("v-1-test", SECTIONS)


def test_a_whole_pack_verifies_as_document_json_and_page(tmp_path: Path) -> None:
    assert evidence.verify(PACK)["ok"]
    (tmp_path / "e.json").write_text(json.dumps(PACK), encoding="utf-8")
    (tmp_path / "e.html").write_text(evidence.html(PACK), encoding="utf-8")
    for name in ("e.json", "e.html"):
        said = evidence.verify(tmp_path / name)
        assert said["ok"] and said["sha256"] == PACK["sha256"] and all(said["sections"].values()), said


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_a_change_in_a_section_is_found_by_its_name(section: str) -> None:
    changed = copy.deepcopy(PACK)
    changed["sections"][section]["new"] = 1
    said = evidence.verify(changed)
    assert not said["ok"] and said["sections"][section] is False and section in said["reason"]
    changed["hashes"][section] = evidence.sha256_of(changed["sections"][section])
    said = evidence.verify(changed)
    assert not said["ok"] and "hash" in said["reason"]
    gone = copy.deepcopy(PACK)
    del gone["sections"][section]
    assert not evidence.verify(gone)["ok"]


JSON_BYTES = json.dumps(PACK, ensure_ascii=False).encode()
PAGE_BYTES = evidence.html(PACK).encode()


@given(st.integers(0, len(JSON_BYTES) - 1), st.integers(1, 255))
def test_any_changed_byte_of_the_json_is_found(place: int, change: int) -> None:
    raw = bytearray(JSON_BYTES)
    raw[place] = raw[place] ^ change
    if _same(bytes(raw)):
        return  # white space outside of a value
    assert not _verify_bytes(bytes(raw), ".json")


@given(st.integers(0, len(PAGE_BYTES) - 1), st.integers(1, 127))
def test_any_changed_byte_of_the_page_is_found(place: int, change: int) -> None:
    raw = bytearray(PAGE_BYTES)
    raw[place] = raw[place] ^ change
    assert not _verify_bytes(bytes(raw), ".html")


def test_a_page_that_says_it_is_of_a_later_form_is_not_believed(tmp_path: Path) -> None:
    """The mark stands in the page itself: whoever edits the page can edit it."""
    page = tmp_path / "e.html"
    text = evidence.html(PACK)
    mark = re.search(r'name="esml-evidence-page" content="(\d+)"', text)
    assert mark
    page.write_text(text.replace(mark[0], mark[0].replace(mark[1], "99")), encoding="utf-8")
    said = evidence.verify(page)
    assert not said["ok"] and "does not render" in said["reason"]


def test_a_mark_of_thousands_of_digits_does_not_hold(tmp_path: Path) -> None:
    page = tmp_path / "e.html"
    text = evidence.html(PACK)
    mark = re.search(r'name="esml-evidence-page" content="(\d+)"', text)
    assert mark
    for digits in ("9" * 5_000, "0" * 5_000 + mark[1]):
        page.write_text(text.replace(mark[0], mark[0].replace(mark[1], digits)), encoding="utf-8")
        said = evidence.verify(page)
        assert not said["ok"] and "does not render" in said["reason"]


def _objects(found: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where in a document objects that have names stand."""
    inside = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    own = [at] if isinstance(found, dict) and found else []
    return [*own, *(p for k, v in inside for p in _objects(v, (*at, k)))]


def _doubled(found: Any, at: tuple[str | int, ...], first: str) -> str:
    """JSON of `found` with the first name of the object at `at` twice: `first` before its own value."""
    if not at:
        name = next(iter(found))
        return f"{{{json.dumps(name)}: {first}, {json.dumps(found)[1:]}"
    inside = {k: json.dumps(v) for k, v in found.items()} if isinstance(found, dict) else None
    if inside is None:
        return (
            "["
            + ", ".join(
                _doubled(v, at[1:], first) if i == at[0] else json.dumps(v) for i, v in enumerate(found)
            )
            + "]"
        )
    inside[str(at[0])] = _doubled(found[at[0]], at[1:], first)
    return "{" + ", ".join(f"{json.dumps(k)}: {v}" for k, v in inside.items()) + "}"


@given(st.sampled_from(_objects(PACK)), st.sampled_from(["1", "{}", '"refused"', "null"]))
def test_a_name_that_stands_twice_is_refused(at: tuple[str | int, ...], first: str) -> None:
    """Python reads the last of the two, others the first: a pack would say one thing here and another there."""
    text = _doubled(PACK, at, first)
    assert json.loads(text) == PACK, "read without care it is the whole pack"
    assert not _verify_bytes(text.encode(), ".json")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a": ' * 200_000, "1" * 5_000, '{"format": 1e999}', "NaN"])
def test_what_json_cannot_hold_does_not_hold(tmp_path: Path, text: str) -> None:
    path = tmp_path / "e.json"
    path.write_text(text, encoding="utf-8")
    assert not evidence.verify(path)["ok"]


def test_a_sealed_document_that_makes_no_page_does_not_hold_as_one(tmp_path: Path) -> None:
    path = tmp_path / "e.html"
    inside = json.dumps(evidence.sealed("v-1-test", {"decision": {}}))
    path.write_text(f'<html><pre id="evidence">{inside}</pre></html>', encoding="utf-8")
    said = evidence.verify(path)
    assert not said["ok"] and "something else" in said["reason"]


def _same(raw: bytes) -> bool:
    try:
        return bool(json.loads(raw) == PACK)
    except ValueError:
        return False


def _verify_bytes(raw: bytes, suffix: str) -> bool:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"e{suffix}"
        path.write_bytes(raw)
        return bool(evidence.verify(path)["ok"])


def test_the_page_needs_nothing_else_and_escapes_what_people_wrote() -> None:
    text = evidence.html(PACK)
    for word in ("<script", "http://", "https://", "src=", "@import", "url("):
        assert word not in text
    assert "<b>" not in text and "worse &lt;b&gt;" in text and "prefers-color-scheme:dark" in text
    assert "@media print" in text and PACK["sha256"] in text


@pytest.mark.parametrize("suffix", ["json", "html"])
def test_the_printed_recipe_verifies_without_the_product(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"FILE.{suffix}"
    path.write_text(evidence.html(PACK) if suffix == "html" else json.dumps(PACK, indent=2), encoding="utf-8")
    code = page.RECIPE.split("\n", 1)[1].rsplit("\n", 1)[0]

    def run() -> str:
        return subprocess.run(
            [sys.executable, "-I", "-c", code, str(path)], capture_output=True, text=True, check=True
        ).stdout

    assert "False" not in run() and f"whole True {PACK['sha256']}" in run()
    whole = path.read_text(encoding="utf-8")
    mark = "&quot;evidence&quot;: " if suffix == "html" else '"evidence": '
    path.write_text(whole.replace(mark, mark + mark.join(["1, ", ""]), 1), encoding="utf-8")
    with pytest.raises(subprocess.CalledProcessError):
        run()
    path.write_text(whole, encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8").replace("contoso", "fabrikam"), encoding="utf-8")
    assert "engine False" in run() and "whole False" in run()
