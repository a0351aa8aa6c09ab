"""Where the driver saturates: real proposals, results and rows, workers that are simulated on a virtual clock.

Each worker takes 50 ms for a candidate, gates included, so 1,000 of them ask for 20,000 candidates a second. What Ray
costs the driver is measured first, with two real workers, unless --no-ray. Rows by a process of their own are not on
the driver's clock: it stands for a machine that has a core for them. So are proposals, but the driver waits for them:
they come as late as that process took CPU time to make them.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from json_line import emit, skip

from nas.algorithms import elsewhere as proposals
from nas.algorithms.elsewhere import ProposalsElsewhere
from nas.algorithms.evolution import Evolution
from nas.algorithms.proposing_process import ProposingProcess
from nas.gates import Gates
from nas.loop import SearchLoop
from nas.records import Budget, Candidate, Constraint, Failure, Result, Success
from nas.runners.scoring_worker import packed_batch
from nas.runners.simulated import Overheads, SimulatedRunner
from nas.store import FILE_NAME, RunStore
from nas.store import elsewhere as rows
from search_spaces import SPACES

SHAPE, CLASSES = (3, 32, 32), 10
GATES = Gates(SHAPE, CLASSES, (Constraint("params", 1e6), Constraint("macs", 60e6), Constraint("depth", 18)))
WORK_SECONDS = 0.05
BATCH = 40
AT_A_TIME, UNDER_WAY = 50, 1000  # batches
SECONDS = 20  # on the virtual clock, if every worker is always busy
SEEDS = 3  # of a simulated search, at most


def evaluated(candidate: Candidate) -> Result:
    """Gates and a score that costs nothing, as a worker sends them back."""
    checked = GATES.check(Candidate(candidate.id, candidate.arch))
    if isinstance(checked, Failure):
        return checked
    noise = candidate.id * 2654435761 % 1000 / 1000
    return Success(checked, {**checked.metrics, "score": checked.metrics["macs"] ** 0.5 * noise})


@contextmanager
def timed(target: Any, name: str, spent: dict[str, float]) -> Iterator[None]:
    """Adds the CPU seconds of a method to ``spent``."""
    method = getattr(target, name)

    def wrapped(*args: Any) -> Any:
        began = time.thread_time()
        try:
            return method(*args)
        finally:
            spent[name] = spent.get(name, 0.0) + time.thread_time() - began

    setattr(target, name, wrapped)
    yield
    delattr(target, name)


class VirtualProcess(ProposingProcess):
    """Proposals that are there, on the virtual clock, once the process would have made them.

    It begins with a portion when it has read what it needs for it and is done with the one before, and works for as
    long as that took it in CPU time.
    """

    def __init__(self, runner: SimulatedRunner) -> None:
        self._runner, self._sent_at = runner, {0: runner.now()}
        self._held: deque[tuple[float, bytes]] = deque()
        self._free_at = self._seconds_before = 0.0
        self._has_nothing_after = -1  # the last message after which it had to wait
        super().__init__()

    def is_there(self) -> bool:
        """It is, as the time that its start takes is counted when it takes the search."""
        with self._runner.off_the_clock():
            return ProposingProcess._message(self, wait=True) is not None

    def _order(self) -> None:
        sent = self._sent
        super()._order()
        if self._sent > sent:
            self._sent_at[self._sent] = self._runner.now()

    def _message(self, *, wait: bool) -> bytes | None:
        with self._runner.off_the_clock():
            while not self._held and self._has_nothing_after < self._sent:
                self._hold(super()._message(wait=True))
        if not self._held or (self._held[0][0] > self._runner.now() and not wait):
            return None
        when, message = self._held.popleft()
        self._runner.wait_until(when)
        return message

    def _hold(self, message: bytes | None) -> None:
        assert message is not None
        number, proposals, seconds = pickle.loads(message)
        self._free_at = max(self._free_at, self._sent_at[number]) + seconds - self._seconds_before
        self._seconds_before = seconds
        self._held.append((self._free_at, message))
        if not proposals:
            self._has_nothing_after = number


def search(runner: SimulatedRunner, evaluations: int, lookahead: int, seed: int) -> dict[str, float]:
    """Run one search; CPU seconds by step."""
    proposals.ProposingProcess = partial(VirtualProcess, runner=runner)  # type: ignore[assignment,misc]
    algorithm = ProposalsElsewhere(Evolution(SPACES["zen"], seed=seed, niches="depth", lookahead=lookahead))
    gates = None if getattr(runner, "gating", False) else GATES
    spent: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, RunStore.create(Path(folder) / FILE_NAME, {}) as store:
        loop = SearchLoop(algorithm, runner, store, gates, Budget(evaluations))
        with timed(algorithm, "ask", spent), timed(algorithm, "tell", spent), timed(store, "commit", spent):
            loop.run()
            runner.close()
            algorithm.close()
    return spent


def ray_overheads() -> Overheads:
    """CPU seconds of this thread that Ray takes: for a batch, a candidate in it, and to look for answers."""
    from nas.objective import Objective
    from nas.runners.crew import Terms
    from nas.runners.ray import RayRunner

    archs = [SPACES["zen"].sample(np.random.default_rng(i)) for i in range(BATCH)]
    runner = RayRunner(Objective("zen", SHAPE), Terms(workers=2))
    try:
        worker, ray = runner._crew.workers[0], runner._ray
        one, many = (packed_batch(Candidate(i, arch) for i, arch in enumerate(archs[:size])) for size in (1, BATCH))
        few, all_of_it = (round_trip(ray, worker.actor, batch) for batch in (one, many))
        watch = watching(runner, [worker.actor.score.remote(many) for _ in range(UNDER_WAY)])
    finally:
        runner.close()
    each = (sum(all_of_it) - sum(few)) / (BATCH - 1)
    return Overheads(few[0], few[1], max(0.0, each), watch)


def round_trip(ray: Any, actor: Any, batch: bytes) -> tuple[float, float]:
    """CPU seconds to send a batch, and to receive its answer, many at a time: as a driver does that is busy."""
    sent, received = [], []
    for _ in range(20):
        began = time.thread_time()
        refs = [actor.score.remote(batch) for _ in range(AT_A_TIME)]
        sent.append((time.thread_time() - began) / AT_A_TIME)
        ray.wait(refs, num_returns=AT_A_TIME)
        began = time.thread_time()
        for ref in refs:
            ray.get(ref)
        received.append((time.thread_time() - began) / AT_A_TIME)
    return float(np.median(sent)), float(np.median(received))


def watching(runner: Any, refs: list[Any]) -> float:
    """CPU seconds to look for answers, for each batch under way; the runner believes that workers have two each."""
    from nas.runners.crew import Worker

    crew = [Worker(None, None, time.monotonic(), {a: [], b: []}) for a, b in zip(refs[::2], refs[1::2], strict=True)]
    real, runner._crew.workers = runner._crew.workers, crew
    seconds = []
    try:
        for _ in range(20):
            began = time.thread_time()
            runner._dispatch(at_least=1)
            runner._answered()
            assert runner.free_slots >= 0
            seconds.append(time.thread_time() - began)
    finally:
        runner._crew.workers = real
    return float(np.median(seconds)) / len(refs)


HELPS = {  # what a driver has beside it: whether rows, whether proposals are made by a process of their own
    "alone": (False, False),
    "rows by a process of their own": (True, False),
    "rows and proposals by processes of their own": (True, True),
}


def saturation(overheads: Overheads, workers: int, evaluations: int, repeats: int, helped: str) -> None:
    """One simulated cluster, by several seeds."""
    whole, filled, could, began = [], [], [], time.thread_time()
    rows.SPARE, proposals.SPARE = (1 if there else 1 << 30 for there in HELPS[helped])
    for seed in range(1, repeats + 1):
        runner = SimulatedRunner(evaluated, workers=workers, work_seconds=WORK_SECONDS, overheads=overheads)
        places = runner.free_slots
        lookahead = 1 << (places - 1).bit_length()  # what the engine suggests where workers are idle
        candidates = max(evaluations, round(SECONDS * workers / WORK_SECONDS))
        search(runner, candidates, lookahead, seed)
        line = runner.timeline
        whole.append(line.rate())
        filled.append(line.rate(places, candidates - places))
        could.append(line.answers[-1][1] / line.driver)
    emit(
        f"candidates a second fed to {workers} simulated workers of 50 ms, {helped}",
        filled,
        "candidates/s",
        asked_for=workers / WORK_SECONDS,
        with_first_fill_and_end=round(float(np.median(whole))),
        driver_could=round(float(np.median(could))),
        real_seconds=round(time.thread_time() - began, 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[16, 64, 128, 256, 1000])
    parser.add_argument("--evaluations", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-ray", action="store_true")
    args = parser.parse_args()
    rows.SPARE = proposals.SPARE = 1 << 30
    proposals.LOOK_S = proposals.MANY_A_SECOND = 0  # evaluations are made in between, off the clock
    each: dict[str, list[float]] = {}
    for gating in (True, False):
        for seed in range(args.repeats):
            evaluate = (
                evaluated if gating else lambda candidate: Success(candidate, {**candidate.metrics, "score": 1.0})
            )
            runner = SimulatedRunner(
                evaluate, workers=64, work_seconds=1e-3, overheads=Overheads(0, 0, 0, 0, 0), gating=gating
            )
            spent = search(runner, args.evaluations, 65_536, seed)
            where = "gates on workers" if gating else "gates in the driver"
            each.setdefault(where, []).append(1e6 * runner.timeline.driver / args.evaluations)
            if gating:
                for name, seconds in spent.items():
                    each.setdefault(f"of it {name}", []).append(1e6 * seconds / args.evaluations)
    for name, values in each.items():
        emit(f"driver CPU per candidate, {name}", values, "us")
    overheads = Overheads()
    if args.no_ray:
        skip("what a batch costs the driver in Ray", "--no-ray")
    else:
        overheads = ray_overheads()
        emit("CPU to send a batch with Ray", [1e6 * overheads.submit], "us")
        emit("CPU to receive a batch with Ray", [1e6 * overheads.collect], "us")
        emit("CPU per candidate of a batch with Ray", [1e6 * overheads.candidate], "us")
        emit("CPU to look for answers, per batch under way", [1e6 * overheads.watch], "us")
    for workers in args.workers:
        for helped in HELPS:
            saturation(overheads, workers, args.evaluations, min(args.repeats, SEEDS), helped)


if __name__ == "__main__":
    main()
