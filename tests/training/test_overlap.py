"""Rows that a model was trained on are found by key, by whole row, over type changes; and what can't be told refuses."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from esml_engine.errors import UsageError
from esml_engine.lake import files
from esml_engine.lake.files import schema_text, write_arrow
from esml_engine.runs.facts import TableIn
from esml_engine.training.judging.overlap import BY_ROW, learned_rows, trained_on


def table(folder: Path, name: str, columns: dict) -> TableIn:
    made = pa.table(columns)
    file = write_arrow(made, str(folder / name), "part.parquet")
    return TableIn(name, str(folder / name), 1, (file.path,), schema_text(made.schema), made.num_rows)


def test_by_key(tmp_path: Path) -> None:
    test = table(tmp_path, "test", {"id": [1, 2, 3, 4], "x": [0, 0, 0, 0]})
    train = table(tmp_path, "train", {"id": [7, 3], "x": [9, 9]})
    validate = table(tmp_path, "validate", {"id": [4], "x": [9]})
    said = trained_on(tmp_path, test, [train, validate], ["id"])
    assert (said["rows"], said["by"], said["examples"]) == (2, "key", ["id 3", "id 4"])
    assert trained_on(tmp_path, test, [table(tmp_path, "other", {"id": [7], "x": [0]})], ["id"])["rows"] == 0


def test_a_key_of_another_number_type_is_still_the_same_key(tmp_path: Path) -> None:
    test = table(tmp_path, "test", {"id": [1, 2]})
    train = table(tmp_path, "train", {"id": [2.0, 5.0]})
    assert trained_on(tmp_path, test, [train], ["id"])["rows"] == 1
    wrong = table(tmp_path, "wrong", {"id": ["2", "5"]})
    with pytest.raises(UsageError, match="can't be told apart"):
        trained_on(tmp_path, test, [wrong], ["id"])


def test_without_a_key_or_with_a_null_one_whole_rows_are_compared(tmp_path: Path) -> None:
    test = table(tmp_path, "test", {"a": [1, 2, 3], "b": ["x", "y", None]})
    train = table(tmp_path, "train", {"b": ["y", "x", None], "a": [2, 9, 3]})
    said = trained_on(tmp_path, test, [train], [])
    assert (said["rows"], said["by"]) == (2, "row") and "a 2" in said["examples"][0]
    nulls = table(tmp_path, "nulls", {"id": [None, 2], "a": [1, 2]})
    said = trained_on(tmp_path, nulls, [table(tmp_path, "t2", {"id": [2], "a": [7]})], ["id"])
    assert (said["rows"], said["by"]) == (0, "row")


def test_tables_that_share_nothing_can_not_be_judged(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="share no column"):
        trained_on(tmp_path, table(tmp_path, "a", {"x": [1]}), [table(tmp_path, "b", {"y": [1]})], [])


def test_no_rows(tmp_path: Path) -> None:
    test = table(tmp_path, "test", {"id": pa.array([], pa.int64())})
    assert trained_on(tmp_path, test, [table(tmp_path, "t", {"id": [1]})], ["id"])["rows"] == 0


def test_without_a_key_other_observations_that_look_alike_count_as_learned_and_a_key_tells_them_apart(
    tmp_path: Path,
) -> None:
    """Few distinct values: doubt leaves a row out rather than judge by one that may have been learned."""
    test = table(tmp_path, "test", {"id": [11, 12, 13], "sex": ["f", "f", "m"], "cls": [1, 1, 2]})
    train = table(tmp_path, "train", {"id": [1, 2, 3], "sex": ["f", "m", "m"], "cls": [1, 1, 1]})
    alike = [table(tmp_path, f"{n}-bare", {c: files.arrow(t).column(c) for c in ("sex", "cls")}) for n,
        t in (("test", test), ("train", train))]  # fmt: skip
    said = trained_on(tmp_path, alike[0], [alike[1]], ["id"])
    assert (said["rows"], said["by"]) == (2, "row"), "a key that the tables lack tells nothing"
    mask, by = learned_rows(tmp_path, files.arrow(alike[0]), [alike[1]], [])
    assert (list(mask), by) == ([True, True, False], "row")
    mask, by = learned_rows(tmp_path, files.arrow(test), [train], ["id"])
    assert (mask.any(), by) == (False, "key")
    assert "all shared columns" in BY_ROW and "a key would tell them apart" in BY_ROW
