"""What a registered model version was trained on: in which environment, and the tables that are still there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esml_engine.door.site import Site
from esml_engine.errors import NotFoundError
from esml_engine.lake.catalogue import table_in
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import TableIn

LEARNED = ("gold_train", "gold_validate")
"""Tables whose rows a training learns from."""


def trained_in(version: Mapping[str, Any]) -> str:
    """The environment whose tables a version (a row of the store) was trained on; promotion keeps it."""
    return str((version["detail"] or {}).get("trained_in") or version["env"])


def behind(site: Site, ref: ModelRef, who: str, env: str, versions: Mapping[str, int]) -> dict[str, TableIn]:
    """These versions of tables as a job's inputs `<who>/<table>`; one that is not to be found is left out."""
    found = {}
    for name, number in versions.items():
        try:
            found[f"{who}/{name}"] = table_in(site, ref, env, name, number)
        except NotFoundError:
            continue
    return found
