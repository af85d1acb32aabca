"""What docs/azure.md promises a new user, held to the code, the command line and the script."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

from typer.main import get_command

from esml_engine.cli import app
from esml_engine.platforms.azure.place import AzurePlace

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "azure.md").read_text(encoding="utf-8")
SCRIPT = (ROOT / "deploy" / "azure.sh").read_text(encoding="utf-8")
CODE = "\n".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "esml_engine").rglob("*.py")))


def commands() -> list[list[str]]:
    """Every `esml …` of the page, as words."""
    blocks = "\n".join(re.findall(r"```\w*\n(.*?)```", PAGE, re.S))
    lines = [x for x in blocks.splitlines() if x.startswith("esml ")]
    lines += [x for x in re.findall(r"`(esml [^`\n]+)`", PAGE)]
    return [shlex.split(x, comments=True)[1:] for x in lines]


def test_every_esml_command_is_one() -> None:
    found = commands()
    assert len(found) > 15
    for words in found:
        while words[:1] == ["--estate"]:
            words = words[2:]
        at: Any = get_command(app)
        while hasattr(at, "commands"):
            assert words[0] in at.commands, words
            at, words = at.commands[words[0]], words[1:]
        known = {o for p in at.params for o in (*p.opts, *p.secondary_opts)}
        assert {w for w in words if w.startswith("--")} <= known, (at.name, words)


def roles(text: str) -> set[tuple[str, str]]:
    """(who, role) of each assignment."""
    hand = re.findall(r'--assignee (\S+) --role "([^"]+)"', text)
    return {({"WHO": "me", "$NODE": "node", "$SCORER": "scorer"}[who], role) for who, role in hand}


def test_each_role_of_the_table_is_granted_by_the_script_and_by_hand() -> None:
    script = set(re.findall(r'^grant "\$(\w+)" \w+ "([^"]+)"', SCRIPT, re.M))
    table, who = set(), ""
    row = r"^\|\s*([^|]*?)\s*\|\s*([^|]+?)\s*\|[^|]+\|[^|]+\|$"
    for first, role in re.findall(row, PAGE, re.M):
        starts = {"you": "me", "the compute's": "node", "the endpoints'": "scorer"}
        who = next((v for k, v in starts.items() if first.startswith(k)), who if not first else "")
        if who and re.match(r"[A-Z]", role):
            table.add((who, role))
    assert len(table) == 10
    assert script == roles(PAGE) == table


def test_settings_and_variables_are_the_codes() -> None:
    part = PAGE.split("## Settings of an environment")[1].split("**Money.**")[0]
    keys = {k for row in re.findall(r"^\| (`[^|]+) \|", part, re.M) for k in re.findall(r"`(\w+)`", row)}
    assert keys == set(AzurePlace.model_fields) - {"platform"}
    named = set(re.findall(r"\bESML_[A-Z_]+\b", PAGE))
    missing = {v for v in named if f'"{v}"' not in CODE and v not in SCRIPT}
    assert "ESML_AZURE_DRAIN" in named and not missing
    used = set(re.findall(r'_number\("(\w+)"', CODE))
    assert used <= named, used - named


def test_the_script_is_bash_and_says_what_it_takes() -> None:
    assert subprocess.run(["bash", "-n", "deploy/azure.sh"], cwd=ROOT).returncode == 0
    for wrong in (["stage", "contoso"], ["test", "Contoso-1"], ["test", "averyverylongname"]):
        done = subprocess.run(
            ["bash", "deploy/azure.sh", *wrong, "westeurope"], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 2 and "NAME" in done.stderr
    table = SCRIPT.split("<<TABLE")[1]
    assert set(re.findall(r"^(\w+) = ", table, re.M)) >= {
        "platform", "subscription", "resource_group", "workspace", "storage_account", "file_system", "key_vault", "region",
        "compute", "identity",
    }  # fmt: skip
