"""Requests that arrive together are predicted together.

A model's call costs the same for one row as for twenty. The group commit answers several callers at once, so their next
requests arrive at once: they are predicted in one call, in the event loop. Large requests go to a thread instead.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from esml_engine.serving.scorer import Columns, Predicted, Scorer

INLINE_ROWS = 256
"""Requests with more rows than this are predicted in a thread, alone, so that they don't hold up the small ones."""


@dataclass
class _Asked:
    scorer: Scorer
    columns: Columns
    rows: int
    answer: asyncio.Future[Predicted]


class Batcher:
    """Collects the small requests of one turn of the event loop. All methods run in the event loop."""

    def __init__(self) -> None:
        self._asked: list[_Asked] = []

    async def predict(self, scorer: Scorer, columns: Columns, rows: int) -> Predicted:
        """Predict one request's rows; raises what the model raises."""
        if rows > INLINE_ROWS:
            return await asyncio.to_thread(scorer.predict, columns)
        loop = asyncio.get_running_loop()
        asked = _Asked(scorer, columns, rows, loop.create_future())
        if not self._asked:
            loop.call_soon(self._run)
        self._asked.append(asked)
        return await asked.answer

    def _run(self) -> None:
        asked, self._asked = self._asked, []
        groups: dict[int, list[_Asked]] = {}
        for one in asked:
            groups.setdefault(id(one.scorer), []).append(one)
        for group in groups.values():
            if len(group) == 1 or not self._together(group):
                for one in group:
                    self._alone(one)

    def _together(self, group: list[_Asked]) -> bool:
        """One call for the group; False when the model refuses it, so that each is judged alone."""
        scorer = group[0].scorer
        columns = {name: [value for one in group for value in one.columns[name]] for name in scorer.features}
        try:
            said = scorer.predict(columns)
        except Exception:  # noqa: BLE001 - one caller's rows must not fail another's: the caller repeats them one by one
            return False
        start = 0
        for one in group:
            if not one.answer.done():
                one.answer.set_result(said.part(start, start + one.rows))
            start += one.rows
        return True

    def _alone(self, one: _Asked) -> None:
        try:
            said = one.scorer.predict(one.columns)
        except Exception as error:  # noqa: BLE001 - handed to the request that asked
            if not one.answer.done():
                one.answer.set_exception(error)
        else:
            if not one.answer.done():
                one.answer.set_result(said)
