"""BINAS's closed form against ridge regression on random networks, on a stand-in for a supernet.

    python benchmarks/bench_bilinear.py [--seeds 3] [--networks 5000]

The stand-in is a degree-2 kernel ridge regression of one-shot accuracies of Once-for-all networks (folder
ofa_mbv3_accuracy of NETWRIGHT_DATA or ../shared/data); its penalty minimises the leave-one-out error. The closed form
measures 256 expectations (here 196, blocks having 9
configurations in place of 12), each over --networks random networks; "global reference" takes
all effects relative to the mean of all networks, as the released code does; "paired" compares the same networks with
and without a choice, on a tenth of them. Ridge sees random networks with label noise 0.02. Kendall's tau with the
stand-in on 1,000 other random networks.
"""

import argparse
import ast
import os
from pathlib import Path

import numpy as np
import pandas as pd
from json_line import REPOSITORY, emit, skip

from predictors.models.bilinear import BilinearRegressor, StageColumns
from predictors.models.bilinear_effects import estimate
from predictors.models.bilinear_structure import Query, Structure, measurement_plan
from predictors.models.linear import Ridge
from predictors.rank import kendall

KERNELS, EXPANSIONS = (3, 5, 7), (3, 4, 6)
SPACE = Structure.even(5, len(KERNELS) * len(EXPANSIONS), (2, 3, 4))
BLOCKS = len(SPACE.blocks)
SIZES = (50, 100, 200, 300, 500, 1000)
NOISE = 0.02
UNSEEN = 1_000


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--networks", type=int, default=5_000)
    given = options.parse_args()
    folder = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data") / "ofa_mbv3_accuracy"
    if not folder.exists():
        skip("bilinear", "set NETWRIGHT_DATA to the folder with ofa_mbv3_accuracy")
        return
    oracle = Oracle(*networks(folder))
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(given.seeds):
        for name, score in one_seed(oracle, given.networks, np.random.default_rng(seed)).items():
            found.setdefault(name, []).append(score)
    for name, scores in found.items():
        taus, errors = zip(*scores, strict=True)
        emit(f"bilinear.{name}", taus, "Kendall's tau", mean=round(float(np.mean(taus)), 4),
             spread=round(float(np.std(taus)), 4), rmse=round(float(np.mean(errors)), 3),
             oracle_tau=round(oracle.tau, 4), oracle_rows=oracle.rows)  # fmt: skip


def networks(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Columns of every network of the files once, and its mean accuracy in percent."""
    table = pd.concat([pd.read_csv(file) for file in sorted(folder.glob("*.csv.gz"))])
    read = [ast.literal_eval(text) for text in table["Sub-network"]]
    kernels, expansions = (np.array([one[key] for one in read]) for key in ("ks", "e"))
    configs = np.searchsorted(KERNELS, kernels) * len(EXPANSIONS) + np.searchsorted(EXPANSIONS, expansions)
    rows, group = np.unique(columns(np.array([one["d"] for one in read]), configs), axis=0, return_inverse=True)
    return rows, np.bincount(group.ravel(), table["Top-1 Acc (%)"]) / np.bincount(group.ravel())


def columns(depths: np.ndarray, configs: np.ndarray) -> np.ndarray:
    """(n, 15 + 60 + 60) one-hot depths, and kernels and expansions of the blocks that exist."""
    exists = np.stack([depths[:, s] > b for s, b in SPACE.blocks], axis=1)[:, :, None]
    kernels, expansions = (np.eye(3)[part] * exists for part in np.divmod(configs, len(EXPANSIONS)))
    count = len(depths)
    return np.hstack(
        [np.eye(3)[depths - 2].reshape(count, -1), kernels.reshape(count, -1), expansions.reshape(count, -1)]
    )


def joint(rows: np.ndarray) -> np.ndarray:
    """(n, 15 + 180) one-hot depths and configurations from ``columns``."""
    kernels, expansions = (rows[:, at : at + 3 * BLOCKS].reshape(len(rows), BLOCKS, 3) for at in (15, 15 + 3 * BLOCKS))
    return np.hstack([rows[:, :15], (kernels[:, :, :, None] * expansions[:, :, None, :]).reshape(len(rows), -1)])


def stages(parts: bool) -> tuple[StageColumns, ...]:
    """Where ``columns`` (with ``parts``) or ``joint`` have the stages."""
    whole = [((tuple(range(15 + 9 * at, 24 + 9 * at))),) for at in range(BLOCKS)]
    kernels, expansions = ([tuple(range(first + 3 * at, first + 3 * at + 3)) for at in range(BLOCKS)]
                           for first in (15, 15 + 3 * BLOCKS))  # fmt: skip
    groups = list(zip(kernels, expansions, strict=True)) if parts else whole
    return tuple(
        StageColumns(stage.depths, tuple(range(3 * s, 3 * s + 3)), tuple(groups[4 * s : 4 * s + 4]))
        for s, stage in enumerate(SPACE.stages)
    )


class Oracle:
    """Accuracy as a quadratic function of the columns."""

    def __init__(self, rows: np.ndarray, labels: np.ndarray) -> None:
        self._centre, middle = rows.mean(axis=0), labels.mean()
        points = rows - self._centre
        values, vectors = np.linalg.eigh((1 + points @ points.T) ** 2)
        along, best = vectors.T @ (labels - middle), (np.inf, 0.0)
        for penalty in np.logspace(-2, 4, 49):
            share = values / (values + penalty)
            left = (labels - middle - vectors @ (share * along)) / (1 - (vectors**2) @ share)
            best = min(best, (float(np.mean(left**2)), penalty))
        weights = vectors @ (along / (values + best[1]))
        self._constant, self._slopes = middle + weights.sum(), 2 * weights @ points
        self._products = (points * weights[:, None]).T @ points
        self.tau, self.rows = kendall(self._of(rows), labels), len(rows)

    def __call__(self, depths: np.ndarray, configs: np.ndarray) -> np.ndarray:
        return self._of(columns(depths, configs))

    def _of(self, rows: np.ndarray) -> np.ndarray:
        points = rows - self._centre
        return self._constant + points @ self._slopes + ((points @ self._products) * points).sum(axis=1)


def one_seed(oracle: Oracle, count: int, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    unseen = SPACE.sample(UNSEEN, rng)
    truth = oracle(*unseen)
    found = {
        name: (kendall(said, truth), float(np.sqrt(np.mean((said - truth) ** 2))))
        for name, said in closed_forms(oracle, count, unseen, rng).items()
    }
    drawn = SPACE.sample(max(SIZES), rng)
    labels, rows, asked = oracle(*drawn) + rng.normal(0, NOISE, max(SIZES)), columns(*drawn), columns(*unseen)
    for size in SIZES:
        said = {
            "additive ridge": Ridge().fit(rows[:size], labels[:size]).predict(asked),
            "joint ridge": BilinearRegressor(stages(False))
            .fit(joint(rows[:size]), labels[:size])
            .predict(joint(asked)),
            "bilinear ridge": BilinearRegressor(stages(True)).fit(rows[:size], labels[:size]).predict(asked),
        }
        for name, values in said.items():
            found[f"{name}.{size}"] = (kendall(values, truth), float(np.sqrt(np.mean((values - truth) ** 2))))
    return found


def closed_forms(
    oracle: Oracle, count: int, unseen: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    measured, released, paired = {}, {}, {}
    for query in measurement_plan(SPACE):
        drawn = SPACE.sample(count, rng)
        values = oracle(*SPACE.satisfy(query, *drawn))
        measured[query] = (values.mean(), values.std() / count**0.5)
        # the released code measures block 2 under the depth that adds it, all blocks but the first
        adds = Query(query.stage, 2, 1, query.config) if query.block == 1 else query
        released[query] = (oracle(*SPACE.satisfy(adds, *drawn)).mean(), None)
        few = tuple(part[: count // 10] for part in drawn)
        apart = values[: count // 10]
        if query != Query():
            apart = apart - oracle(*SPACE.satisfy(query.reference, *few))
        paired[query] = (apart.mean(), apart.std() / len(apart) ** 0.5)
    base = released[Query()][0]
    released = {query: (value - base * (query != Query()), None) for query, (value, _) in released.items()}
    estimates = {
        "as published": estimate(SPACE, measured, pooled=False, shrink=False),
        "closed form": estimate(SPACE, measured),
        "paired": estimate(SPACE, paired, differences=True),
        "global reference": estimate(SPACE, released, differences=True),
    }
    return {f"{name}.{len(measured)}": found.predict(*unseen) for name, found in estimates.items()}


if __name__ == "__main__":
    main()
