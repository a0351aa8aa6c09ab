"""Evaluates in this process, in order; also the reference that the parallel runners must equal."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from nas.objective import Objective
from nas.records import Candidate, Result
from nas.runners.evaluate import evaluate

QUEUE = 64


class SerialRunner:
    """One candidate after another, in the calling process."""

    def __init__(self, objective: Objective) -> None:
        self._scorer = objective.scorer()
        self._seed = objective.seed
        self._queue: deque[Candidate] = deque()

    @property
    def free_slots(self) -> int:
        """Places left in the queue."""
        return QUEUE - len(self._queue)

    @property
    def busy(self) -> bool:
        """Whether candidates wait."""
        return bool(self._queue)

    def submit(self, candidates: Sequence[Candidate]) -> None:
        """Queue candidates."""
        self._queue.extend(candidates)

    def wait_any(self) -> list[Result]:
        """Evaluate the oldest candidate."""
        return evaluate(self._scorer, [self._queue.popleft()], self._seed)

    def close(self) -> None:
        """Drop what waits."""
        self._queue.clear()
