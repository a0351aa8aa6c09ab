"""A few real labels beside many cheap ones: short trainings of NAS-Bench-201 and NAS-Bench-101.

    python benchmarks/bench_fidelity.py [--seeds 3]

Needs the folder that NETWRIGHT_DATA names (or ../shared/data). NAS-Bench-201: validation accuracy after 12 epochs is
cheap, test accuracy after 200 epochs is real; 1,500 cheap labels and 50 real ones of other networks, tau on 2,000 more
networks. NAS-Bench-101: validation accuracy after 4, 12 or 36 epochs is cheap, after 108 real; cheap labels of 600
networks, real ones of 50 others, tau on the 350 left. "cheap itself" and "own" need a short training of each network
that is asked for; the others need none. Learners see normal scores of the labels.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from bench_transfer import cell_features
from json_line import REPOSITORY, emit, skip
from scipy.stats import norm, rankdata

from predictors.fidelity import CoKriging, rank_preserving
from predictors.rank import kendall
from search_spaces.blocks.cells import read_cell

REAL = 50
Table = tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=3)
    seeds = options.parse_args().seeds
    folder = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data")
    sets = (("nasbench201", nas_bench_201, 1_500, 2_000), ("nasbench101", nas_bench_101, 600, 350))
    for name, load, weak, asked in sets:
        try:
            features, cheap, real = load(folder)
        except FileNotFoundError as error:
            skip(f"fidelity.{name}", f"set NETWRIGHT_DATA to the folder with {error.filename}")
            continue
        for level, labels in cheap.items():
            bench(f"fidelity.{name}.{level}", (features, labels, real), (weak, asked), seeds)


def nas_bench_201(folder: Path) -> Table:
    table = pd.read_csv(folder / "nasbench201" / "nb201_cifar10.csv.gz")
    features = np.array([cell_features(read_cell(arch)) for arch in table["arch"]], float)
    return features, {"epochs_12": table["c10_val12"].to_numpy()}, table["c10_test200_mean"].to_numpy()


def nas_bench_101(folder: Path) -> Table:
    """Counts of the operations and edges, longest and mean path, and operations along paths by length."""
    table = pd.read_csv(folder / "nasbench101_sample" / "nb101_1k_cells.csv.gz", dtype={"adj": str})
    features = np.array([graph_features(*row) for row in zip(table["n"], table["adj"], table["ops"], strict=True)])
    cheap = {f"epochs_{count}": 100 * table[f"val_{count}"].to_numpy() for count in (4, 12, 36)}
    return (features - features.mean(axis=0)) / features.std(axis=0), cheap, 100 * table["val_108"].to_numpy()


def graph_features(count: int, adjacency: str, operations: str) -> list[float]:
    """Counts of operations and edges, and for each operation how often it stands on a path, by its depth."""
    edges = np.array([int(bit) for bit in adjacency.zfill(count * count)]).reshape(count, count)
    kinds = [int(code) for code in operations.split("_")]
    into, out = np.zeros(count), np.zeros(count)
    into[0] = out[-1] = 1
    for node in range(1, count):
        into[node] = into[:node] @ edges[:node, node]
    for node in range(count - 2, -1, -1):
        out[node] = edges[node, node + 1 :] @ out[node + 1 :]
    depth = np.zeros(count)
    for node in range(1, count):
        depth[node] = max((depth[source] + 1 for source in range(node) if edges[source, node]), default=0)
    through = np.log1p(into * out)
    found = [float(edges.sum()), depth[-1], np.log1p(into[-1])]
    for kind in (0, 1, 2):
        inner = np.array([code == kind for code in kinds])
        found += [inner.sum(), (inner * through).sum(), (inner * depth).sum()]
        found += [float(edges[0] @ inner), float(edges[:, -1] @ inner)]
    return found


def bench(name: str, data: Table, sizes: tuple[int, int], seeds: int) -> None:
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        for method, score in one_seed(data, sizes, np.random.default_rng(seed)).items():
            found.setdefault(method, []).append(score)
    for method, scores in found.items():
        unit = "points" if method.startswith("error") else "Kendall's tau"
        mean, spread = (round(float(value), 3) for value in (np.mean(scores), np.std(scores)))
        emit(f"{name}.{method}", scores, unit, mean=mean, spread=spread, real=REAL, weak=sizes[0])


def one_seed(data: Table, sizes: tuple[int, int], rng: np.random.Generator) -> dict[str, float]:
    points, cheap, labels = data
    order = rng.permutation(len(labels))
    real, weak, asked = order[:REAL], order[REAL : REAL + sizes[0]], order[REAL + sizes[0] :][: sizes[1]]
    targets, truth = scores_of(labels[real]), labels[asked]
    cheap_alone = CoKriging().fit(points[weak], scores_of(cheap[weak]))
    own = np.column_stack([points, scores_of(cheap)])
    stacked = np.column_stack([own, cheap_alone.predict(points)])
    known = {
        "co-kriging": weak,
        "co-kriging, real networks cheaply labelled too": np.concatenate([weak, real]),
        "co-kriging, own cheap label among the cheap ones": np.concatenate([weak, real, asked[:1_000]]),
    }
    said = {"real only": CoKriging().fit(points[real], targets), "cheap only": cheap_alone}
    for name, rows in known.items():
        said[name] = CoKriging().fit(points[real], targets, weak_X=points[rows], weak_y=scores_of(cheap[rows]))
    found = {name: kendall(model.predict(points[asked]), truth) for name, model in said.items()}
    for name, table in (("own cheap label", own), ("own cheap label and cheap-only prediction", stacked)):
        model = CoKriging().fit(table[real], targets)
        found[f"{name} as columns"] = kendall(model.predict(table[asked]), truth)
    return found | {"cheap itself": kendall(cheap[asked], truth)} | calibrated(cheap, labels, real, asked)


def calibrated(cheap: np.ndarray, labels: np.ndarray, real: np.ndarray, asked: np.ndarray) -> dict[str, float]:
    """Median absolute errors of cheap labels brought to the unit of the real ones."""
    values = {"shifted": cheap[asked] + np.mean(labels[real] - cheap[real])}
    for shape in ("line", "isotonic", "scores"):
        values[shape] = rank_preserving(cheap[real], labels[real], population=cheap, shape=shape)(cheap[asked])
    return {f"error, {name}": float(np.median(np.abs(said - labels[asked]))) for name, said in values.items()}


def scores_of(labels: np.ndarray) -> np.ndarray:
    return norm.ppf((rankdata(labels) - 0.375) / (len(labels) + 0.25))


if __name__ == "__main__":
    main()
