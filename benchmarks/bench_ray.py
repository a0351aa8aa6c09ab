"""Ray workers against one process, and two against one: the same search, interleaved, start-up left out.

The candidate tables of all must be equal. With two busy cores two workers can at best be twice as fast. Scores of a
tenth of a millisecond cost less than the driver's own work on a candidate, which bounds what workers can gain.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from json_line import emit

from nas.algorithms.evolution import Evolution
from nas.gates import Gates
from nas.loop import SearchLoop
from nas.objective import Objective
from nas.protocols import Runner
from nas.records import Budget, Constraint
from nas.runners.crew import Terms
from nas.runners.ray import RayRunner
from nas.runners.ray_session import start_ray
from nas.runners.serial import SerialRunner
from nas.store import FILE_NAME, RunStore
from search_spaces.zen import ZEN

SHAPE, CLASSES = (3, 32, 32), 10
GATES = Gates(SHAPE, CLASSES, (Constraint("params", 1e6), Constraint("macs", 60e6), Constraint("depth", 18)))
EVALUATIONS = {"zen": 6000, "mad": 6000, "deepmad": 6000, "zen-mc": 200, "naswot": 150, "synflow": 150}
Table = list[tuple[str, float | None]]


def timed(runner: Runner, evaluations: int, seed: int) -> tuple[float, float, Table]:
    """Wall seconds of one search, CPU seconds of this thread in it, and what it found."""
    search = Evolution(ZEN, seed=seed, lookahead=256)
    gates = None if getattr(runner, "gating", False) else GATES
    with tempfile.TemporaryDirectory() as folder, RunStore.create(Path(folder) / FILE_NAME, {}) as store:
        wall, cpu = time.perf_counter(), time.thread_time()
        SearchLoop(search, runner, store, gates, Budget(evaluations)).run()
        wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
        table = [(row["digest"], row["score"]) for row in store.table(scored_only=False)]
    return wall, cpu, table


def compare(score: str, evaluations: int, repeats: int) -> None:
    """One score: serial, one worker and two in turn."""
    objective = Objective(score, SHAPE, seed=1)
    terms = [Terms(workers=workers, gates=GATES.to_dict()) for workers in (1, 2)]
    runners: list[Runner] = [SerialRunner(objective)]
    seconds: list[list[float]] = [[], [], []]
    driver: list[float] = []
    try:
        runners += [RayRunner(objective, each) for each in terms]
        for runner in runners:  # warm: first batches load libraries and fill caches
            timed(runner, evaluations // 4, repeats)
        for seed in range(repeats):
            tables = []
            for at, runner in enumerate(runners):
                wall, cpu, table = timed(runner, evaluations, seed)
                seconds[at].append(wall)
                tables.append(table)
                if at == 2:
                    driver.append(1e6 * cpu / evaluations)
            assert tables[0] == tables[1] == tables[2], f"{score}, seed {seed}: Ray and serial differ"
    finally:
        for runner in runners:
            runner.close()
    alone, one, two = seconds
    emit(f"{score}: two workers over one", [a / b for a, b in zip(one, two, strict=True)], "x")
    emit(f"{score}: two workers over serial", [a / b for a, b in zip(alone, two, strict=True)], "x")
    emit(f"{score}: candidates a second, serial", [evaluations / s for s in alone], "candidates/s")
    emit(f"{score}: candidates a second, two workers", [evaluations / s for s in two], "candidates/s")
    emit(f"{score}: CPU of the driver per candidate, Ray", driver, "us")


def serial_overhead(repeats: int) -> None:
    """CPU of a serial search per candidate beside the score: the search with a score that costs nothing."""
    runner = SerialRunner(Objective("zen", SHAPE))
    runner._scorer = lambda arch, seed: 1.0
    timed(runner, 1000, repeats)
    emit("CPU per candidate, serial, gates included, score left out", [
        1e6 * timed(runner, 6000, seed)[1] / 6000 for seed in range(repeats)
    ], "us")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", nargs="+", default=list(EVALUATIONS))
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)  # as every worker
    serial_overhead(args.repeats)
    with start_ray(workers=3):  # one and two, in turn
        for score in args.scores:
            compare(score, EVALUATIONS.get(score, 300), args.repeats)


if __name__ == "__main__":
    main()
