"""Recipe tuning, Tune's overhead, and one training by two processes; each figure against its baseline, interleaved.

1. Tuned against given recipe: the difference on the test images, each of several tunings with its own seed, both
   recipes trained in the same fresh seeds.
2. What a trial costs under Ray Tune beyond the training itself, and what starting Ray costs.
3. Epochs of one process over those of two that share every batch, in turn; and of one process with two threads.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from json_line import emit

from nas.narrator import Silent
from nas.runners.ray_session import start_ray
from nas.train.distributed.crew import Crew, Plan
from nas.train.distributed.shared_training import SharedTraining
from nas.train.entrant import build_network
from nas.train.finalists import threads
from nas.train.fit import EpochReport, Training
from nas.train.images import Dataset, RawData, make_dataset
from nas.train.recipe import Recipe
from nas.train.trials.engine import Placement, Work, train_trials
from nas.train.trials.source import FixedTrials
from nas.train.trials.trial import Trial
from nas.train.tuned.run import tune_in
from nas.train.tuned.settings import TuneSettings
from nas.train.tuned.tuning import Tuning
from search_spaces.arch import Architecture
from search_spaces.formats import read_published

SMALL = read_published("SuperConvK3BNRELU(1,8,1,1)SuperResK3K3(8,16,2,8,1)SuperConvK1BNRELU(16,32,1,1)")[0]
LARGE = read_published(
    "SuperConvK3BNRELU(3,32,1,1)SuperResK3K3(32,64,2,64,2)SuperResK3K3(64,128,2,128,2)SuperConvK1BNRELU(128,256,1,1)"
)[0]


def tuned_over_given(seeds: int, trials: int, epochs: int) -> None:
    """Differences of the tuned recipe to the given one, a tuning per seed."""
    gains: dict[str, list[float]] = {"validation": [], "test": []}
    taken = 0
    for seed in range(seeds):
        settings = TuneSettings(trials=trials, repeats=4)
        tuning = Tuning(SMALL, "digits", Recipe(epochs=epochs), settings, seed, test=True)
        with tempfile.TemporaryDirectory() as folder:
            result = tune_in(Path(folder), tuning, Placement("serial"), Silent())
        taken += result["taken"]
        for images, values in gains.items():
            difference = (result[images] or {}).get("difference")
            values.append(100 * difference["value"] if difference else 0.0)
    facts = {"trials": trials, "epochs": epochs, "tuned_taken": taken, "data": "digits"}
    for images, values in gains.items():
        emit(f"tuned less given recipe, {images} top-1, one tuning each", values, "points", **facts)


def overhead(few: int, many: int, repeats: int) -> None:
    """What trials cost under Tune beyond the same trials in this process: each one, and the start of a worker."""
    began = time.perf_counter()
    each, start = [], []
    with start_ray(workers=1):
        up = time.perf_counter() - began
        for _ in range(repeats):
            extra = [seconds_of(count, "ray") - seconds_of(count, "serial") for count in (few, many)]
            each.append(1e3 * (extra[1] - extra[0]) / (many - few))
            start.append(extra[0] - few * each[-1] / 1e3)
    emit("Tune's overhead of each trial", each, "ms", trials=[few, many])
    emit("start of Tune and of a worker that imports torch", start, "s")
    emit("start of a private Ray session", [up], "s")


def seconds_of(trials: int, engine: Literal["serial", "ray"]) -> float:
    """Wall time of so many trainings of two steps, one after the other."""
    recipe = Recipe(epochs=1, batch_size=32).to_dict()
    source = FixedTrials([Trial(i, SMALL.to_dict(), "digits", recipe, i, images=64) for i in range(trials)])
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        train_trials(Work(source, Path(folder)), Placement(engine, workers=1))
        return time.perf_counter() - began


def images(count: int, shape: tuple[int, int, int]) -> Dataset:
    """Noise with ten labels."""
    rng = np.random.default_rng(0)

    def split(number: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(0, 256, (number, *shape), dtype=np.uint8), np.arange(number) % 10

    return make_dataset("noise", RawData(split(count), split(20), split(20)))


class Timed(SharedTraining):
    """Its reports have the CPU time of this process in place of the wall time."""

    def train_epoch(self) -> EpochReport:
        began = time.process_time()
        report = super().train_epoch()
        return replace(report, seconds=time.process_time() - began)


def shared(name: str, arch: Architecture, dataset: Dataset, batch_size: int, repeats: int) -> None:
    """Epochs of one process over those of two, in turn: by the clock, and by the CPU time of each process.

    The second is what idle cores would give but for the waiting; by the clock all that runs here counts as well.
    """
    recipe = Recipe(epochs=1000, batch_size=batch_size, augment="none", learning_rate=0.01)

    def begin() -> Timed:
        return Timed(build_network(arch, dataset, seed=0), dataset, recipe, seed=0)

    alone = Training(build_network(arch, dataset, seed=0), dataset, recipe, seed=0)
    crew = Crew(Plan(begin, workers=2, device="cpu", threads=1, local=True), None, 0)
    ratios: dict[str, list[float]] = {"wall": [], "CPU of each": [], "wall, one process of two threads": []}
    try:
        for repeat in range(repeats + 1):
            wall, cpu = {}, 0.0
            for count in (1, 2):
                with threads(count):
                    began, used = time.perf_counter(), time.process_time()
                    alone.train_epoch()
                    wall[count] = time.perf_counter() - began
                    cpu = time.process_time() - used if count == 1 else cpu
            began = time.perf_counter()
            report, _ = crew.train_epoch()
            together = time.perf_counter() - began
            if repeat:  # the first warms up
                found = (wall[1] / together, cpu / report.seconds, wall[2] / together)
                for values, ratio in zip(ratios.values(), found, strict=True):
                    values.append(ratio)
    finally:
        crew.close()
    for clock, values in ratios.items():
        emit(f"one process over two, {name}: {clock}", values, "x", batch=batch_size, images=len(dataset.train))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    overhead(5, 25, 3)
    with start_ray(workers=2):
        shared("70 million MACs at 32 x 32", LARGE, images(512, (3, 32, 32)), 64, args.repeats)
        shared("small network at 8 x 8", SMALL, images(512, (1, 8, 8)), 64, args.repeats)
    if args.seeds:
        tuned_over_given(args.seeds, args.trials, args.epochs)


if __name__ == "__main__":
    main()
