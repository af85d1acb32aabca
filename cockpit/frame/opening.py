"""The estate behind a page: one open site for the server, settings files read again when they change."""

from __future__ import annotations

import functools
import os
import threading
import time
from pathlib import Path

import streamlit as st

from esml_engine.door.facts import Actor
from esml_engine.door.site import Site
from esml_engine.door.start import local_admin
from esml_engine.errors import EsmlError
from esml_engine.estate import Estate

ENVIRONMENT = "ESML_ESTATE"
_LOOK_AGAIN = 1.0  # seconds between two looks at the settings files
_AT_ONCE = 0.01  # seconds that a page may wait for such a look


def root() -> Path:
    """The estate that this server shows."""
    return _whole(os.environ.get(ENVIRONMENT) or "estate")


@functools.cache
def _whole(path: str) -> Path:
    return Path(path).resolve()


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Which settings files there are, and when each was written."""
    files = [str(folder / "estate.toml")]
    for project in _folders(str(folder / "projects")):
        files.append(f"{project}/project.toml")
        files += [f"{model}/model.toml" for model in _folders(project)]
    out = []
    for f in files:
        try:
            s = os.stat(f)  # noqa: PTH116 - thousands of them, each second
        except OSError:
            continue  # none there, or deleted between the listing and this look
        out.append((f, s.st_mtime_ns, s.st_size))
    return tuple(sorted(out))


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as found:
            return [e.path for e in found if e.is_dir()]
    except FileNotFoundError:
        return []


class Opened:
    """One site, shared by all sessions of the server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._stamp = stamp(folder)
        self._looked = time.monotonic()
        self._took = 0.0  # seconds of the last look
        self._behind: threading.Thread | None = None
        self._wrong: EsmlError | None = None
        self._site = Site(folder, lenient=True)  # one wrong file stops what is about it alone
        self._site.watched = True

    def site(self) -> Site:
        """The site with settings as they are on disk now; those of a large estate are looked at behind the page.

        Raises:
            SettingsError: a file became wrong; the site keeps what it had and says it again until it is mended.
        """
        with self._lock:
            if self._wrong is not None:
                wrong, self._wrong = self._wrong, None
                raise wrong
            if time.monotonic() - self._looked < _LOOK_AGAIN:
                return self._site
            if self._took < _AT_ONCE:
                self._look()
            elif self._behind is None or not self._behind.is_alive():
                self._behind = threading.Thread(target=self._look_behind, daemon=True)
                self._behind.start()
            return self._site

    def _look(self) -> None:
        began = time.monotonic()
        now = stamp(self.folder)
        self._took = time.monotonic() - began
        if now != self._stamp:
            self._site.reload()
            self._stamp = now
        self._looked = time.monotonic()

    def _look_behind(self) -> None:
        try:
            self._look()
        except EsmlError as e:  # said by the next page
            self._wrong = e


_open: dict[Path, Opened] = {}
_opening = threading.Lock()


def opened(folder: Path) -> Opened:
    """The open site of an estate, once a server. Not `st.cache_resource`: pages ask many times, and that hashes what it is asked with."""
    with _opening:
        if folder not in _open:
            _open[folder] = Opened(folder)
        return _open[folder]


def estate_as(act_as: str | None) -> Estate:
    """The estate, seen with somebody's rights.

    Raises:
        NotFoundError: no estate there. SettingsError: a settings file is wrong.
    """
    return Estate(opened(root()).site(), Actor(local_admin(), act_as))


def estate() -> Estate:
    """The estate as this session's actor sees it."""
    return estate_as(st.session_state.get("act_as") or None)
