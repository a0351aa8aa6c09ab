"""The Ray actors that score: as many as the cluster holds, replaced when they die or hang."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.objective import Objective
from nas.records import Candidate
from nas.runners.cluster import Node, NodeUnknown, WorkerNeeds, describe, find_node, living_nodes
from nas.runners.ray_session import RayUnavailable, start_ray
from nas.runners.scoring_worker import ScoringWorker

STARTS = 3  # attempts in a row to replace one worker
LOOK_SECONDS = 2.0  # between two looks at the cluster
RETRY_SECONDS = 30.0  # until places are tried again that were not free
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
        node: id of the node where it runs; "" until it has started.
    """

    actor: Any
    starting: Any
    since: float
    batches: dict[Any, list[Candidate]] = field(default_factory=dict)
    isolated: bool = False
    failed_starts: int = 0
    node: str = ""

    @property
    def awaited(self) -> list[Any]:
        """What it owes an answer to."""
        return list(self.batches) if self.starting is None else [self.starting]


@dataclass(frozen=True)
class Terms:
    """What workers are like and how many there are.

    Attributes:
        workers: at most; None for as many as the cluster holds.
        needs: what each occupies.
        apart_from: the node that gets none, see ``find_node``; None for no such node.
        ready_seconds: for a worker to start.
        gates: of the search, see ``Gates.to_dict``, for workers that hold candidates against the limits themselves.
        say: told in one line when nodes come and go.
    """

    workers: int | None = None
    needs: WorkerNeeds = WorkerNeeds()  # noqa: RUF009 - frozen
    apart_from: str | None = None
    ready_seconds: float = 60.0
    gates: dict[str, Any] | None = None
    say: Callable[[str], None] = _LOG.info


class Crew:
    """The workers of one runner.

    The cluster is looked at every two seconds: workers are started on nodes that have come, and those that wait for
    a node that has left are dropped.

    Attributes:
        workers: those that have started or are being started.
        ready_seconds: for a worker to start.
    """

    def __init__(self, ray: Any, objective: Objective, terms: Terms) -> None:
        """Nobody yet.

        Args:
            ray: the module, connected.
            objective: what to compute.
            terms: how many, and of what kind.
        """
        self.workers: list[Worker] = []
        self.ready_seconds = terms.ready_seconds
        self._ray = ray
        self._objective = objective
        self._terms = terms
        self._nodes: tuple[str, ...] = ()
        self._looked_at = time.monotonic()
        self._hold_until = 0.0
        self._nobody_since = 0.0

    def start(self) -> None:
        """Start the workers and wait for them, not for ever; go on with those that have started.

        Raises: RayUnavailable: none has, one fails to, or no node can ever hold one.
        """
        nodes = self._eligible()
        places = self._places(nodes)
        if places == 0:
            raise RayUnavailable(_no_place(nodes, self._terms))
        asked = self._terms.workers or places
        self._nodes = tuple(node.id for node in nodes)
        for _ in range(min(asked, places)):
            self.workers.append(self._begin())
        refs = [worker.starting for worker in self.workers]
        ready, late = self._ray.wait(refs, num_returns=len(refs), timeout=self.ready_seconds)
        try:
            where = dict(zip(ready, self._ray.get(ready), strict=True))
        except self._ray.exceptions.RayError as error:
            reason = [line for line in str(error).splitlines() if line.strip()][-1].strip()
            raise RayUnavailable(
                f"Ray workers cannot start: {reason}; is netwright installed where they run?"
            ) from None
        if len(ready) < asked:
            self._say_short(asked, len(ready))
        for worker in list(self.workers):
            if worker.starting in late:
                self.give_up(worker)
            else:
                worker.node = where[worker.starting]
            worker.starting = None
        self._terms.say(f"engine: {_count(len(self.workers), 'worker')} on {_count(len(nodes), 'node')}")
        self._looked_at = time.monotonic()

    def _eligible(self) -> list[Node]:
        nodes = living_nodes(self._ray)
        kept = _kept_free(nodes, self._terms)
        return [node for node in nodes if node.id != kept]

    def _places(self, nodes: list[Node]) -> int:
        return sum(map(self._terms.needs.places, nodes))

    def _begin(self) -> Worker:
        actor = self._start()
        return Worker(actor, actor.ready.remote(), time.monotonic())

    def _start(self) -> Any:
        kept = _kept_free(living_nodes(self._ray), self._terms) if self._terms.apart_from else None
        actor = self._ray.remote(ScoringWorker).options(
            **self._terms.needs.options(),
            label_selector={"ray.io/node-id": f"!{kept}"} if kept else None,
            max_restarts=0,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}},
        )
        return actor.remote(self._objective.to_dict(), [str(Path.cwd())], self._terms.gates)

    def _say_short(self, asked: int, started: int) -> None:
        shortage = f"asked for {asked} workers of {self._terms.needs} each, {self.cpus()}"
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

    def look(self) -> None:
        """Suit the cluster as it is now, every two seconds: costs a millisecond.

        Raises: RayUnavailable: there has been no worker, nor room for one, for ``ready_seconds``.
        """
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS and self.workers:
            return
        self._looked_at = now
        nodes = self._eligible()
        places = self._places(nodes)
        ids = tuple(node.id for node in nodes)
        if ids != self._nodes:
            self._tell(ids, places)
            self._nodes, self._hold_until = ids, 0.0
        wanted = places if self._terms.workers is None else min(self._terms.workers, places)
        for worker in [worker for worker in self.workers if worker.starting is not None]:
            if len(self.workers) > wanted:
                self.give_up(worker)
        if now >= self._hold_until:
            self.workers += [self._begin() for _ in range(wanted - len(self.workers))]
        self._check_anybody(now)

    def _tell(self, ids: tuple[str, ...], places: int) -> None:
        came, left = len(set(ids) - set(self._nodes)), len(set(self._nodes) - set(ids))
        changes = [f"{_count(n, 'node')} {what}" for n, what in ((came, "joined"), (left, "left")) if n]
        self._terms.say(f"engine: {', '.join(changes)}; the cluster now has room for {places} workers")

    def _check_anybody(self, now: float) -> None:
        if any(worker.starting is None for worker in self.workers):
            self._nobody_since = 0.0
            return
        self._nobody_since = self._nobody_since or now
        if not self.workers and now - self._nobody_since >= self.ready_seconds:
            raise RayUnavailable(f"Ray: the last worker is lost and none can be started; {self.cpus()}")

    def deadline(self, worker: Worker, batch_seconds: float) -> float:
        """When it counts as hung, on the monotonic clock, if a batch may take so long; infinite for an idle one."""
        if not worker.awaited:
            return math.inf
        return worker.since + (batch_seconds if worker.starting is None else self.ready_seconds)

    def lost_node(self, worker: Worker) -> bool:
        """Whether the node of a worker is gone or does not answer: then nothing that ran there is to blame."""
        node = next((node for node in living_nodes(self._ray) if node.id == worker.node), None)
        return node is None or not node.answers()

    def replace(self, worker: Worker) -> None:
        """Start a new actor in place of one that died, hangs or cannot be reached; give up when that fails often."""
        failed_starts = worker.failed_starts + (worker.starting is not None)
        if failed_starts >= STARTS:
            self.give_up(worker)
            self.hold()
            return
        self._ray.kill(worker.actor)  # an unreachable one may still live, and hold a CPU
        worker.actor, worker.batches, worker.isolated, worker.node = self._start(), {}, False, ""
        worker.starting, worker.since = worker.actor.ready.remote(), time.monotonic()
        worker.failed_starts = failed_starts

    def give_up(self, worker: Worker) -> None:
        """Go on without it."""
        self._ray.kill(worker.actor)
        self.workers.remove(worker)

    def hold(self) -> None:
        """Try no further places for half a minute, or until nodes come or go."""
        self._hold_until = time.monotonic() + RETRY_SECONDS

    def close(self) -> None:
        """Stop the workers."""
        for worker in self.workers:
            self._ray.kill(worker.actor)
        self.workers.clear()


def check_places(address: str, terms: Terms) -> None:
    """Raise RayUnavailable when no node of a cluster can hold a worker."""
    with start_ray(address):
        import ray

        nodes = living_nodes(ray)
        kept = _kept_free(nodes, terms)
        if not any(terms.needs.places(node) for node in nodes if node.id != kept):
            raise RayUnavailable(_no_place(nodes, terms))


def _kept_free(nodes: list[Node], terms: Terms) -> str | None:
    """Id of the node that gets no workers; None for none, or where it is away for now."""
    try:
        return None if terms.apart_from is None else find_node(nodes, terms.apart_from).id
    except NodeUnknown:
        return None


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _no_place(nodes: list[Node], terms: Terms) -> str:
    apart = f", {terms.apart_from} apart, which is for measuring" if terms.apart_from else ""
    return (
        f"Ray: no node can hold a worker of {terms.needs}; the cluster has {describe(nodes)}{apart}; "
        "ask for less, or add a node"
    )
