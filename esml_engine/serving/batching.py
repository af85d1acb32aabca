"""Requests that arrive together are predicted together.

A model's call costs nearly the same for one row as for twenty, and the group commit answers several callers at once, so
their next requests arrive at once too. A quick model is called in the event loop (a thread's hand-over would cost more
than the prediction); a slow one, or a large request, in a thread, and what arrives meanwhile is its next group.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from esml_engine.serving.scorer import Columns, Predicted, Scorer

LARGE_ROWS = 64
"""Requests with more rows than this are predicted in a thread, alone: small ones don't wait for them."""
QUICK_SECONDS = 0.005
"""A model whose last group took more of the processor is called in a thread, so that the endpoint goes on listening.

Processor time, not the clock's: on a busy machine a quick model would pass for a slow one, and stay one, since a call in
a thread also waits for the interpreter.
"""
LANES = 2
"""Groups of slow models under way at once."""


@dataclass
class _Asked:
    scorer: Scorer
    columns: Columns
    rows: int
    answer: asyncio.Future[Predicted]

    def settle(self, said: Predicted | Exception) -> None:
        """Hand over the answer, unless nobody waits for it any more."""
        if self.answer.done():
            return
        if isinstance(said, Exception):
            self.answer.set_exception(said)
        else:
            self.answer.set_result(said)


class Batcher:
    """Collects the small requests that wait. All methods run in the event loop."""

    def __init__(self) -> None:
        self._asked: list[_Asked] = []
        self._lanes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def predict(self, scorer: Scorer, columns: Columns, rows: int) -> Predicted:
        """Predict one request's rows; raises what the model raises."""
        if rows > LARGE_ROWS:
            return await asyncio.to_thread(scorer.predict, columns)
        loop = asyncio.get_running_loop()
        asked = _Asked(scorer, columns, rows, loop.create_future())
        if not self._asked:
            loop.call_soon(self._run)
        self._asked.append(asked)
        return await asked.answer

    def _run(self) -> None:
        waiting, self._asked = self._asked, []
        groups: dict[int, list[_Asked]] = {}
        for one in waiting:
            groups.setdefault(id(one.scorer), []).append(one)
        for group in groups.values():
            if group[0].scorer.seconds <= QUICK_SECONDS:
                _settle(group, _predict(group))
            elif self._lanes < LANES:
                self._lanes += 1
                task = asyncio.create_task(self._lane(group))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:  # a lane that ends takes it along
                self._asked += group

    async def _lane(self, group: list[_Asked]) -> None:
        try:
            _settle(group, await asyncio.to_thread(_predict, group))
        finally:
            self._lanes -= 1
            if self._asked:
                self._run()


def _settle(group: Sequence[_Asked], said: Sequence[Predicted | Exception]) -> None:
    for one, answer in zip(group, said, strict=True):
        one.settle(answer)


def _predict(group: Sequence[_Asked]) -> list[Predicted | Exception]:
    """Answers of a group (one model); when the model refuses it as a whole, each request is judged alone."""
    started = time.thread_time()
    scorer = group[0].scorer
    joins = len(group) > 1 and scorer.joins_requests
    together = _together(scorer, group) if joins else None
    said = together if together is not None else [_alone(one) for one in group]
    scorer.seconds = time.thread_time() - started
    return said


def _together(scorer: Scorer, group: Sequence[_Asked]) -> list[Predicted | Exception] | None:
    columns = {name: [value for one in group for value in one.columns[name]] for name in scorer.features}
    try:
        said = scorer.predict(columns)
    except Exception:  # noqa: BLE001 - whose rows it were is found out by asking one by one
        return None
    parts: list[Predicted | Exception] = []
    start = 0
    for one in group:
        parts.append(said.part(start, start + one.rows))
        start += one.rows
    return parts


def _alone(one: _Asked) -> Predicted | Exception:
    try:
        return one.scorer.predict(one.columns)
    except Exception as error:  # noqa: BLE001 - handed to the request that asked
        return error
