"""When a dataset's IN files are promised (`arrives = "daily 06:00"`), and since when they are late."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SHAPE = re.compile(
    r"(?P<every>hourly|daily|weekly|monthly)(?: (?P<day>[a-z]+|\d{1,2}))?(?: (?P<hour>\d{1,2}):(?P<minute>\d{2}))?"
)


@dataclass(frozen=True)
class Promise:
    """`hourly`, `daily 06:00`, `weekly mon 06:00` or `monthly 1 06:00`; times are UTC."""

    every: str
    day: int = 0  # weekday 0 to 6, or day of the month
    hour: int = 0
    minute: int = 0

    @classmethod
    def parse(cls, text: str) -> Promise | None:
        """Read a dataset's `arrives`; None for a text that is no promise."""
        m = _SHAPE.fullmatch(text.strip().lower())
        if m is None:
            return None
        every, day = m["every"], m["day"] or ""
        hour, minute = int(m["hour"] or 0), int(m["minute"] or 0)
        if hour > 23 or minute > 59:
            return None
        if every == "weekly" and day[:3] in _DAYS:
            return cls(every, _DAYS.index(day[:3]), hour, minute)
        if every == "monthly" and (not day or (day.isdigit() and 1 <= int(day) <= 28)):
            return cls(every, int(day or 1), hour, minute)
        return cls(every, 0, hour, minute) if every in ("hourly", "daily") and not day else None

    def due(self, now: dt.datetime) -> dt.datetime:
        """The newest moment, not after `now`, at which a file was due."""
        at = now.astimezone(dt.UTC).replace(second=0, microsecond=0)
        if self.every == "hourly":
            at = at.replace(minute=self.minute)
            return at if at <= now else at - dt.timedelta(hours=1)
        at = at.replace(hour=self.hour, minute=self.minute)
        if self.every == "daily":
            return at if at <= now else at - dt.timedelta(days=1)
        if self.every == "weekly":
            at -= dt.timedelta(days=(at.weekday() - self.day) % 7)
            return at if at <= now else at - dt.timedelta(days=7)
        at = at.replace(day=self.day)
        if at > now:
            at = (at.replace(day=1) - dt.timedelta(days=1)).replace(day=self.day)
        return at

    def late_since(self, newest: dt.datetime | None, now: dt.datetime) -> dt.datetime | None:
        """Since when the newest promise is broken; None: a file came within its period, or none was ever due.

        A file counts for the moment that follows it: one that came after the due time before last is in time.
        """
        due = self.due(now)
        before = self.due(due - dt.timedelta(minutes=1))
        return None if newest is not None and newest > before else due
