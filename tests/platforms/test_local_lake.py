"""A lake on this machine that can't be used: it is never taken for an empty one."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.errors import PlatformError
from esml_engine.platforms.local.files import LocalFiles


def test_a_folder_that_is_not_there_is_empty_and_one_that_is_a_file_is_said(tmp_path: Path) -> None:
    lake = LocalFiles(tmp_path / "lake")
    assert lake.list_files("projects") == [], "nothing was delivered yet"
    (tmp_path / "lake").write_text("not a folder")
    with pytest.raises(PlatformError, match=r"the lake can't be used at .*Not a directory") as e:
        lake.list_files("projects")
    assert "put the folder back" in e.value.hint
    with pytest.raises(PlatformError, match="the lake can't be used"):
        lake.make_skeleton(["projects/p/m"])
