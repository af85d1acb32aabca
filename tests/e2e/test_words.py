"""Answers at a terminal: tables are cut, what to do is not."""

from __future__ import annotations

from esml_engine.wording import words

GRANT = 'az role assignment create --assignee x --role "Storage Blob Data Contributor" --scope ' + "s" * 80


def test_a_hint_stands_whole_below_its_row() -> None:
    rows = [
        {"part": "a", "ok": False, "message": "m" * 90, "hint": GRANT},
        {"part": "b", "ok": True, "message": "fine", "hint": ""},
    ]
    lines = words(rows).splitlines()
    assert lines[0].split() == ["part", "ok", "message"]
    assert (
        lines[1].endswith("m" * 90) and lines[2].strip() == GRANT and lines[3].split() == ["b", "yes", "fine"]
    )
    assert len(lines) == 4


def test_other_sentences_are_cut_and_names_never() -> None:
    assert max(len(x) for x in words([{"a": "x " * 100, "b": 1}]).splitlines()) < 70
    assert "x" * 200 in words([{"a": "x" * 200, "b": 1}])
