"""Expectations that model.toml may name and nothing checks yet: said when an act is planned, not in the middle of its run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from esml_engine.errors import NotYetError

LATER = ("fresh", "custom")


def require_built(specs: Iterable[Mapping[str, Any]]) -> None:
    """Refuse settings that ask for a check which is not built yet, before anything runs.

    Raises:
        NotYetError: naming it.
    """
    for spec in specs:
        if spec.get("check") in LATER:
            raise NotYetError(
                f"the expectation {spec['check']} comes later", hint="take it out of model.toml until then"
            )
