"""`esml --help`, a whole process, against one that imports what any such tool needs. Target: at most 2 x.

    python -m benchmarks.bench_imports [--sdk]

`--sdk`: `import esml_engine` instead of the command.
"""

from __future__ import annotations

import sys

from benchmarks.harness import compare, process

REFERENCE = "import duckdb, deltalake, pydantic, typer"


def main() -> None:
    """Run both in turns and print the result."""
    sdk = "--sdk" in sys.argv
    ours = ["-c", "import esml_engine"] if sdk else ["-m", "esml_engine.cli", "--help"]
    compare(
        "import_sdk" if sdk else "esml_help",
        lambda: process([sys.executable, *ours]),
        lambda: process([sys.executable, "-c", REFERENCE]),
        rounds=15,
    )


if __name__ == "__main__":
    main()
