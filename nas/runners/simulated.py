"""A cluster of any size on a virtual clock: says how long a search would take there, and what the driver can feed.

The driver's own work is real, batches packed and answers read included, and counted in CPU seconds of its thread, so
that a busy machine does not change the answer much. What workers would do costs no virtual driver time: evaluations are
done here, off the clock. What Ray costs the driver is charged as it was measured (``benchmarks/bench_driver.py``).
"""

from __future__ import annotations

import heapq
import math
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from nas.records import Candidate, Result
from nas.runners.batching import IN_FLIGHT, batch_size, portion, share
from nas.runners.scoring_worker import outcome_of, packed_batch, result_of, unpacked_outcomes


@dataclass(frozen=True, slots=True)
class Overheads:
    """Seconds that a batch costs beside the work in it.

    Attributes:
        submit: the driver, to send one.
        collect: the driver, to receive one.
        candidate: the driver, for what each candidate adds to these two.
        watch: the driver, whenever it looks for answers, for each batch under way.
        travel: from the driver to the worker, or back; nobody works meanwhile on this batch.
    """

    submit: float = 1.5e-4
    collect: float = 1e-4
    candidate: float = 5e-7
    watch: float = 1.5e-6
    travel: float = 1e-3


@dataclass
class _Worker:
    """When a simulated worker has done what it was given, and what that is."""

    free_at: float = 0.0
    batches: int = 0


@dataclass
class Timeline:
    """What happened on the virtual clock, in seconds.

    Attributes:
        now: since the first candidate was asked for.
        driver: that the driver worked: its code, and the charges of Ray.
        idle: that it waited for workers.
        worked: that workers spent on candidates, summed.
        answers: (when, candidates answered by then), one for each time that results came in.
    """

    now: float = 0.0
    driver: float = 0.0
    idle: float = 0.0
    worked: float = 0.0
    answers: list[tuple[float, int]] = field(default_factory=list)

    def rate(self, first: int = 0, last: int | None = None) -> float:
        """Candidates a second, from the first that was asked for to the last answer, or in between.

        Args:
            first: leave out the time until so many were answered.
            last: and that from when so many were answered.
        """
        known = [(0.0, 0), *self.answers]
        began = next(answer for answer in known if answer[1] >= first)
        ended = known[-1] if last is None else next(answer for answer in known if answer[1] >= last)
        return (ended[1] - began[1]) / max(ended[0] - began[0], 1e-9)


class SimulatedRunner:
    """Runs candidates on so many imaginary workers; a ``Runner``.

    Attributes:
        gating: whether ``evaluate`` holds candidates against the limits itself.
        timeline: what happened so far.
    """

    def __init__(
        self,
        evaluate: Callable[[Candidate], Result],
        *,
        workers: int,
        work_seconds: float | Callable[[Candidate], float],
        overheads: Overheads = Overheads(),
        gating: bool = True,
    ) -> None:
        """Idle workers.

        Args:
            evaluate: what a worker does with a candidate; computed here, off the clock.
            workers: how many.
            work_seconds: that a candidate takes one, or a function that says so.
            overheads: of a batch.
            gating: see above.
        """
        self.gating = gating
        self.timeline = Timeline()
        self._evaluate = evaluate
        self._work = work_seconds if callable(work_seconds) else lambda candidate: work_seconds
        self._seconds_each = 0.05 if callable(work_seconds) else work_seconds
        self._overheads = overheads
        self._workers = [_Worker() for _ in range(workers)]
        self._pending: deque[Candidate] = deque()
        self._running: list[tuple[float, int, _Worker, list[Candidate]]] = []
        self._under_way = self._sent = 0
        self._cpu = time.thread_time()

    @property
    def _batch_size(self) -> int:
        return batch_size(self._seconds_each, len(self._workers))

    @property
    def free_slots(self) -> int:
        """Room for two batches per worker, less what is under way."""
        return max(0, len(self._workers) * IN_FLIGHT * self._batch_size - self._under_way)

    @property
    def busy(self) -> bool:
        """Whether any candidate waits or runs."""
        return self._under_way > 0

    def submit(self, candidates: Sequence[Candidate]) -> None:
        """Queue candidates and send full batches off."""
        self._tick()
        self._pending.extend(candidates)
        self._under_way += len(candidates)
        self._dispatch(at_least=self._batch_size)
        self._tick()

    def wait_any(self, at_most_s: float | None = None) -> list[Result]:
        """Results of the batches that are back by now; if there are none, the clock goes on to the next.

        Args:
            at_most_s: it goes on no further than that: further candidates are on their way, and let batches become
                full.
        """
        self._tick()
        if at_most_s is None:
            self._dispatch(at_least=1)
        else:
            self._dispatch(at_least=self._batch_size)
            idle = sum(not worker.batches for worker in self._workers) if self._pending else 0
            least = portion(len(self._pending), idle, self._seconds_each, len(self._workers))
            self._dispatch(at_least=least, depths=1)
        self._charge(len(self._running) * self._overheads.watch)
        timeline = self.timeline
        self.wait_until(min(self._running[0][0], math.inf if at_most_s is None else timeline.now + at_most_s))
        results: list[Result] = []
        while self._running and self._running[0][0] <= timeline.now:
            _, _, worker, batch = heapq.heappop(self._running)
            worker.batches -= 1
            self._charge(self._overheads.collect + len(batch) * self._overheads.candidate)
            results += self._answered(batch)
        self._under_way -= len(results)
        before = timeline.answers[-1][1] if timeline.answers else 0
        timeline.answers.append((timeline.now, before + len(results)))
        return results

    def _answered(self, batch: list[Candidate]) -> list[Result]:
        """What a worker sends back, made off the clock, is read by the driver as it would be."""
        with self.off_the_clock():
            answer = pickle.dumps(([outcome_of(self._evaluate(candidate)) for candidate in batch], 0.0))
        outcomes, _ = unpacked_outcomes(answer)
        results = [result_of(candidate, outcome) for candidate, outcome in zip(batch, outcomes, strict=True)]
        self._tick()
        return results

    def now(self) -> float:
        """Seconds on the virtual clock, with what the driver did up to here."""
        self._tick()
        return self.timeline.now

    def wait_until(self, when: float) -> None:
        """The driver waits, for workers or for something else."""
        timeline = self.timeline
        timeline.idle += max(0.0, when - self.now())
        timeline.now = max(timeline.now, when)

    @contextmanager
    def off_the_clock(self) -> Iterator[None]:
        """What is done within is not the driver's work."""
        self._tick()
        try:
            yield
        finally:
            self._cpu = time.thread_time()

    def close(self) -> None:
        """Let the clock show what the driver did last; forget what is under way."""
        self._tick()
        self._running.clear()
        self._pending.clear()
        self._under_way = 0

    def _tick(self) -> None:
        """Let the clock show what the driver did since the runner was left."""
        now = time.thread_time()
        self._charge(now - self._cpu)
        self._cpu = now

    def _charge(self, seconds: float) -> None:
        self.timeline.now += seconds
        self.timeline.driver += seconds

    def _dispatch(self, at_least: int, depths: int = IN_FLIGHT) -> None:
        for depth in range(depths):
            for worker in self._workers:
                if len(self._pending) < max(1, at_least):
                    return
                if worker.batches == depth:
                    self._send(worker, share(len(self._pending), len(self._workers), self._batch_size, at_least))

    def _send(self, worker: _Worker, size: int) -> None:
        batch = [self._pending.popleft() for _ in range(size)]
        packed_batch(batch)
        self._charge(self._overheads.submit)
        seconds = sum(map(self._work, batch))
        self.timeline.worked += seconds
        worker.free_at = max(worker.free_at, self.timeline.now + self._overheads.travel) + seconds
        worker.batches += 1
        self._sent += 1
        heapq.heappush(self._running, (worker.free_at + self._overheads.travel, self._sent, worker, batch))
