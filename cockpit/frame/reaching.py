"""Whether each environment answers: asked in the background, so that no page waits for one that does not."""

from __future__ import annotations

import datetime as dt
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from esml_engine.door.site import Site
from esml_engine.errors import EsmlError
from esml_engine.platforms.rows import bad
from esml_engine.portfolio.checks import environment

_AGAIN, _SOON = 60.0, 5.0  # seconds until the next look, and after one that found something wrong


@dataclass(frozen=True)
class Reached:
    """How an environment answered. `ok` None: it was not asked yet."""

    env: str
    ok: bool | None = None
    asked: str = ""
    answered: str = ""  # the last time that it did
    rows: tuple[dict[str, Any], ...] = ()

    @property
    def why(self) -> str:
        """The first part that does not work."""
        return next((f"{r['part']}: {r['message']}" for r in self.rows if not r["ok"]), "")


_known: dict[tuple[str, str], Reached] = {}
_next: dict[tuple[str, str], float] = {}
_busy: set[tuple[str, str]] = set()
_lock = threading.Lock()


def check(site: Site, env: str) -> Reached:
    """Ask an environment's platform now, and remember the answer."""
    key = (str(site.root), env)
    try:
        found = tuple(environment(site, env))
    except EsmlError as e:
        found = (bad(f"{env} platform", e),)
    except OSError as e:
        why = {"message": f"{type(e).__name__}: {e.strerror or e}", "hint": "check that its folder is there"}
        found = ({"part": f"{env} platform", "ok": False, **why},)
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    good = all(r["ok"] for r in found)
    with _lock:
        before = _known.get(key, Reached(env))
        _known[key] = replace(
            before, ok=good, asked=now, answered=now if good else before.answered, rows=found
        )
        return _known[key]


def known(site: Site, env: str) -> Reached:
    """What is known of an environment; older than a minute, or than moments where something was wrong, it is asked again behind the page."""
    key = (str(site.root), env)
    with _lock:
        found = _known.get(key, Reached(env))
        due = time.monotonic() >= _next.get(key, 0.0) and key not in _busy
        if due:
            _busy.add(key)
    if due:
        threading.Thread(target=_look, args=(site, env, key), daemon=True).start()
    return found


def _look(site: Site, env: str, key: tuple[str, str]) -> None:
    again = _SOON
    try:
        again = _AGAIN if check(site, env).ok else _SOON
    finally:
        with _lock:
            _next[key] = time.monotonic() + again
            _busy.discard(key)


def away(site: Site, env: str) -> Reached | None:
    """The environment, where it did not answer when it was last asked; None where it did, or was not asked yet."""
    return next((r for r in unreached(site) if r.env == env), None)


def unreached(site: Site) -> list[Reached]:
    """Environments that did not answer when they were last asked."""
    return [r for env in site.settings.environments if (r := known(site, env)).ok is False]
