"""Proposals by a process of their own, for drivers that have many workers to feed; the sequence is the same."""

from __future__ import annotations

import time
from typing import cast

from nas.algorithms.ordered import OrderedSearch
from nas.algorithms.proposing_process import ProposingProcess
from nas.cores import MANY_A_SECOND, SPARE, usable_cores
from nas.records import Candidate, Result
from search_spaces import SPACES

LOOK_S = 0.5


class ProposalsElsewhere:
    """A search that moves into a process of its own once it is asked for many candidates; a ``Search``.

    Should that process be lost, the run ends in one line and can be resumed: all its results are in the run file.
    Should it not come to work at all, the search stays.
    """

    def __init__(self, search: OrderedSearch) -> None:
        """Begin here.

        Args:
            search: of a space of this package; others stay here, as their code may hold what cannot be copied.
        """
        self._here: OrderedSearch | None = search
        self._process: ProposingProcess | None = None  # that is to take it, or has
        self._may_move = usable_cores() >= SPARE and any(search.space is space for space in SPACES.values())
        self._since, self._count = time.monotonic(), 0

    @property
    def moved(self) -> bool:
        """Whether proposals are made by the process."""
        return self._here is None

    @property
    def coming(self) -> bool:
        """Whether there are proposals soon, whatever results come."""
        return self.moved and cast(ProposingProcess, self._process).coming

    def ask(self, n: int) -> list[Candidate]:
        """As ``OrderedSearch.ask``. Raises ProposerLost."""
        if self._here is not None and self._may_move and n > 1:  # one at a time is a run that is read again
            self._move()
        if self._here is None:
            return cast(ProposingProcess, self._process).ask(n)
        candidates = self._here.ask(n)
        self._count += len(candidates)
        return candidates

    def tell(self, result: Result) -> None:
        """As ``OrderedSearch.tell``."""
        (self._here or cast(ProposingProcess, self._process)).tell(result)

    def close(self) -> None:
        """End the process; nothing can be asked after that."""
        if self._process is not None:
            self._process.close()

    def _move(self) -> None:
        """Start the process when there was much to do of late; move when it is there."""
        try:
            if self._process is None:
                if self._much_to_do():
                    self._process = ProposingProcess()
            elif self._process.is_there():
                self._process.take(cast(OrderedSearch, self._here))
                self._here = None
        except Exception:  # noqa: BLE001 - no process, no thread, no copy, or it does not run there: it stays here
            self._may_move = False
            self.close()
            self._process = None

    def _much_to_do(self) -> bool:
        now = time.monotonic()
        seconds = now - self._since
        if seconds < LOOK_S:
            return False
        much = self._count >= MANY_A_SECOND * seconds
        self._since, self._count = now, 0
        return much
