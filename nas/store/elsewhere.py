"""Rows on their way to the file through a process of their own: what was handed over and is not known to be there."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence

from nas.records import Result
from nas.store.packing import Packer
from nas.store.row_process import NotWritten, RowProcess
from nas.store.rows import row_of

MANY_ROWS = 2_000  # of one commit, half a second: from there on the driver has no time to lose
CORES = 3  # below, it would take from the workers what it gives to the driver


class RowsElsewhere:
    """Starts the process once there are many rows, and goes without it once it has failed."""

    def __init__(self, start: Callable[[str], RowProcess | None], least: int | None = None) -> None:
        """No process yet.

        Args:
            start: one for a dictionary of designs; None where there can be none.
            least: rows of one commit that are worth it; by default 2,000, where there are three cores.
        """
        many = MANY_ROWS if (os.cpu_count() or 1) >= CORES else None
        self._start, self._least = start, many if least is None else least
        self._process: RowProcess | None = None
        self._given: deque[Sequence[Result]] = deque()

    def take(self, results: Sequence[Result], packer: Packer, storable: Callable[[str], str]) -> bool:
        """Whether the process has taken them. If not, ``settle`` says what else has to be written.

        Args:
            results: in candidate order.
            packer: of the run.
            storable: makes a text suit the database.
        """
        if self._process is None:
            if self._least is None or len(results) < self._least:
                return False
            self._process = self._start(packer.dictionary)
            if self._process is None:
                self._least = None
                return False
        self._given.append(results)
        try:
            unanswered = self._process.write([row_of(result, str, storable) for result in results])
        except NotWritten:
            return False
        while len(self._given) > unanswered:
            self._given.popleft()
        return True

    def settle(self) -> list[Result]:
        """Wait for what was handed over; what may have been lost, if the process has failed."""
        if self._process is None:
            return []
        try:
            self._process.settle()
        except NotWritten:
            lost = {result.candidate.id: result for results in self._given for result in results}
            self.close()
            self._least = None
            return list(lost.values())
        self._given.clear()
        return []

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()
        self._process = None
        self._given.clear()
