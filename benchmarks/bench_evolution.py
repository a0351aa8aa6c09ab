"""CPU seconds until evolution finds a network with the analytic Zen-Score of the published ZenNet-1M.

The whole loop is timed: proposing, gates, score, run file. Limits as published: parameters, MACs and layers. The
baseline in the same run is random search with the CPU time that evolution needed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from json_line import emit

from nas.algorithms.evolution import Evolution
from nas.algorithms.random import RandomSearch
from nas.gates import Gates
from nas.loop import Progress, SearchLoop
from nas.objective import Objective
from nas.protocols import Search
from nas.records import Budget, Constraint
from nas.runners.serial import SerialRunner
from nas.store import FILE_NAME, RunStore
from predictors.proxies import zen_score
from search_spaces.plainnet import read_structure
from search_spaces.zen import ZEN

SHAPE, CLASSES = (3, 32, 32), 10
LIMITS = (Constraint("params", 1e6), Constraint("macs", 162e6), Constraint("depth", 18))
ZENNET_1M = (
    "SuperConvK3BNRELU(3,88,1,1)SuperResK1K7K1(88,120,1,16,1)SuperResK1K7K1(120,192,2,16,3)"
    "SuperResK1K5K1(192,224,1,24,4)SuperResK1K5K1(224,96,2,24,2)SuperResK1K3K1(96,168,2,40,3)"
    "SuperResK1K3K1(168,112,1,48,3)SuperConvK1BNRELU(112,512,1,1)"
)
POPULATION = 128
MOST = 200_000


def run(search: Search, *, target: float, cpu_seconds: float, folder: Path) -> tuple[Progress, float]:
    """Search until the target or the CPU time is reached; the counts and the CPU seconds used."""
    started = time.process_time()
    gates = Gates(SHAPE, CLASSES, LIMITS)
    with RunStore.create(folder / FILE_NAME, {}) as store:
        loop = SearchLoop(search, SerialRunner(Objective("zen", SHAPE)), store, gates, Budget(MOST))

        def stop_when_done(progress: Progress) -> None:
            found = progress.best_score is not None and progress.best_score >= target
            if found or time.process_time() - started > cpu_seconds:
                loop.stop()

        loop.on_progress = stop_when_done
        progress = loop.run()
    return progress, time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    target = zen_score(read_structure(ZENNET_1M)[0], SHAPE)
    seconds, asked, random_best = [], [], []
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            found, used = run(
                Evolution(ZEN, seed=seed, population=POPULATION), target=target, cpu_seconds=120, folder=folder / "a"
            )
            baseline, _ = run(RandomSearch(ZEN, seed=seed), target=target, cpu_seconds=used, folder=folder / "b")
        assert found.best_score is not None, f"seed {seed}: nothing found"
        assert found.best_score >= target, f"seed {seed}: not reached"
        seconds.append(used)
        asked.append(found.asked)
        random_best.append((baseline.best_score or 0.0) / target)
    emit("evolution reaches ZenNet-1M's Zen-Score", seconds, "CPU s", target=round(target, 2), goal="< 20")
    emit("candidates that it takes", asked, "candidates")
    emit("random search in the same CPU time", random_best, "of ZenNet-1M's score")


if __name__ == "__main__":
    main()
