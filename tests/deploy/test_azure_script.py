"""deploy/azure.sh run with an `az` that knows the published commands and options, keeps what was made, and writes down its calls."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from esml_engine.platforms.places import place_of
from esml_engine.settings.keys import PolicySettings
from tests.deploy import az_reference as reference

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = (ROOT / "deploy" / "azure.sh").read_text(encoding="utf-8").splitlines()
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"

# what it says is what the script reads: `show` of what was not made yet is refused as the real one does
AZ = """#!{python} -S
import json, os, sys
sys.path.insert(0, {tests!r})
import az_reference
words, here = sys.argv[1:], {here!r}
if os.environ.get("AZ_FAILS") and " ".join(words).startswith(os.environ["AZ_FAILS"]):
    print("ERROR: (AuthorizationFailed) the client has no right to do this", file=sys.stderr)
    sys.exit(1)
with open(os.path.join(here, "calls"), "a") as f:
    f.write(json.dumps(words) + "\\n")
if said := az_reference.wrong(words):
    print(said, file=sys.stderr)
    sys.exit(2)
at = next((i for i, w in enumerate(words) if w.startswith("-")), len(words))
kind, act = " ".join(words[:at - 1]), words[at - 1]
value = lambda k: words[words.index(k) + 1] if k in words else ""
# what was made is a file with its size
made = os.path.join(here, "made", kind.replace(" ", "-") + "." + value("--name"))
if act == "create":
    open(made, "w").write(value("--size"))
if act == "show" and value("--name") and not os.path.exists(made):
    print("ERROR: (ResourceNotFound) " + value("--name"), file=sys.stderr)
    sys.exit(3)
query = value("--query")
answers = {{("account", "id"): {subscription!r}, ("ad signed-in-user", "id"): "the-person"}}
if query == "size":
    print(open(made).read())
elif query == "identity.principal_id":
    print(os.environ.get("AZ_NODE", "the-nodes"))
elif query:
    print(answers.get((kind, query)) or "/" + kind.replace(" ", "/") + "/" + value("--name") + "." + query)
elif value("--output") != "none":
    print("{{}}")
"""


class Machine:
    """A machine with the fake on its PATH; what was made stays between runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        (folder / "made").mkdir()
        fake = self.bin / "az"
        fake.write_text(AZ.format(python=sys.executable, tests=str(Path(__file__).parent), here=str(folder),
            subscription=SUBSCRIPTION))  # fmt: skip
        fake.chmod(0o755)

    def run(
        self, *args: str, path: str | None = None, **env: str
    ) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
        """The script's end, and the calls of this run."""
        (self.folder / "calls").write_text("")
        where = f"{self.bin}:/usr/bin:/bin" if path is None else path
        done = subprocess.run(
            ["/bin/bash", str(ROOT / "deploy/azure.sh"), *(args or ("test", "contoso", "westeurope"))],
            capture_output=True, text=True, cwd=self.folder, env={"PATH": where, "HOME": str(self.folder), **env},
        )  # fmt: skip
        return done, [json.loads(x) for x in (self.folder / "calls").read_text().splitlines()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def acts(calls: list[list[str]]) -> list[str]:
    """Which commands, each run of the same once."""
    names = [" ".join(w[: next((i for i, x in enumerate(w) if x.startswith("-")), len(w))]) for w in calls]
    return [n for i, n in enumerate(names) if i == 0 or names[i - 1] != n]


BEFORE = ["account show", "ad signed-in-user show", "extension add", "provider register"]
GRANTS = ["role assignment create", "storage container-rm create"]
FIRST = [
        *BEFORE, "group create", "storage account create", "storage account show",
        "keyvault show", "keyvault create", "keyvault show", "group create", "acr show", "acr create", "acr show", "acr build",
        "ml workspace show", "ml workspace create", "ml workspace show",
        "ml compute show", "ml compute create", "ml compute show", "identity create", "identity show", *GRANTS,
]  # fmt: skip


def test_what_others_need_is_made_first(machine: Machine) -> None:
    done, calls = machine.run()
    assert done.returncode == 0, done.stderr
    assert acts(calls) == FIRST
    images = [w[w.index("--image") + 1].split(":")[0] for w in calls if w[:2] == ["acr", "build"]]
    assert images == ["esml-cockpit-base", "esml-cockpit", "esml-scoring"]
    assert sum(w[:2] == ["role", "assignment"] for w in calls) == 10


def test_what_it_prints_are_settings(machine: Machine) -> None:
    for env, name in (("test", "contoso"), ("prod", "abcdefghijk"), ("dev", "ab")):
        done, _ = machine.run(env, name, "westeurope", ESML_NODE="Standard_DS2_v2")
        assert done.returncode == 0, done.stderr
        said = tomllib.loads(done.stdout[done.stdout.index("\n[environments.") :])
        made = place_of(said["environments"][env])
        assert made.subscription == SUBSCRIPTION and made.key_vault == f"kv-{name}-esml-{env}"
        assert made.identity == f"/identity/id-esml-scoring-{env}.id"
        assert made.serving_node == "Standard_DS2_v2" == PolicySettings(**said["policy"][env]).nodes[0]


def test_a_second_run_makes_nothing_again_that_would_be_refused_or_lost(machine: Machine) -> None:
    first, _ = machine.run()
    second, calls = machine.run(ESML_NODE="Standard_DS2_v2")
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert not {"keyvault create", "acr create", "ml workspace create", "ml compute create"} & set(
        acts(calls)
    )
    before, now = ((done.stdout[done.stdout.index("\n[env") :]) for done in (first, second))
    assert now == before.replace('serving_node = "Standard_DS3_v2"', 'serving_node = "Standard_DS2_v2"')
    assert 'nodes = ["Standard_DS3_v2"]' in now, "the cluster stays what it is"


@pytest.mark.parametrize(
    "call",
    [
        "account show", "ad signed-in-user", "extension add", "provider register", "group create", "storage account create",
        "keyvault create", "acr create",
        "acr build", "ml workspace create", "ml compute create", "identity show", "role assignment create",
        "storage container-rm",
    ],
)  # fmt: skip
def test_a_refusal_ends_it_there_and_says_what_to_do(machine: Machine, call: str) -> None:
    done, calls = machine.run(AZ_FAILS=call)
    assert done.returncode == 1
    assert "AuthorizationFailed" in done.stderr, "the reason is az's own"
    assert done.stderr.count("run the same again") == 1
    line = re.search(r"stopped at line (\d+): (.+)\. Mend", done.stderr)
    assert line and " ".join(call.split()[:3]) in line[2], done.stderr
    assert call.split()[0] in SCRIPT[int(line[1]) - 1]
    assert "[environments.test]" not in done.stdout
    assert acts(calls) == FIRST[: len(acts(calls))], "nothing comes after it"
    if call == "ml compute create":
        whole, _ = machine.run()
        assert "[environments.test]" in whole.stdout, "run again it goes on"


def test_a_cluster_without_an_identity_is_said(machine: Machine) -> None:
    done, calls = machine.run(AZ_NODE="")
    assert done.returncode == 1 and "has no identity" in done.stderr
    assert not any(w[:2] == ["role", "assignment"] for w in calls), "no role is given to nobody"


def test_without_the_azure_cli_it_says_so(machine: Machine, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    done, _ = machine.run(path=str(bare))
    assert done.returncode == 2 and "not installed" in done.stderr


def test_the_fake_refuses_what_the_reference_does_not_know() -> None:
    assert "no command" in reference.wrong(["storage", "bucket", "create"])
    assert "unrecognized" in reference.wrong(["acr", "show", "--name", "a", "--colour", "b"])
    assert "required" in reference.wrong(["ml", "compute", "show", "--name", "a"])
    assert "none of" in reference.wrong(["ml", "compute", "update", "-n", "a", "-g", "b", "-w", "c", "--identity-type",
        "system"])  # fmt: skip


def test_every_az_command_of_the_page_is_one() -> None:
    page = (ROOT / "docs/azure.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```\w*\n(.*?)```", page, re.S)).replace("\\\n", " ")
    whole = [x[3:] for x in blocks.splitlines() if x.startswith("az ")]
    lines = [*whole, *re.findall(r"=\$\(az (.+)\)$", blocks, re.M)]
    inline = [x for x in re.findall(r"`az ([^`\n]+)`", page) if " " in x]
    assert len(lines) > 15 and len(inline) > 5
    found = [reference.wrong(shlex.split(x, comments=True), x in lines) for x in [*lines, *inline]]
    assert [x for x in found if x] == []


def test_every_az_command_that_the_engine_advises_is_one() -> None:
    found, seen = [], 0
    for file in sorted((ROOT / "esml_engine/platforms").rglob("*.py")):
        for text in strings(ast.parse(file.read_text(encoding="utf-8"))):
            parts = re.split(r"\baz (?=[a-z-]+ [a-z-])", text)[1:]
            found += [(file.name, wrong) for p in parts if (wrong := reference.wrong(advised(p), False))]
            seen += len(parts)
    assert found == [] and seen > 10


def advised(text: str) -> list[str]:
    """The words of a command in a sentence."""
    return re.findall(r"--[a-z-]+|[\w.{}-]+", re.split(r"[),;]|--query", text)[0])


def strings(tree: ast.AST) -> list[str]:
    """Every text of a module, a formatted one with `{}` in its gaps."""
    inside = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    out = []
    for n in ast.walk(tree):
        if isinstance(n, ast.JoinedStr):
            out.append("".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in n.values))
        elif isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in inside:
            out.append(n.value)
    return out


def test_a_builder_is_sent_what_the_image_copies() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    sent = {r[1:] for r in rules if r.startswith("!")}
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)
    assert "*" in rules and sent == {os.path.normpath(x) for line in copied for x in line.split()}
