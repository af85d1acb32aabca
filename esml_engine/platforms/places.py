"""Where an environment lies, as its settings say it: each platform brings its own keys, in a module `place` of its folder.

Settings files are checked by it wherever they are read, so it imports none of a platform's clients.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict


def _known(name: str) -> str:
    names = list(kinds())
    if name not in names:
        near = difflib.get_close_matches(name.lower(), names, 1, 0.0)[0]
        raise ValueError(f"no platform {name!r}, did you mean {near!r}? There are {', '.join(names)}")
    return name


class Place(BaseModel):
    """Where an environment lies. A platform's own place adds its keys; `needed`: those that have no default."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)

    platform: Annotated[str, AfterValidator(_known)] = "local"

    @classmethod
    def needed(cls) -> tuple[str, ...]:
        """The keys that every environment of this platform must say."""
        return ()


def kinds() -> dict[str, type[Place]]:
    """The platforms that a settings file may name, the default first, each with what it must be told of a place."""
    from esml_engine.platforms.azure.place import AzurePlace
    from esml_engine.platforms.local.place import LocalPlace

    return {"local": LocalPlace, "azure": AzurePlace}


def kind_of(said: Mapping[str, Any]) -> type[Place]:
    """The kind of place that an environment's table is about; `Place` itself where its platform is unknown."""
    name = said.get("platform", "local")
    return kinds().get(name, Place) if isinstance(name, str) else Place


def place_of(said: Any) -> Any:
    """An environment's table as its platform's place.

    Keys of another platform are left out: an environment may be brought home for a while by its line `platform` alone.

    Raises:
        pydantic.ValidationError: an unknown platform or key, or a value that its platform does not take.
    """
    if not isinstance(said, Mapping):
        return said  # a place already; what else it may be, pydantic refuses
    kind = kind_of(said)
    if kind is Place:
        return Place.model_validate({"platform": said["platform"]})  # which says that there is none
    others = {k for one in kinds().values() for k in one.model_fields} - set(kind.model_fields)
    return kind.model_validate({k: v for k, v in said.items() if k not in others})
