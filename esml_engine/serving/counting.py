"""Counts of an endpoint that several processes serve elsewhere: each leaves its own in the lake, a worker adds them up.

Figures for people: a process that is killed takes what it answered since it last wrote (`EVERY`) with it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from dataclasses import asdict
from pathlib import Path

from esml_engine.errors import EsmlError
from esml_engine.platforms.base import Platform, open_files
from esml_engine.serving.tally import Counts, Tally, read_text, write

log = logging.getLogger("esml.serving")

EVERY = 5.0  # seconds between a process's writings, when it answered meanwhile


def folder_of(answered: str) -> str:
    """The folder of counts, beside the folder of answered requests."""
    return f"{answered.rpartition('/')[0]}/counts"


class Publisher:
    """The side of a process that serves.

    Args:
        answered: address of the endpoint's folder of answered requests.
        scratch: a folder of this machine.
    """

    def __init__(self, answered: str, scratch: Path, tally: Tally) -> None:
        self._files, self._tally = open_files(f"{answered}/any", scratch), tally
        self._name = f"{folder_of(answered)}/{uuid.uuid4().hex}.json"
        self._said = 0

    def publish(self) -> None:
        """Leave the counts since this process began, in place of those it left before; nothing where nothing is new."""
        counts = self._tally.counts
        now, text = counts.requests, json.dumps(asdict(counts)).encode()
        if now == self._said:
            return
        try:
            self._files.write_file(self._name, text)
            self._said = now
        except EsmlError as e:  # the next turn says them again
            log.warning("counts: %s", e.message)

    async def keep(self) -> None:
        """Publish for as long as the process serves."""
        while True:
            await asyncio.sleep(EVERY)
            await asyncio.to_thread(self.publish)


class Collector:
    """One worker's sums; what has not changed is not read again."""

    def __init__(self) -> None:
        self._known: dict[
            str, tuple[int, Counts]
        ] = {}  # by file's address: when it was written, what it says
        self._written: dict[Path, Counts] = {}

    def collect(self, platform: Platform, answered: str, path: Path) -> None:
        """Put the sum of all processes' counts into the endpoint's own file; nothing where none has left any."""
        sums, found = Counts(), platform.list_files(folder_of(answered))
        for name, _, at in found:
            key = f"{platform.lake_root()}/{name}"
            if key not in self._known or self._known[key][0] != at:
                text = platform.read_file(name)
                self._known[key] = (at, read_text(text) if text is not None else Counts())
            sums = sums + self._known[key][1]
        if found and self._written.get(path) != sums:
            write(path, sums)
            self._written[path] = sums
