"""How good the searches are at an equal number of evaluations, on spaces of which every member has been trained.

NAS-Bench-201 on CIFAR-10 (15,625 cells; the score is the accuracy on validation images after 12 epochs, judged by the
test accuracy after 200) and NAS-Bench-Macro (3,969 networks; score and judge are the mean test accuracy of all
trainings). Every algorithm asks and is told one candidate at a time; the best so far is read off after 50 to 500.
Random search with the same seeds is the baseline. Needs the folder that NETWRIGHT_DATA names (or ../shared/data).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from json_line import REPOSITORY, emit, skip
from numpy.typing import NDArray

from nas.algorithms.evolution import Evolution
from nas.algorithms.local import LocalSearch
from nas.algorithms.nsga2 import NSGA2
from nas.algorithms.optuna_sampler import OptunaSearch
from nas.algorithms.random import RandomSearch
from nas.algorithms.regularized import RegularizedEvolution
from nas.records import Success
from search_spaces.arch import Architecture
from search_spaces.nas_bench_201 import NAS_BENCH_201
from search_spaces.nas_bench_macro import NAS_BENCH_MACRO
from search_spaces.space import GridSpace

AFTER = (50, 100, 200, 500)  # evaluations
POPULATION, SAMPLE = 32, 25  # of searches that are short; the sample is that of the command
RESAMPLES = 2000
OBJECTIVES = ("score", "latency_ms")
Rows = NDArray[np.float64]  # (evaluations, 3): score, judge, cost

SEARCHES: Mapping[str, Callable[[GridSpace, int], Any]] = {
    "random": lambda space, seed: RandomSearch(space, seed=seed, lookahead=1),
    "evolution": lambda space, seed: Evolution(space, seed=seed, population=POPULATION, lookahead=1),
    "regularized": lambda space, seed: RegularizedEvolution(
        space, seed=seed, population=POPULATION, sample=SAMPLE, lookahead=1
    ),
    "local": lambda space, seed: LocalSearch(space, seed=seed, lookahead=1),
    "tpe": lambda space, seed: OptunaSearch(space, seed=seed, lookahead=1),
    "nsga2": lambda space, seed: NSGA2(space, seed=seed, objectives=OBJECTIVES, population=POPULATION, lookahead=1),
    "optuna-nsga2": lambda space, seed: OptunaSearch(
        space, seed=seed, sampler="nsga2", objectives=OBJECTIVES, lookahead=1
    ),
    "evolution, lookahead 256": lambda space, seed: Evolution(space, seed=seed),
    "regularized, lookahead 256": lambda space, seed: RegularizedEvolution(space, seed=seed, population=256, sample=25),
    "nsga2, lookahead 256": lambda space, seed: NSGA2(space, seed=seed, objectives=OBJECTIVES, population=256),
}
SLOW = ("tpe", "optuna-nsga2")
TWO_OBJECTIVES = ("nsga2", "optuna-nsga2", "nsga2, lookahead 256")


@dataclass(frozen=True)
class Table:
    """A space with what is known of every member.

    Attributes:
        space: where to search.
        key: architecture -> key of ``rows``.
        rows: score, judge (accuracy in percent), cost of a member.
        cost: what the cost is.
    """

    space: GridSpace
    key: Callable[[Architecture], str]
    rows: Mapping[str, tuple[float, float, float]]
    cost: str


def nas_bench_201(folder: Path) -> Table:
    accuracies = pd.read_csv(folder / "nasbench201" / "nb201_cifar10.csv.gz")
    latencies = pd.read_csv(folder / "nasbench201_latency" / "nb201_latency_ms.csv.gz")
    both = accuracies.merge(latencies, on="idx")
    columns = ("c10_val12", "c10_test200_mean", "silver_4210r")
    rows = dict(zip(both["arch"], both[list(columns)].itertuples(index=False, name=None), strict=True))
    return Table(NAS_BENCH_201, lambda arch: arch.blocks[1].ops, rows, "latency of a Xeon Silver 4210R, ms")


def nas_bench_macro(folder: Path) -> Table:
    """Codes that make the same network are trainings of it, and are averaged."""
    data = pd.read_csv(folder / "nas_bench_macro" / "nas_bench_macro_cifar10.csv.gz", dtype={"arch": str})
    knobs = [knob.name for knob in NAS_BENCH_MACRO.knobs]

    def key(arch: Architecture) -> str:
        return "".join(str(digit) for digit in NAS_BENCH_MACRO.values_of(arch).values())

    data["network"] = [
        key(NAS_BENCH_MACRO.decode(dict(zip(knobs, map(int, code), strict=True)))) for code in data["arch"]
    ]
    means = data.groupby("network")[["mean_acc", "flops"]].mean()
    rows = {network: (accuracy, accuracy, macs / 1e6) for network, accuracy, macs in means.itertuples(name=None)}
    return Table(NAS_BENCH_MACRO, key, rows, "millions of MACs")


def run(search: Any, table: Table, evaluations: int) -> Rows:
    """What the candidates are worth, in the order in which they were asked for; a repetition counts as one."""
    found = []
    for _ in range(evaluations):
        (candidate,) = search.ask(1)
        score, judge, cost = table.rows[table.key(candidate.arch)]
        found.append((score, judge, cost))
        search.tell(Success(candidate, {"score": score, "latency_ms": cost, "convs": 1.0}))
    return np.array(found)


def regret(rows: Rows, best: float) -> float:
    """Percentage points that the judge gives the best member above the one with the best score."""
    return best - float(rows[np.argmax(rows[:, 0]), 1])


def hypervolume(scores: NDArray[np.float64], costs: NDArray[np.float64], worst: tuple[float, float]) -> float:
    """Area between the front of (score up, cost down) and the worst corner."""
    area, best = 0.0, worst[0]
    order = np.lexsort((-scores, costs))
    for score, cost in zip(scores[order], costs[order], strict=True):
        if score > best:
            area += (score - best) * (worst[1] - cost)
            best = score
    return area


def wins(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Share of the seeds in which ours is smaller; a tie is half of one."""
    return float(np.mean((ours < theirs) + 0.5 * (ours == theirs)))


def interval(values: NDArray[np.float64]) -> list[float]:
    """95 % bootstrap interval of the mean."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    return [round(float(value), 3) for value in np.percentile(means, (2.5, 97.5))]


def report(name: str, values: NDArray[np.float64], baseline: NDArray[np.float64], unit: str) -> None:
    """One line; smaller values are better."""
    emit(
        name,
        values.tolist(),
        unit,
        mean=round(float(values.mean()), 3),
        standard_error=round(float(values.std(ddof=1) / np.sqrt(len(values))), 3),
        mean_bootstrap_95=interval(values),
        wins_against_random=round(wins(values, baseline[: len(values)]), 3),
    )


def compare(name: str, table: Table, algorithms: Sequence[str], seeds: int, slow_seeds: int) -> None:
    everything = np.array(list(table.rows.values()))
    best = float(everything[:, 1].max())
    worst = (float(everything[:, 0].min()), float(everything[:, 2].max()))
    whole = hypervolume(everything[:, 0], everything[:, 2], worst)
    baseline: dict[str, NDArray[np.float64]] = {}
    for algorithm in ("random", *(a for a in algorithms if a != "random")):
        count = slow_seeds if algorithm in SLOW else seeds
        runs = [run(SEARCHES[algorithm](table.space, seed), table, AFTER[-1]) for seed in range(count)]
        for after in AFTER:
            found = {
                "regret": [regret(rows[:after], best) for rows in runs],
                "missing_hypervolume": [
                    100 * (1 - hypervolume(rows[:after, 0], rows[:after, 2], worst) / whole) for rows in runs
                ],
            }
            for what, values in found.items():
                if what == "missing_hypervolume" and algorithm not in ("random", *TWO_OBJECTIVES):
                    continue
                key = f"{what}.{after}"
                baseline.setdefault(key, np.array(values))
                unit = "points below the best" if what == "regret" else f"% of the area of (score, {table.cost})"
                report(f"{name}.{algorithm}.{key}", np.array(values), baseline[key], unit)


SPACES: Mapping[str, tuple[tuple[str, ...], Callable[[Path], Table]]] = {
    "nas-bench-201": (("nasbench201", "nasbench201_latency"), nas_bench_201),
    "nas-bench-macro": (("nas_bench_macro",), nas_bench_macro),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--slow-seeds", type=int, default=20, help="of Optuna's samplers")
    parser.add_argument("--algorithms", nargs="*", choices=SEARCHES, default=list(SEARCHES))
    parser.add_argument("--spaces", nargs="*", choices=SPACES, default=list(SPACES))
    args = parser.parse_args()
    folder = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data")
    for name in args.spaces:
        parts, read = SPACES[name]
        if all((folder / part).exists() for part in parts):
            compare(name, read(folder), args.algorithms, args.seeds, args.slow_seeds)
        else:
            skip(f"search_quality.{name}", f"set NETWRIGHT_DATA to the folder with {', '.join(parts)}")


if __name__ == "__main__":
    main()
