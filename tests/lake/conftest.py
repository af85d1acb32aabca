from pathlib import Path

import pytest

from tests.table_kit import TestLake


@pytest.fixture
def lake(tmp_path: Path) -> TestLake:
    return TestLake(tmp_path)
