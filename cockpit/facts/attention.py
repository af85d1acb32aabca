"""How many models needed somebody, day by day, as far as somebody looked: the needs of a past day can't be derived again."""

from __future__ import annotations

import datetime as dt
import logging

from cockpit.facts import kept
from esml_engine.door.site import Site

log = logging.getLogger("esml.cockpit")
_NAME, _DAYS = "attention", 30


def by_day(site: Site, who: str, today: dt.date, needy: int) -> dict[str, int]:
    """Remember today's count, as this person sees the estate; returns what is known of the last 30 days, by UTC day."""
    oldest = (today - dt.timedelta(_DAYS - 1)).isoformat()
    with kept.lock:
        all_ = kept.read(site, _NAME)
        mine = {d: n for d, n in all_.get(who, {}).items() if isinstance(n, int) and d >= oldest}
        if mine.get(today.isoformat()) == needy:
            return mine
        mine[today.isoformat()] = needy
        try:
            kept.write(site, _NAME, {**all_, who: mine})
        except OSError as e:  # a full disk: the page is worth more than the line on it
            log.warning("today's count of needs is not kept: %s", e)
    return mine
