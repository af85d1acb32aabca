"""The demo: four models of two teams on their way through three environments, with real data, as ordinary runs."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from esml_engine.demo.setting_up import DIABETES, MEMBERS, MODELS, NAME, PROJECTS, make
from esml_engine.demo.story import tell
from esml_engine.errors import EsmlError
from esml_engine.estate import Estate, open_estate
from esml_engine.handing import OnProgress
from esml_engine.serving import records as deployments

__all__ = [
    "DIABETES",
    "MEMBERS",
    "MODELS",
    "NAME",
    "PROJECTS",
    "drive",
    "make",
    "run_demo",
    "summary",
    "why_stopped",
]
log = logging.getLogger("esml.demo")


def run_demo(root: Path, *, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """`esml demo`: the whole cycle; `{"models", "seconds"}`. An interrupted one goes on.

    Raises:
        UsageError: another estate is there.
    """
    began = time.monotonic()
    if _told(root).exists():
        return {"models": summary(open_estate(root)), "seconds": round(time.monotonic() - began, 1)}
    estate = make(root)
    _stopped(root).unlink(missing_ok=True)
    with estate.hand.holding(warm=True) as worker:
        if worker is not None:
            worker.wanted |= {d["endpoint"] for d in deployments.listing(estate.site.store)}
        tell(root, on_progress)
    _told(root).touch()
    return {"models": summary(estate), "seconds": round(time.monotonic() - began, 1)}


def _told(root: Path) -> Path:
    """There once the whole story was told: it is not told again, whatever people did with it since."""
    return root / ".esml" / "demo" / "told"


def summary(estate: Estate) -> list[dict[str, Any]]:
    """Stage, metric and value of each model."""
    out = []
    for s in estate.status():
        best = next(
            (e for e in reversed(list(s["environments"].values())) if e["champion"] is not None), None
        )
        measured = (
            {"metric": best["metric"], "value": best["value"]} if best else {"metric": None, "value": None}
        )
        out.append({"model": s["model"], "stage": s["stage"], **measured})
    return out


def drive(root: Path) -> None:
    """The demo's cycle beside a worker that is up: a person watches its runs."""
    try:
        _stopped(root).unlink(missing_ok=True)
        if not _told(root).exists():
            make(root)
            tell(root)
            _told(root).touch()
    except EsmlError as e:
        log.error("the demo stopped: %s (%s)", e.message, e.hint)
        _note(root, e.message)
    except Exception as e:
        log.exception("the demo stopped")
        _note(root, f"{type(e).__name__}; the worker's log has it")


def _stopped(root: Path) -> Path:
    """Why the story that is told beside a worker ended before its end."""
    return root / ".esml" / "demo" / "stopped"


def _note(root: Path, why: str) -> None:
    _stopped(root).parent.mkdir(parents=True, exist_ok=True)
    _stopped(root).write_text(why, encoding="utf-8")


def why_stopped(root: Path) -> str:
    """Why the demo beside the worker ended before its end; '' where it did not."""
    path = _stopped(root)
    return path.read_text(encoding="utf-8") if path.exists() else ""
