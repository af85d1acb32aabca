"""What an address says that no widget can show: it is named, never dropped in silence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

import streamlit as st

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

UNKNOWN, ADDRESS = "unknown", "address"
"""Where a path that no page can have leads, and the key under which that page finds it."""
_SERVED = frozenset({"_stcore", "api", "app", "auth", "component", "media", "static"})
"""First parts of paths that the server answers itself."""


def unread(key: str, options: Iterable[str]) -> None:
    """Say which values under `key` the address names that there are not; widgets drop them in silence."""
    known = list(options)
    for asked in st.query_params.get_all(key):
        if asked not in known:
            st.warning(f"`{key}={asked}` in the address can't be read and was left out; {key} is one of {', '.join(known)}.",
                icon=":material/link_off:")  # fmt: skip


def instead(path: str, query: str = "", base: str = "") -> str:
    """Where a browser is sent that asks for a path of several parts; '' when it is answered as it is.

    A page has one part, and what it loads is named relative to that: below `/a/b` a browser would find nothing and stay
    blank. `base`: under which path the cockpit is served.
    """
    root = f"/{base.strip('/')}" if base.strip("/") else ""
    if not path.startswith(f"{root}/"):
        return ""
    inside = path.removeprefix(root).strip("/")
    first, *rest = inside.split("/")
    if not rest or first in _SERVED or "_stcore" in rest:  # so a page finds out where the server begins
        return ""
    return f"{root}/{UNKNOWN}?{ADDRESS}={quote(inside, safe='/')}" + (f"&{query}" if query else "")


class Several:
    """Between the server and Streamlit: sends browsers from paths of several parts to the page that says what is wrong."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            base = str(st.get_option("server.baseUrlPath") or "")
            if to := instead(scope["path"], scope["query_string"].decode("latin-1"), base):
                from starlette.responses import RedirectResponse

                await RedirectResponse(to, 302, {"Cache-Control": "no-cache"})(scope, receive, send)
                return
        await self.app(scope, receive, send)
