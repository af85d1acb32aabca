"""A file with very many columns: what reading takes grows with them, not with their square."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

READ = """
import resource, sys
from pathlib import Path
from esml_engine.lake.columns import Column
from esml_engine.lake.incoming import csv_header, read_csv
from esml_engine.lake.landing import Source
from esml_engine.lake.sql import connection

work = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
with connection(work) as con:
    source, names, _ = csv_header(Source(work / "wide.csv", "wide.csv", "0" * 64), work)
    columns = [Column(name, n, None) for n, name in enumerate(names)]
    print(read_csv(con, source, names, columns, work / "b.parquet", work / "q.parquet", work).way)
"""


def test_a_thousand_columns_are_read_in_little_memory(tmp_path: Path) -> None:
    names = ["id", *(f"c{n}" for n in range(999))]
    rows = [["1", *(str(n) for n in range(999))], ["2", *(f"w{n}" for n in range(999))]]
    text = "".join(",".join(r) + "\n" for r in (names, *rows))
    (tmp_path / "wide.csv").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "quick"), done.stderr[-2000:]
    table = pq.read_table(tmp_path / "b.parquet")
    assert table.column_names == names and table.num_rows == 2
    assert table.column("id").to_pylist() == [1, 2] and table.column("c998").to_pylist() == ["998", "w998"]
