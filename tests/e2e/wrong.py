"""What tests of wrong input share: the small model read afresh, its settings and steps, an error that must come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from esml_engine.errors import EsmlError
from esml_engine.estate import Estate, open_estate
from esml_engine.model import Model

REF = "p1/m1"
Numbers = Callable[[str, int, int], Path]


def again(estate: Estate) -> Model:
    """The model with settings read afresh."""
    return open_estate(estate.site.root).model(REF)


def settle(estate: Estate, old: str, new: str) -> None:
    """Change model.toml."""
    path = estate.site.root / "projects/p1/m1/model.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def step(estate: Estate, name: str, code: str) -> Path:
    """Write a step file."""
    path = estate.site.root / "projects/p1/m1/steps" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
    return path


def failing(code: str, act: Callable[[], object]) -> EsmlError:
    """The error of an act that must fail with this code."""
    with pytest.raises(EsmlError) as caught:
        act()
    assert caught.value.code == code, caught.value.document()
    return caught.value


def versions(estate: Estate, table: str) -> list[int]:
    return [v["version"] for v in again(estate).table(table).versions()]
