"""Proposals by a process of their own, for drivers that have many workers to feed; the sequence is the same."""

from __future__ import annotations

import pickle
import time

from nas.algorithms.ordered import OrderedSearch
from nas.algorithms.proposing_process import ProposingProcess
from nas.cores import MANY_A_SECOND, SPARE, usable_cores
from nas.records import Candidate, Result

LOOK_S = 0.5


class ProposalsElsewhere:
    """A search that moves into a process of its own once it is asked for many candidates; a ``Search``.

    Should that process be lost, the run ends in one line and can be resumed: all its results are in the run file.
    """

    def __init__(self, search: OrderedSearch) -> None:
        """Begin here.

        Args:
            search: of a space of this package; others stay here.
        """
        self._search = search
        self._process: ProposingProcess | None = None
        self._may_move = search.ours and usable_cores() >= SPARE
        self._since, self._count = time.monotonic(), 0

    @property
    def process(self) -> ProposingProcess | None:
        """Where proposals are made; None for here."""
        return self._process

    @property
    def coming(self) -> bool:
        """Whether there are proposals soon, whatever results come."""
        return self._process is not None and self._process.coming

    def ask(self, n: int) -> list[Candidate]:
        """As ``OrderedSearch.ask``. Raises ProposerLost."""
        if self._process is not None:
            return self._process.ask(n)
        candidates = self._search.ask(n)
        if self._may_move and n > 1:  # one at a time is a run that is read again
            self._look(len(candidates))
        return candidates

    def tell(self, result: Result) -> None:
        """As ``OrderedSearch.tell``."""
        (self._process or self._search).tell(result)

    def close(self) -> None:
        """End the process; nothing can be asked after that."""
        if self._process is not None:
            self._process.close()

    def _look(self, asked: int) -> None:
        """Move when there was much to do of late."""
        now = time.monotonic()
        self._count += asked
        if now - self._since < LOOK_S:
            return
        if self._count >= MANY_A_SECOND * (now - self._since):
            try:
                self._process = ProposingProcess(self._search)
            except (OSError, TypeError, AttributeError, pickle.PicklingError):  # it stays here
                self._may_move = False
        self._since, self._count = now, 0
