"""Ray workers against one process on Monte-Carlo scoring: wall time of the same search, start-up left out.

The candidate tables of both must be equal. With two busy cores two workers can at best be twice as fast.
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
from nas.runners.ray import RayRunner
from nas.runners.serial import SerialRunner
from nas.store import FILE_NAME, RunStore
from search_spaces.zen import ZEN

SHAPE, CLASSES = (3, 32, 32), 10
LIMITS = (Constraint("params", 1e6), Constraint("macs", 60e6), Constraint("depth", 18))
OBJECTIVE = Objective("zen-mc", SHAPE, seed=1)


def timed(runner: Runner, evaluations: int, seed: int) -> tuple[float, list[tuple[str, float | None]]]:
    """Seconds of one search, and what it found."""
    search = Evolution(ZEN, seed=seed, lookahead=64)
    with tempfile.TemporaryDirectory() as folder, RunStore.create(Path(folder) / FILE_NAME, {}) as store:
        started = time.perf_counter()
        SearchLoop(search, runner, store, Gates(SHAPE, CLASSES, LIMITS), Budget(evaluations)).run()
        seconds = time.perf_counter() - started
        table = [(row["digest"], row["score"]) for row in store.table(scored_only=False)]
    return seconds, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--evaluations", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)  # as every worker
    serial, ray = SerialRunner(OBJECTIVE), RayRunner(OBJECTIVE, workers=args.workers)
    ratios, rates = [], []
    try:
        for seed in range(args.repeats):
            alone, expected = timed(serial, args.evaluations, seed)
            together, found = timed(ray, args.evaluations, seed)
            assert found == expected, f"seed {seed}: Ray and serial differ"
            ratios.append(alone / together)
            rates.append(args.evaluations / together)
    finally:
        ray.close()
    emit(f"Ray with {args.workers} workers over serial, Monte-Carlo Zen", ratios, "x", goal=">= 1.7")
    emit("candidates a second with Ray", rates, "candidates/s")


if __name__ == "__main__":
    main()
