"""The Ray actors that score: started, replaced when they die or hang, given up when they cannot be had."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.objective import Objective
from nas.records import Candidate
from nas.runners.ray_session import RayUnavailable
from nas.runners.scoring_worker import ScoringWorker

STARTS = 3  # attempts in a row to replace one worker
_LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class Worker:
    """An actor and the batches it was given, oldest first.

    Attributes:
        actor: its handle.
        starting: what its ``ready`` will answer; None once it has. Until then it is given nothing.
        since: when it began to start, or its oldest batch; seconds of the monotonic clock.
        batches: by what ``score`` will answer.
        isolated: whether its batch is under suspicion.
        failed_starts: in a row.
    """

    actor: Any
    starting: Any
    since: float
    batches: dict[Any, list[Candidate]] = field(default_factory=dict)
    isolated: bool = False
    failed_starts: int = 0

    @property
    def awaited(self) -> list[Any]:
        """What it owes an answer to."""
        return list(self.batches) if self.starting is None else [self.starting]


class Crew:
    """The workers of one runner, each with one CPU.

    Attributes:
        workers: those that have started or are being replaced.
        ready_seconds: for a worker to start.
    """

    def __init__(self, ray: Any, objective: Objective, ready_seconds: float) -> None:
        """Nobody yet.

        Args:
            ray: the module, connected.
            objective: what to compute.
            ready_seconds: for a worker to start.
        """
        self.workers: list[Worker] = []
        self.ready_seconds = ready_seconds
        self._ray = ray
        self._objective = objective

    def start(self, count: int) -> None:
        """Start so many workers and wait for them, not for ever; go on with those that have started.

        Raises: RayUnavailable: none has, or one fails to.
        """
        for _ in range(count):
            actor = self._start()
            self.workers.append(Worker(actor, actor.ready.remote(), time.monotonic()))
        refs = [worker.starting for worker in self.workers]
        ready, late = self._ray.wait(refs, num_returns=count, timeout=self.ready_seconds)
        try:
            self._ray.get(ready)
        except self._ray.exceptions.RayError as error:
            reason = [line for line in str(error).splitlines() if line.strip()][-1].strip()
            raise RayUnavailable(
                f"Ray workers cannot start: {reason}; is netwright installed where they run?"
            ) from None
        if late:
            self._say_short(count, len(ready))
        for worker in list(self.workers):
            if worker.starting in late:
                self.give_up(worker)
            worker.starting = None

    def _start(self) -> Any:
        actor = self._ray.remote(ScoringWorker).options(
            num_cpus=1, max_restarts=0, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}}
        )
        return actor.remote(self._objective.to_dict(), [str(Path.cwd())])

    def _say_short(self, asked: int, started: int) -> None:
        shortage = f"asked for {asked} workers of one CPU each, {self.cpus()}"
        if not started:
            raise RayUnavailable(
                f"Ray: no worker started within {self.ready_seconds:g} s: {shortage}; "
                "free some, or take the serial engine"
            )
        _LOG.warning("Ray: %s; going on with %d", shortage, started)

    def cpus(self) -> str:
        """What the cluster has, for messages."""
        total, free = (
            found.get("CPU", 0.0) for found in (self._ray.cluster_resources(), self._ray.available_resources())
        )
        return f"the cluster has {total:g} CPUs, {free:g} of them free"

    def deadline(self, worker: Worker, batch_seconds: float) -> float:
        """When it counts as hung, on the monotonic clock, if a batch may take so long; infinite for an idle one."""
        if not worker.awaited:
            return math.inf
        return worker.since + (batch_seconds if worker.starting is None else self.ready_seconds)

    def replace(self, worker: Worker) -> None:
        """Start a new actor in place of one that died, hangs or cannot be reached; give up when that fails often."""
        failed_starts = worker.failed_starts + (worker.starting is not None)
        if failed_starts >= STARTS:
            self.give_up(worker)
            return
        self._ray.kill(worker.actor)  # an unreachable one may still live, and hold a CPU
        worker.actor, worker.batches, worker.isolated = self._start(), {}, False
        worker.starting, worker.since = worker.actor.ready.remote(), time.monotonic()
        worker.failed_starts = failed_starts

    def give_up(self, worker: Worker) -> None:
        """Go on without it."""
        self._ray.kill(worker.actor)
        self.workers.remove(worker)

    def close(self) -> None:
        """Stop the workers."""
        for worker in self.workers:
            self._ray.kill(worker.actor)
        self.workers.clear()
