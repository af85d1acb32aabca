"""Every `az` command that the repository names: (options that must be given, options that it uses besides).

Core commands as the argument table of azure-cli 2.91 has them; `az ml` as the published reference of the extension has them
(MicrosoftDocs/azure-docs-cli, latest/docs-ref-autogen/ml). An option that no reference has may not be entered here.
"""

from __future__ import annotations

from itertools import pairwise

EVERYWHERE = {"--output", "--query", "--only-show-errors", "--subscription"}
SHORT = {"-n": "--name", "-g": "--resource-group", "-w": "--workspace-name"}
POSITIONAL = {"acr build": 1}  # the build's context

_ML = ("--resource-group", "--workspace-name")

COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "account set": (("--subscription",), ()),
    "account show": ((), ()),
    "acr build": (("--registry",), ("--image", "--file", "--build-arg", "--target")),
    "acr create": (("--name", "--resource-group", "--sku"), ("--location", "--admin-enabled")),
    "acr login": (("--name",), ()),
    "acr show": (("--name",), ("--resource-group",)),
    "acr update": (("--name",), ("--admin-enabled",)),
    "ad signed-in-user show": ((), ()),
    "extension add": ((), ("--name", "--upgrade", "--yes")),
    "group create": (("--name", "--location"), ()),
    "group delete": (("--name",), ()),
    "identity create": (("--name", "--resource-group"), ("--location",)),
    "identity show": ((), ("--name", "--resource-group")),
    "keyvault create": (("--resource-group",), ("--name", "--location", "--enable-rbac-authorization")),
    "keyvault network-rule add": ((), ("--name", "--ip-address")),
    "keyvault purge": ((), ("--name",)),
    "keyvault show": ((), ("--name", "--resource-group")),
    "login": ((), ()),
    "ml compute create": (_ML, ("--name", "--type", "--size", "--min-instances", "--max-instances", "--identity-type")),
    "ml compute show": ((*_ML, "--name"), ()),
    "ml compute update": ((*_ML, "--name"), ("--identity-type", "--tags")),
    "ml data show": ((*_ML, "--name", "--version"), ()),
    "ml online-deployment get-logs": ((*_ML, "--name", "--endpoint-name"), ("--container", "--lines")),
    "ml model list": ((), (*_ML, "--name")),
    "ml workspace create": (("--resource-group",), ("--name", "--location", "--container-registry")),
    "ml workspace show": (("--name", "--resource-group"), ()),
    "ml workspace update": (
        ("--name", "--resource-group"),
        ("--container-registry", "--public-network-access", "--update-dependent-resources"),
    ),
    "provider register": (("--namespace",), ("--wait",)),
    "rest": (("--url",), ("--method",)),
    "role assignment create": (
        ("--role", "--scope"),
        ("--assignee", "--assignee-object-id", "--assignee-principal-type"),
    ),
    "storage account create": (
        ("--name", "--resource-group"),
        ("--location", "--sku", "--kind", "--hns", "--min-tls-version", "--allow-blob-public-access",
            "--allow-shared-key-access"),
    ),
    "storage account network-rule add": (("--account-name",), ("--resource-group", "--ip-address")),
    "storage account show": ((), ("--name", "--resource-group")),
    "storage container-rm create": (("--name", "--storage-account"), ("--resource-group",)),
    "storage fs access set-recursive": (("--acl", "--path", "--file-system"), ()),
    "storage fs file list": (("--file-system",), ("--path", "--account-name", "--auth-mode")),
}  # fmt: skip

ALLOWED = {"--identity-type": ("SystemAssigned", "UserAssigned"), "--type": ("AmlCompute", "ComputeInstance")}


def wrong(words: list[str], whole: bool = True) -> str:
    """What `az` would refuse in a call; "" when nothing.

    Args:
        words: what follows `az`. whole: False where options may be left out, as in a sentence.
    """
    words = [SHORT.get(w, w) for w in words]
    at = next((i for i, w in enumerate(words) if w.startswith("-")), len(words))
    name = next((" ".join(words[:n]) for n in range(at, 0, -1) if " ".join(words[:n]) in COMMANDS), "")
    if not name:
        return f"no command: {' '.join(words[:at])}"
    must, may = COMMANDS[name]
    given = {w.partition("=")[0] for w in words if w.startswith("--")}
    if odd := given - EVERYWHERE - {*must, *may}:
        return f"{name}: unrecognized arguments {sorted(odd)}"
    if whole and (missing := set(must) - given):
        return f"{name}: required {sorted(missing)}"
    for option, value in pairwise(words):
        if option in ALLOWED and value not in ALLOWED[option]:
            return f"{name}: {option} {value} is none of {ALLOWED[option]}"
    return ""
