"""Where an environment of this machine lies: in the estate's folder, so there is nothing to say."""

from __future__ import annotations

from typing import Literal

from esml_engine.platforms.places import Place


class LocalPlace(Place):
    """An environment on this machine."""

    platform: Literal["local"] = "local"
