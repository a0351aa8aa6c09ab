"""Evaluates candidates on Ray actors, in batches; survives workers that die."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.objective import Objective
from nas.records import Candidate, Failure, Result, Success
from nas.runners.ray_session import RayUnavailable, start_ray
from nas.runners.scoring_worker import Outcome, ScoringWorker

IN_FLIGHT = 2  # batches per worker: one runs while the next is on its way
BATCH_SECONDS = 0.3
LARGEST_BATCH = 256
DEATHS_TO_BLAME = 2  # a candidate alone on a worker that dies this often is a crash; once may be bad luck


@dataclass(eq=False)
class _Worker:
    """An actor and the batches it was given, oldest first."""

    actor: Any
    batches: dict[Any, list[Candidate]] = field(default_factory=dict)
    isolated: bool = False


class RayRunner:
    """Keeps ``workers`` actors busy with batches of about 0.3 s of work.

    When a worker dies, by a kill or by a candidate that takes the process down, it is replaced and its batches
    are halved and tried again, each alone on a worker, until the culprit stands alone; it becomes a Failure of
    kind "crash" and everything else is evaluated as if nothing had happened.
    """

    def __init__(self, objective: Objective, *, workers: int | None = None, address: str | None = None) -> None:
        """Start or join Ray and start the workers.

        Args:
            objective: what to compute; its score's module must be importable on the workers.
            workers: number of actors; None means one per CPU.
            address: of a running cluster; None starts a private one.
        Raises: RayUnavailable: in one line; UnknownScore.
        """
        objective.scorer()  # a wrong name fails here, in one line, not in a worker
        self._objective = objective
        self._stack = ExitStack()
        cpus = self._stack.enter_context(start_ray(address, workers))
        import ray

        self._ray = ray
        self._pending: deque[Candidate] = deque()
        self._suspects: deque[list[Candidate]] = deque()
        self._deaths: dict[int, int] = {}
        self._seconds_each = BATCH_SECONDS / 4
        self._workers = [_Worker(self._start()) for _ in range(workers or cpus)]
        try:
            ray.get([worker.actor.ready.remote() for worker in self._workers])
        except ray.exceptions.RayActorError as error:
            self.close()
            reason = [line for line in str(error).splitlines() if line.strip()][-1].strip()
            raise RayUnavailable(
                f"Ray workers cannot start: {reason}; is netwright installed where they run?"
            ) from None

    def _start(self) -> Any:
        actor = self._ray.remote(ScoringWorker).options(
            num_cpus=1, max_restarts=0, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}}
        )
        return actor.remote(self._objective.to_dict(), [str(Path.cwd())])

    @property
    def _batch_size(self) -> int:
        return max(1, min(LARGEST_BATCH, int(BATCH_SECONDS / max(self._seconds_each, 1e-9))))

    @property
    def _under_way(self) -> int:
        running = sum(len(batch) for worker in self._workers for batch in worker.batches.values())
        return running + len(self._pending) + sum(map(len, self._suspects))

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
        self._pending.extend(candidates)
        self._dispatch(at_least=self._batch_size)

    def wait_any(self) -> list[Result]:
        """Block until a batch is back, or a worker has died and a culprit is found."""
        results: list[Result] = []
        while self.busy and not results:
            self._dispatch(at_least=1)
            refs = [ref for worker in self._workers for ref in worker.batches]
            ready, _ = self._ray.wait(refs, num_returns=1)
            more, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
            for ref in dict.fromkeys([*ready, *more]):
                results += self._collect(ref)
        return results

    def close(self) -> None:
        """Stop the workers; leave Ray as it was found."""
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._workers.clear()
        self._stack.close()

    def _dispatch(self, at_least: int) -> None:
        """Give suspects to idle workers, alone; fill the others evenly with batches."""
        for worker in self._workers:
            if self._suspects and not worker.batches:
                self._send(worker, self._suspects.popleft(), isolated=True)
        for depth in range(IN_FLIGHT):
            for worker in self._workers:
                if worker.isolated or len(worker.batches) != depth or len(self._pending) < at_least:
                    continue
                if not self._pending or (self._suspects and depth > 0):
                    continue
                size = min(self._batch_size, len(self._pending))
                self._send(worker, [self._pending.popleft() for _ in range(size)], isolated=False)

    def _send(self, worker: _Worker, batch: list[Candidate], *, isolated: bool) -> None:
        worker.isolated = isolated
        ref = worker.actor.score.remote([(candidate.id, candidate.arch.to_json()) for candidate in batch])
        worker.batches[ref] = batch

    def _collect(self, ref: Any) -> list[Result]:
        worker = next((worker for worker in self._workers if ref in worker.batches), None)
        if worker is None:  # its worker was found dead a moment ago
            return []
        try:
            outcomes, seconds = self._ray.get(ref)
        except self._ray.exceptions.RayActorError:
            return self._replace(worker)
        batch = worker.batches.pop(ref)
        worker.isolated = False
        self._seconds_each = 0.5 * self._seconds_each + 0.5 * seconds / len(batch)
        return [_result(candidate, outcome) for candidate, outcome in zip(batch, outcomes, strict=True)]

    def _replace(self, worker: _Worker) -> list[Result]:
        """Start a new actor; put what the dead one held under suspicion, halved; name a proven culprit."""
        lost = list(worker.batches.values())
        alone = worker.isolated and len(lost) == 1 and len(lost[0]) == 1
        worker.actor, worker.batches, worker.isolated = self._start(), {}, False
        if alone:
            candidate = lost[0][0]
            self._deaths[candidate.id] = self._deaths.get(candidate.id, 0) + 1
            if self._deaths[candidate.id] >= DEATHS_TO_BLAME:
                return [Failure(candidate, "crash", "its evaluation killed the worker process, alone and repeatedly")]
        for batch in lost:
            middle = (len(batch) + 1) // 2
            self._suspects.extend(part for part in (batch[:middle], batch[middle:]) if part)
        return []


def _result(candidate: Candidate, outcome: Outcome) -> Result:
    score, reason = outcome
    if score is None:
        return Failure(candidate, "error", reason)
    return Success(candidate, {**candidate.metrics, "score": score})
