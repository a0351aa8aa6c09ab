"""Rows on their way to the file through a process of their own: what was handed over and is not known to be there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from nas.cores import MANY_A_SECOND, SPARE, usable_cores
from nas.records import Result
from nas.store.packing import Packer
from nas.store.row_process import NotWritten, RowProcess
from nas.store.rows import row_of

MANY_ROWS = MANY_A_SECOND // 2  # of one commit, half a second


class RowsElsewhere:
    """Starts the process once there are many rows, and goes without it once it has failed."""

    def __init__(self, start: Callable[[str], RowProcess | None]) -> None:
        """No process yet.

        Args:
            start: one for a dictionary of designs; None where there can be none.
        """
        self._start = start
        self._least = MANY_ROWS if usable_cores() >= SPARE else None
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
            self._process = self._started(packer)
            if self._process is None:
                return False
        self._given.append(results)
        try:
            unanswered = self._process.write([row_of(result, str, storable) for result in results])
        except NotWritten:
            return False
        while len(self._given) > unanswered:
            self._given.popleft()
        return True

    def _started(self, packer: Packer) -> RowProcess | None:
        try:
            process = self._start(packer.dictionary)
        except (OSError, NotWritten):  # the driver writes for itself
            process = None
        if process is None:
            self._least = None
        return process

    def settle(self) -> list[Result]:
        """Wait for what was handed over; what may have been lost, if the process has failed, until ``forget``."""
        if self._process is not None:
            try:
                self._process.settle()
                self._given.clear()
            except NotWritten:
                self._least = None
                self.close()
        return list({result.candidate.id: result for results in self._given for result in results}.values())

    def forget(self) -> None:
        """What may have been lost is in other hands."""
        self._given.clear()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()
        self._process = None
