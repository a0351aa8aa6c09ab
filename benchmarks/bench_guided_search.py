"""Guided search beside random search, regularised evolution and a zero-shot choice, on tables of trained networks.

A query looks up the label of a network: one training. After 50 and 100 queries each method delivers the network with
the best label that it has seen, and that network's judge is what counts. Tables, labels and judges:

- NAS-Bench-201, CIFAR-10, 15,625 cells. Label "single": test accuracy of one training of 200 epochs (the table holds no
  validation accuracy after 200). Label "12 epochs": validation accuracy of one training of 12 epochs, which is a worse
  label of the same thing. Judge of both: mean test accuracy of all trainings of 200 epochs, the single one among them.
- NAS-Bench-Macro, CIFAR-10, 3,969 different networks. Label: accuracy of the first training; judge: mean of all.

The guided search knows the design, MACs, parameters and depth, as in ``netwright search --score predictor``, of which
it takes all settings but the sizes: 10 networks at first, then 5 a round. "zero-shot" takes the 100 (or 50) networks
with the highest NASWOT (Macro: the most MACs), trains those and delivers the best. Every mean has a 95 % bootstrap
interval over the seeds; "guided_gain" is guided less the other method, seed by seed. Needs the folder that
NETWRIGHT_DATA names (or ../shared/data).

    python benchmarks/bench_guided_search.py [--seeds 30] [--only macro]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from json_line import REPOSITORY, emit, skip
from numpy.typing import NDArray

from nas.accuracy_model import AccuracyModel
from nas.algorithms.random import RandomSearch
from nas.algorithms.regularized import RegularizedEvolution
from nas.guided.guided_search import GuidedSearch, Labelled, Plan
from nas.records import Candidate, Success
from search_spaces.arch import Architecture
from search_spaces.nas_bench_201 import NAS_BENCH_201
from search_spaces.nas_bench_macro import NAS_BENCH_MACRO
from search_spaces.space import GridSpace

QUERIES = 100
AFTER = (50, 100)
PLAN = Plan(initial=10, batch=5)
POPULATIONS = ((32, 25), (10, 10), (20, 5))  # population and sample; the second as in the paper of NAS-Bench-201
RESAMPLES = 10_000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """A space of which every member is trained.

    Attributes:
        space: where to search.
        key: architecture -> its row of ``rows``.
        rows: "label", "judge", and "proxy", by which the zero-shot choice goes.
        label: of every member, by key.
    """

    space: GridSpace
    key: Callable[[Architecture], str]
    rows: pd.DataFrame
    label: Mapping[str, float]


def nas_bench_201(folder: Path, label: str) -> Table:
    data = pd.read_csv(folder / "nasbench201" / "nb201_cifar10.csv.gz").set_index("arch")
    rows = pd.DataFrame({"label": data[label], "judge": data["c10_test200_mean"], "proxy": data["c10_naswot"]})
    return Table(NAS_BENCH_201, lambda arch: arch.blocks[1].ops, rows, rows["label"].to_dict())


def nas_bench_macro(folder: Path) -> Table:
    """Codes that make the same network are trainings of it; the first of them is the label."""
    data = pd.read_csv(folder / "nas_bench_macro" / "nas_bench_macro_cifar10.csv.gz", dtype={"arch": str})
    knobs = [knob.name for knob in NAS_BENCH_MACRO.knobs]

    def key(arch: Architecture) -> str:
        return "".join(str(digit) for digit in NAS_BENCH_MACRO.values_of(arch).values())

    codes = (dict(zip(knobs, map(int, code), strict=True)) for code in data["arch"])
    data["network"] = [key(NAS_BENCH_MACRO.decode(code)) for code in codes]
    found = data.groupby("network").agg(label=("acc0", "first"), judge=("mean_acc", "mean"), proxy=("flops", "first"))
    return Table(NAS_BENCH_MACRO, key, found, found["label"].to_dict())


class Free:
    """Gates without limits."""

    def check(self, candidate: Candidate) -> Candidate:
        return replace(candidate, metrics={"macs": 0.0})


def guided(table: Table, model: AccuracyModel, seed: int) -> list[str]:
    """Keys in the order asked."""
    search = GuidedSearch(table.space, Free(), PLAN, lambda: model, seed=seed)  # type: ignore[arg-type]
    told: list[Labelled] = []
    while len(told) < QUERIES:
        asked = search.ask(told)[: QUERIES - len(told)]
        told += [Labelled(arch, table.label[table.key(arch)]) for arch in asked]
    return [table.key(one.arch) for one in told]


def ordered(table: Table, search: Any) -> list[str]:
    """Keys of an ask-and-tell search with one candidate under way; a network asked again costs nothing."""
    found: dict[str, None] = {}
    for _ in range(20 * QUERIES):
        (candidate,) = search.ask(1)
        key = table.key(candidate.arch)
        found[key] = None
        search.tell(Success(candidate, {"score": table.label[key], "convs": 1.0}))
        if len(found) >= QUERIES:
            break
    return list(found)


def delivered(table: Table, keys: list[str]) -> list[float]:
    """Judge of the network with the best label, after each of ``AFTER`` queries."""
    rows = table.rows.loc[keys]
    return [float(rows["judge"].iloc[int(np.argmax(rows["label"].to_numpy()[:n]))]) for n in AFTER]


def mean_and_interval(values: Floats) -> list[float]:
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    return [round(float(value), 3) for value in (values.mean(), *np.percentile(means, (2.5, 97.5)))]


def bench(name: str, table: Table, seeds: int) -> None:
    shape, classes = (3, 32, 32), 10
    model = AccuracyModel(table.space, shape, classes)
    found: dict[str, list[list[float]]] = {"guided": []}
    spent = 0.0
    for seed in range(seeds):
        started = time.perf_counter()
        found["guided"].append(delivered(table, guided(table, model, seed)))
        spent += time.perf_counter() - started
        found.setdefault("random", []).append(
            delivered(table, ordered(table, RandomSearch(table.space, seed=seed, lookahead=1)))
        )
        for population, sample in POPULATIONS:
            search = RegularizedEvolution(table.space, seed=seed, population=population, sample=sample, lookahead=1)
            title = f"regularised evolution {population}/{sample}"
            found.setdefault(title, []).append(delivered(table, ordered(table, search)))
    best = float(table.rows["judge"].max())
    results = {title: np.array(values) for title, values in found.items()}
    for i, queries in enumerate(AFTER):
        ranked = table.rows.sort_values("proxy", ascending=False, kind="stable").head(queries)
        zero_shot = float(ranked.loc[ranked["label"].idxmax(), "judge"])
        for title, values in results.items():
            figures = mean_and_interval(values[:, i])
            gain = mean_and_interval(results["guided"][:, i] - values[:, i])
            extra = {} if title == "guided" else {"guided_gain": gain}
            emit(
                f"guided.{name}.{title}.{queries}", [round(float(v), 3) for v in values[:, i]], "% accuracy",
                mean_low_high=figures, best_there_is=round(best, 2), **extra,
            )  # fmt: skip
        emit(
            f"guided.{name}.zero-shot.{queries}", [round(zero_shot, 3)], "% accuracy",
            guided_gain=mean_and_interval(results["guided"][:, i] - zero_shot),
        )  # fmt: skip
    emit(f"guided.{name}.seconds", [round(spent / seeds, 2)], "s a guided search")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=30)
    options.add_argument("--only", default="", help="part of a name")
    arguments = options.parse_args()
    folder = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data")
    tables: dict[str, Callable[[], Table]] = {
        "nasbench201.single": lambda: nas_bench_201(folder, "c10_test200_single"),
        "nasbench201.12_epochs": lambda: nas_bench_201(folder, "c10_val12"),
        "macro": lambda: nas_bench_macro(folder),
    }
    for name, load in tables.items():
        if arguments.only not in name:
            continue
        try:
            table = load()
        except FileNotFoundError as error:
            skip(f"guided.{name}", f"set NETWRIGHT_DATA to the folder with {error.filename}")
            continue
        bench(name, table, arguments.seeds)


if __name__ == "__main__":
    main()
