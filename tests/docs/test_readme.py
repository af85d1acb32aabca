"""What README and CONTRIBUTING promise: the ten lines run as written, and every command that they name exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md")


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def spoken(page: str) -> str:
    """Code of a page: fenced blocks and spans."""
    whole = text(page)
    return "\n".join([*re.findall(r"```\w*\n(.*?)```", whole, re.S), *re.findall(r"`([^`\n]+)`", whole)])


def test_the_ten_lines_run_as_written(demo: Path) -> None:
    found = re.search(r"## In ten lines\n```python\n(.*?)```", text("README.md"), re.S)
    assert found
    code = found[1]
    assert code.count('"estate"') == 1
    done = subprocess.run(
        [sys.executable, "-c", code.replace('"estate"', repr(str(demo)))],
        capture_output=True,
        text=True,
        cwd=demo.parent,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "baseline" in done.stdout and "prediction" in done.stdout, done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    named = set(re.findall(r"\bmake ([a-z]+)\b", spoken(page)))
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert named and named <= {line.split()[0] for line in shown.splitlines() if line.strip()}, named


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page: str) -> None:
    from typer.main import get_command

    from esml_engine.cli import app

    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    named = set()
    for line in re.findall(r"\besml( [^\n`]*)", spoken(page)):
        words = re.sub(r" --(estate|as) \S+| --\w+", "", line).split()
        named |= {words[0].rstrip(",.;:")} if words and re.match(r"[a-z]", words[0]) else set()
    assert named <= commands, named - commands
    assert page != "README.md" or named


@pytest.mark.parametrize("page", PAGES)
def test_files_and_modules_that_are_named_exist(page: str) -> None:
    named = {p for p in re.findall(r"[\w./]+\.(?:md|py|toml)\b", spoken(page)) if "/" in p}
    rooms = ROOT / "esml_engine"
    missing = [p for p in named if not (ROOT / p).exists() and not (rooms / p).exists() and "<" not in p]
    assert not missing


def test_the_map_of_the_house_is_true() -> None:
    found = re.search(r"## The map of the house\n```\n(.*?)```", text("README.md"), re.S)
    assert found
    folders = set(re.findall(r"\b([a-z]+)/(?=\s)", found[1])) - {
        "pages",
        "esml_engine",
        "cockpit",
        "tests",
        "benchmarks",
    }
    assert folders and all((ROOT / "esml_engine" / f).is_dir() for f in folders), folders
