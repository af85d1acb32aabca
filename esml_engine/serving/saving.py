"""Whether answered requests are kept in `scored`: as the settings say now, whenever the endpoint was deployed."""

from __future__ import annotations

from esml_engine.refining.staleness import in_rnd
from esml_engine.refs import ModelRef
from esml_engine.settings import ServingSettings, Settings


def saves(settings: Settings, ref: ModelRef, env: str) -> bool:
    """As `serving.<env>.save` says, and never in R&D mode."""
    return not why_not(settings, ref, env)


def why_not(settings: Settings, ref: ModelRef, env: str) -> str:
    """Why answered requests are not kept; empty where they are."""
    model = settings.model(ref)
    if in_rnd(model, env):
        return "R&D mode"
    serving = model.serving.get(env, ServingSettings())  # type: ignore[call-overload]
    return "" if serving.save else "save = false"
