"""Evaluates candidates on Ray actors, in batches; survives workers that die."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from nas.objective import Objective
from nas.records import Candidate, Failure, Result
from nas.runners.batching import BATCH_SECONDS, IN_FLIGHT, batch_size, portion, share
from nas.runners.crew import LOOK_SECONDS, Crew, Terms, Worker
from nas.runners.idleness import Idleness
from nas.runners.ray_session import RayUnavailable, start_ray
from nas.runners.scoring_worker import packed_batch, result_of, unpacked_outcomes

DEATHS_TO_BLAME = 2  # a candidate alone on a worker that dies this often is a crash; once may be bad luck
CANDIDATE_SECONDS = 600.0
_LOG = logging.getLogger(__name__)


class RayRunner:
    """Keeps actors busy with batches of about 0.3 s of work, of more where there are more than 150 workers.

    Nodes that join the cluster get workers, up to the number asked for, and nodes may leave.

    When a worker dies, by a kill or by a candidate that takes the process down, it is replaced and its batches
    are halved and tried again, each alone on a worker, until the culprit stands alone; it becomes a Failure of
    kind "crash" and everything else is evaluated as if nothing had happened. A worker that hangs is killed and
    replaced, the candidates of its batch are tried again one by one, and the one that hangs alone is a "crash" too.
    What dies with its node is evaluated elsewhere, without suspicion.
    """

    def __init__(
        self,
        objective: Objective,
        terms: Terms = Terms(),  # noqa: B008 - frozen
        *,
        address: str | None = None,
        candidate_seconds: float = CANDIDATE_SECONDS,
    ) -> None:
        """Start or join Ray and start the workers.

        Args:
            objective: what to compute; its score's module must be importable on the workers.
            terms: how many workers, and of what kind.
            address: of a running cluster; None starts a private one.
            candidate_seconds: for one candidate, and for a whole batch, which is planned to take 0.3 s.
        Raises: RayUnavailable: in one line; UnknownScore.
        """
        objective.scorer()  # a wrong name fails here, in one line, not in a worker
        self._candidate_seconds = candidate_seconds
        self.gating = terms.gates is not None
        self._stack = ExitStack()
        self._stack.enter_context(start_ray(address, terms.workers))
        import ray

        self._ray = ray
        self._pending: deque[Candidate] = deque()
        self._suspects: deque[list[Candidate]] = deque()
        self._deaths: dict[int, int] = {}
        self._seconds_each = BATCH_SECONDS / 4
        self._crew = Crew(ray, objective, terms)
        self._idleness = Idleness(terms.say)
        self._fed = False  # whether candidates came since the last answer
        try:
            self._crew.start()
        except BaseException:
            self.close()
            raise

    @property
    def _batch_size(self) -> int:
        return batch_size(self._seconds_each, len(self._crew.workers))

    @property
    def _under_way(self) -> int:
        running = sum(len(batch) for worker in self._crew.workers for batch in worker.batches.values())
        return running + len(self._pending) + sum(map(len, self._suspects))

    @property
    def free_slots(self) -> int:
        """Room for two batches per worker, less what is under way."""
        return max(0, self._places - self._under_way)

    @property
    def _places(self) -> int:
        return max(1, len(self._crew.workers)) * IN_FLIGHT * self._batch_size

    @property
    def busy(self) -> bool:
        """Whether any candidate waits or runs."""
        return self._under_way > 0

    def submit(self, candidates: Sequence[Candidate]) -> None:
        """Queue candidates and send full batches off."""
        self._fed = self._fed or bool(candidates)
        self._pending.extend(candidates)
        self._dispatch(at_least=self._batch_size)

    def wait_any(self, at_most_s: float | None = None) -> list[Result]:
        """Block until a batch is back, or a worker has died or hung and a culprit is found.

        Args:
            at_most_s: come back after so long: further candidates are on their way, and let batches become full.
        Raises: RayUnavailable: the last worker is lost and none can be started.
        """
        until = math.inf if at_most_s is None else time.monotonic() + at_most_s
        results: list[Result] = []
        while self.busy and not results:
            self._crew.look()
            if at_most_s is None:
                self._dispatch(at_least=1)
            else:
                self._dispatch(at_least=self._batch_size)
                idle = sum(not worker.awaited for worker in self._crew.workers) if self._pending else 0
                least = portion(len(self._pending), idle, self._seconds_each, len(self._crew.workers))
                self._dispatch(at_least=least, depths=1)
            for ref, worker in self._answered(until):
                results += self._collect(ref, worker)
            results += self._end_overdue()
            if time.monotonic() >= until:
                break
        return results

    def _answered(self, until: float = math.inf) -> list[tuple[Any, Worker]]:
        """What is answered by now, and by whom; waits for one, or until a worker is overdue or the cluster due."""
        owners = {ref: worker for worker in self._crew.workers for ref in worker.awaited}
        if not owners:  # nobody is left, but a node may come
            time.sleep(max(0.0, min(LOOK_SECONDS / 4, until - time.monotonic())))
            return []
        refs = list(owners)
        deadline = min(self._crew.deadline(worker, self._candidate_seconds) for worker in self._crew.workers)
        deadline = min(deadline, until)
        began = time.monotonic()
        ready, _ = self._ray.wait(refs, num_returns=1, timeout=max(0.0, min(LOOK_SECONDS, deadline - began)))
        hungry = self._fed and not self._pending and until == math.inf  # else nothing comes, or it is on its way
        idle = sum(not worker.awaited for worker in self._crew.workers) if hungry else 0
        self._fed = False
        self._idleness.look(idle, len(self._crew.workers), time.monotonic() - began, self._places)
        more, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        return [(ref, owners[ref]) for ref in dict.fromkeys([*ready, *more])]

    def close(self) -> None:
        """Stop the workers; leave Ray as it was found."""
        self._crew.close()
        self._stack.close()

    def _dispatch(self, at_least: int, depths: int = IN_FLIGHT) -> None:
        """Give suspects to idle workers, alone; fill those with fewer than ``depths`` batches evenly."""
        started = [worker for worker in self._crew.workers if worker.starting is None]
        if not started:
            return
        for worker in started:
            if self._suspects and not worker.batches:
                self._send(worker, self._suspects.popleft(), isolated=True)
        for depth in range(depths):
            for worker in started:
                if worker.isolated or len(worker.batches) != depth or len(self._pending) < at_least:
                    continue
                if not self._pending or (self._suspects and depth > 0):
                    continue
                size = share(len(self._pending), len(started), self._batch_size, at_least)
                self._send(worker, [self._pending.popleft() for _ in range(size)], isolated=False)

    def _send(self, worker: Worker, batch: list[Candidate], *, isolated: bool) -> None:
        worker.isolated = isolated
        if not worker.batches:
            worker.since = time.monotonic()
        ref = worker.actor.score.remote(packed_batch(batch))
        worker.batches[ref] = batch

    def _collect(self, ref: Any, worker: Worker) -> list[Result]:
        if ref not in worker.awaited:  # it was found dead a moment ago
            return []
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            raise RayUnavailable(f"Ray: a worker failed: {_last_line(error)}") from None
        except self._ray.exceptions.RayError:  # it died, is out of reach, or its answer is lost with its node
            return self._bury(worker)
        worker.since = time.monotonic()
        if ref == worker.starting:
            worker.starting, worker.failed_starts, worker.node = None, 0, answer
            return []
        outcomes, seconds = unpacked_outcomes(answer)
        batch = worker.batches.pop(ref)
        worker.isolated = False
        self._seconds_each = 0.5 * self._seconds_each + 0.5 * seconds / len(batch)
        return [result_of(candidate, outcome) for candidate, outcome in zip(batch, outcomes, strict=True)]

    def _bury(self, worker: Worker) -> list[Result]:
        """Replace a dead worker; put what it held under suspicion, halved; name a proven culprit.

        What was lost with a whole node is evaluated again like anything else.
        """
        lost = list(worker.batches.values())
        if lost and self._crew.lost_node(worker):
            self._crew.replace(worker)
            self._pending.extendleft(reversed([candidate for batch in lost for candidate in batch]))
            return []
        alone = worker.isolated and len(lost) == 1 and len(lost[0]) == 1
        self._crew.replace(worker)
        if alone:
            candidate = lost[0][0]
            self._deaths[candidate.id] = self._deaths.get(candidate.id, 0) + 1
            if self._deaths[candidate.id] >= DEATHS_TO_BLAME:
                return [Failure(candidate, "crash", "its evaluation killed the worker process, alone and repeatedly")]
        for batch in lost:
            middle = (len(batch) + 1) // 2
            self._suspects.extend(part for part in (batch[:middle], batch[middle:]) if part)
        return []

    def _end_overdue(self) -> list[Result]:
        """Kill the workers that hang, or do not start; name a candidate that hung alone."""
        results: list[Result] = []
        for worker in list(self._crew.workers):
            if time.monotonic() < self._crew.deadline(worker, self._candidate_seconds):
                continue
            if worker.starting is not None:
                self._crew.give_up(worker)
                self._crew.hold()
                _LOG.warning("Ray: a lost worker cannot be replaced; going on with %d", len(self._crew.workers))
                continue
            hanging, *waiting = worker.batches.values()
            lost = self._crew.lost_node(worker)
            self._crew.replace(worker)
            self._pending.extendleft(reversed([candidate for batch in waiting for candidate in batch]))
            if lost:
                self._pending.extendleft(reversed(hanging))
            elif len(hanging) == 1:
                message = f"its evaluation took longer than {self._candidate_seconds:g} s and was ended"
                results.append(Failure(hanging[0], "crash", message))
            else:
                self._suspects.extend([candidate] for candidate in hanging)
        return results


def _last_line(error: Exception) -> str:
    return [line for line in str(error).splitlines() if line.strip()][-1].strip()
