"""Evaluates in this process, in order; also the reference that the parallel runners must equal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from nas.objective import Objective
from nas.records import Candidate, Result
from nas.runners.evaluate import evaluate

QUEUE = 64  # at most; what waits is still evaluated when the search is told to stop, so it is kept short
QUEUE_SECONDS = 0.3


class SerialRunner:
    """One candidate after another, in the calling process."""

    def __init__(self, objective: Objective) -> None:
        self._scorer = objective.scorer()
        self._seed = objective.seed
        self._queue: deque[Candidate] = deque()
        self._seconds_each = QUEUE_SECONDS

    @property
    def free_slots(self) -> int:
        """Places left in a queue of about 0.3 s of work."""
        places = max(1, min(QUEUE, int(QUEUE_SECONDS / max(self._seconds_each, 1e-9))))
        return max(0, places - len(self._queue))

    @property
    def busy(self) -> bool:
        """Whether candidates wait."""
        return bool(self._queue)

    def submit(self, candidates: Sequence[Candidate]) -> None:
        """Queue candidates."""
        self._queue.extend(candidates)

    def wait_any(self, at_most_s: float | None = None) -> list[Result]:
        """Evaluate the oldest candidate, however long it takes."""
        started = time.perf_counter()
        results = evaluate(self._scorer, [self._queue.popleft()], self._seed)
        self._seconds_each = 0.5 * self._seconds_each + 0.5 * (time.perf_counter() - started)
        return results

    def close(self) -> None:
        """Drop what waits."""
        self._queue.clear()
