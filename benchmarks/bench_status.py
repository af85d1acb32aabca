"""`esml status` of an estate with 1,000 models, a whole process, against a bare Python that runs the same queries.

    python -m benchmarks.bench_status [MODELS]

The reference imports typer and SQLAlchemy, runs by hand what status needs on the same store, and prints the rows as
JSON. Target: at most 2 x, with 1,000 models and with a few.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from benchmarks.estates import make
from benchmarks.harness import compare, process

REFERENCE = """
import json, sys
import typer
import sqlalchemy as sa
with sa.create_engine("sqlite:///" + sys.argv[1]).connect() as c:
    for q in (
        "SELECT object, env, name, max(version), min(at), max(at) FROM versions GROUP BY object, env, name",
        "SELECT object, env, version, metrics, inputs, at FROM model_versions",
        "SELECT object, env, version, at FROM champions",
        "SELECT r.object, r.env, r.act, r.state, r.error, r.run FROM runs r JOIN (SELECT object, env, max(run) AS run FROM runs "
        "GROUP BY object, env) last ON r.run = last.run",
        "SELECT object, min(at), max(at) FROM in_files GROUP BY object",
    ):
        typer.echo(json.dumps([list(r) for r in c.execute(sa.text(q))]))
"""


def main(models: int) -> None:
    """Make the estate and run both in turns."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "estate"
        make(root, models)
        time.sleep(3)  # files as young as this are read again each time
        compare(
            f"status_{models}_models",
            lambda: process(
                [sys.executable, "-m", "esml_engine.cli", "--estate", str(root), "--json", "status"]
            ),
            lambda: process([sys.executable, "-c", REFERENCE, str(root / ".esml/store.db")]),
            rounds=9,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
