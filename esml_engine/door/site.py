"""An estate, opened: its store, its effective settings, its platforms. What `plan` and `jobs` read from."""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path
from typing import Any

from esml_engine.platforms.base import Platform, open_platform
from esml_engine.settings import Override, Settings, read_files
from esml_engine.store import schema as t
from esml_engine.store.database import Store

_OVERRIDES = t.overrides.select()  # made once: settings are asked for more often than anything else


def disks_of(root: Path) -> list[Path]:
    """Where an estate in `root` keeps its state, its lakes and its tracking."""
    kept = [d for part in ("lake", "tracking") for d in sorted((root / part).glob("*")) if d.is_dir()]
    return [root / ".esml", *kept]


class Site:
    """One estate on this machine. Cheap to open; platforms open when first asked for."""

    def __init__(self, root: Path, *, lenient: bool = False) -> None:
        self.root = root.resolve()
        self.lenient = lenient  # a project or model whose settings are wrong does not stop the others'
        self.files = read_files(self.root, lenient=lenient)
        self.watched = False  # somebody else reads the files again when they change
        self.warm: Any = None  # a worker's pool of warm children
        self._platforms: dict[str, Platform] = {}
        self._opening = threading.Lock()

    @property
    def state(self) -> Path:
        """The git-ignored folder with store, runs, secrets, caches and logs."""
        return self.root / ".esml"

    def disks(self) -> list[Path]:
        """The folders of this machine that may each lie on a disk of its own; not all need be there."""
        return disks_of(self.root)

    @cached_property
    def store(self) -> Store:
        """The store (migrated on first use)."""
        self.state.mkdir(exist_ok=True)
        return Store.at(self.state)

    @property
    def settings(self) -> Settings:
        """Effective settings as of now: files read once, overrides read afresh."""
        rows = self.store.rows(_OVERRIDES)
        return Settings(
            self.files,
            tuple(Override(r["scope"], r["key"], r["value"], r["replaced"], r["by"], r["at"]) for r in rows),
        )

    def reload(self) -> None:
        """Read the settings files again (a worker does before each run)."""
        self.files = read_files(self.root, lenient=self.lenient)

    def refresh(self) -> None:
        """Read the settings files again, unless somebody does: a notebook stays open while they are edited, and its plan would not be what runs."""
        if not self.watched:  # one that became wrong stops what is about it alone, as for a worker
            self.files = read_files(self.root, lenient=True)

    def platform(self, env: str) -> Platform:
        """The platform of an environment: one object for all threads, as it knows the jobs that it started."""
        with self._opening:
            if env not in self._platforms:
                settings = self.settings
                settings.check_env(env)
                estate = settings.estate
                its = estate.environments[env]  # type: ignore[index]
                self._platforms[env] = open_platform(self.root, env, its, estate.currency, self.warm)
            return self._platforms[env]

    def close_platforms(self) -> None:
        """End what this process started on any platform; each opens anew when it is next asked for."""
        with self._opening:
            for env in list(self._platforms):
                self._platforms.pop(env).close()

    def inside(self, path: str) -> str:
        """A path as the store keeps it: relative where it lies in the estate, so that the folder may be moved."""
        p = Path(path)
        return str(p.relative_to(self.root)) if p.is_relative_to(self.root) else path

    def outside(self, path: str) -> str:
        """Inverse of `inside`."""
        return path if "://" in path else str(self.root / path)
