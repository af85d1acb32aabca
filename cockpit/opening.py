"""The estate behind a page: one open site for the server, settings files read again when they change."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import streamlit as st

from esml_engine.door.facts import Actor
from esml_engine.door.site import Site
from esml_engine.door.start import local_admin
from esml_engine.estate import Estate

ENVIRONMENT = "ESML_ESTATE"
_LOOK_AGAIN = 1.0  # seconds between two looks at the settings files


def root() -> Path:
    """The estate that this server shows."""
    return Path(os.environ.get(ENVIRONMENT) or "estate").resolve()


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Which settings files there are, and when each was written."""
    files = [
        folder / "estate.toml",
        *folder.glob("projects/*/project.toml"),
        *folder.glob("projects/*/*/model.toml"),
    ]
    out = []
    for f in files:
        try:
            s = f.stat()
        except OSError:
            continue  # deleted between the listing and this look: the next look sees it gone
        out.append((str(f), s.st_mtime_ns, s.st_size))
    return tuple(sorted(out))


class Opened:
    """One site, shared by all sessions of the server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._stamp = stamp(folder)
        self._looked = time.monotonic()
        self._site = Site(folder)

    def site(self) -> Site:
        """The site with settings as they are on disk now.

        Raises:
            SettingsError: a file became wrong; the site keeps what it had and says it again until it is mended.
        """
        with self._lock:
            if time.monotonic() - self._looked >= _LOOK_AGAIN:
                now = stamp(self.folder)
                if now != self._stamp:
                    self._site.reload()
                    self._stamp = now
                self._looked = time.monotonic()
            return self._site


@st.cache_resource(show_spinner=False)  # type: ignore[untyped-decorator]
def opened(folder: str) -> Opened:
    """The open site of an estate, once a server."""
    return Opened(Path(folder))


def estate_as(act_as: str | None) -> Estate:
    """The estate, seen with somebody's rights.

    Raises:
        NotFoundError: no estate there. SettingsError: a settings file is wrong.
    """
    return Estate(opened(str(root())).site(), Actor(local_admin(), act_as))


def estate() -> Estate:
    """The estate as this session's actor sees it."""
    return estate_as(st.session_state.get("act_as") or None)
