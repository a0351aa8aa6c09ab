"""A new device from ten measured networks: every device plays the new one, all others of other makers are known.

    python benchmarks/bench_transfer.py [--draws 20]

Needs the folder that NETWRIGHT_DATA names (or ../shared/data). NAS-Bench-201: a boosted model of 900 cells stands for
each known device; 3,000 cells are the pool. FBNet: 900 of 5,000 networks. Rank correlation all over and, as in HELP
(Lee et al. 2021, arXiv 2106.08630), on the networks between the 10th and 90th percentile of latency ("trimmed"; HELP
reports 0.932 on its own six test devices, which are not in this data). Settings come from the known devices alone. The
baseline is a ridge regression on the encoding from the same ten networks.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from json_line import REPOSITORY, emit, skip
from scipy.stats import spearmanr

from hardware.transfer import KnownDevices, Played, transfer
from hardware.transfer_choice import choose, play
from search_spaces.blocks.cells import CONV_1, CONV_3, EDGES, NONE, OPERATIONS, read_cell

COUNT = 10
CONFIDENCE = 0.95
LEARNED_FROM = 900
POOL = 3_000
SIMULATED = ("eyeriss", "fpga")  # sums per operation in FBNet's data, not measured


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--draws", type=int, default=20)
    draws = options.parse_args().draws
    folder = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data")
    for name, load in (("nasbench201", nas_bench_201), ("fbnet", fbnet)):
        try:
            encoding, latency = load(folder)
        except FileNotFoundError as error:
            skip(f"transfer.{name}", f"set NETWRIGHT_DATA to the folder with {error.filename}")
            continue
        bench(f"transfer.{name}", encoding, latency, draws)


def nas_bench_201(folder: Path) -> tuple[np.ndarray, pd.DataFrame]:
    cells = pd.read_csv(folder / "nasbench201" / "nb201_cifar10.csv.gz").set_index("idx")["arch"]
    latency = pd.read_csv(folder / "nasbench201_latency" / "nb201_latency_ms.csv.gz").set_index("idx")
    return np.array([cell_features(read_cell(cells[idx])) for idx in latency.index]), latency


def cell_features(operations: tuple[str, ...]) -> list[float]:
    """One-hot and counts of the operations, as they stand and without those that nothing reads or reaches."""
    forward, backward = {0}, {3}
    for (node, source), operation in zip(EDGES, operations, strict=True):
        if operation != NONE and source in forward:
            forward.add(node)
    for (node, source), operation in reversed(list(zip(EDGES, operations, strict=True))):
        if operation != NONE and node in backward:
            backward.add(source)
    alive = [o if s in forward and n in backward else NONE for (n, s), o in zip(EDGES, operations, strict=True)]
    depth = {0: 0, 1: -9, 2: -9, 3: -9}
    for (node, source), operation in zip(EDGES, alive, strict=True):
        if operation != NONE:
            depth[node] = max(depth[node], depth[source] + (operation in (CONV_1, CONV_3)))
    both = [float(o == known) for chosen in (operations, alive) for o in chosen for known in OPERATIONS]
    return both + [chosen.count(o) for chosen in (list(operations), alive) for o in OPERATIONS] + [max(0, depth[3])]


def fbnet(folder: Path) -> tuple[np.ndarray, pd.DataFrame]:
    latency = pd.read_csv(folder / "fbnet_latency" / "fbnet_latency_ms.csv.gz").set_index("arch")
    codes = np.array([[int(part) for part in arch.split("_")] for arch in latency.index])
    one_hot = (codes[:, :, None] == np.arange(9)).reshape(len(codes), -1)
    counts = (codes[:, :, None] == np.arange(9)).sum(axis=1)
    return np.hstack([one_hot, counts]).astype(float), latency.drop(columns=list(SIMULATED))


def bench(name: str, encoding: np.ndarray, latency: pd.DataFrame, draws: int) -> None:
    rng = np.random.default_rng(0)
    logs, makers = np.log(latency.to_numpy()), tuple(map(maker, latency.columns))
    pool = rng.permutation(len(logs))[:POOL]
    said = np.stack([learned(encoding, logs[:, i], rng)[pool] for i in range(logs.shape[1])], axis=1)
    for informed in (False, True):
        rows: dict[str, list[dict]] = {"transfer": [], "ridge": []}
        for device, column in enumerate(latency.columns):
            everyone = KnownDevices(said, encoding[pool], makers)
            known = everyone.without(device)
            began = time.perf_counter()
            played = play(known, COUNT, seed=0, informed=informed)
            seconds = time.perf_counter() - began
            scores = [score(known, played, logs[pool, device], draw, informed) for draw in range(draws)]
            for method, ours in rows.items():
                mean = {key: float(np.mean([one[method][key] for one in scores])) for key in scores[0][method]}
                spread = float(np.std([one[method]["trimmed"] for one in scores]))
                ours.append(mean | {"device": column, "spread": round(spread, 3), "seconds": seconds})
        for method, found in rows.items():
            emit(
                f"{name}.{'chosen' if informed else 'random'}.{method}",
                [one["trimmed"] for one in found],
                "trimmed Spearman of a device",
                mean={
                    key: round(float(np.mean([one[key] for one in found])), 4) for key in found[0] if key != "device"
                },
                devices={one["device"]: [round(one["trimmed"], 3), one["spread"]] for one in found},
                mape={one["device"]: round(one["mape"], 3) for one in found},
                draws=draws,
                count=COUNT,
                confidence=CONFIDENCE,
            )


def maker(column: str) -> str:
    """1080ti_32 -> 1080ti: other batch sizes of a card are the same device, and never known beside it."""
    name, _, batch = column.rpartition("_")
    return name if batch in ("1", "32", "64", "256") and name != "essential_ph" else column


def learned(encoding: np.ndarray, logs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a model of 900 networks says about all: a known device."""
    import xgboost

    chosen = rng.permutation(len(logs))[:LEARNED_FROM]
    data = xgboost.QuantileDMatrix(encoding[chosen], logs[chosen], max_bin=32)
    settings = {"max_depth": 5, "eta": 0.05, "subsample": 0.8, "nthread": 1, "max_bin": 32}
    robust = {"objective": "reg:pseudohubererror", "huber_slope": 0.5, "base_score": float(np.median(logs[chosen]))}
    return np.asarray(xgboost.train(settings | robust, data, 400).inplace_predict(encoding), float)


def score(known: KnownDevices, played: Played, logs: np.ndarray, draw: int, informed: bool) -> dict[str, dict]:
    order = np.random.default_rng(1000 + draw).permutation(len(logs))
    support = choose(known, COUNT, order[: 40 * COUNT], played.settings) if informed else order[:COUNT]
    asked = np.setdiff1d(order, support)
    model = transfer(known, support, np.exp(logs[support]), played=played)
    upper = np.log(model.upper_ms(CONFIDENCE, asked))
    ours = scored(np.log(model.predict(asked).mean_ms), logs[asked])
    ours["coverage"] = float(np.mean(logs[asked] <= upper))
    return {"transfer": ours, "ridge": scored(ridge(known.encoding, support, logs[support])(asked), logs[asked])}


def scored(predicted: np.ndarray, logs: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(logs, (0.1, 0.9))
    middle = (logs >= low) & (logs <= high)
    error = np.abs(np.exp(predicted - logs) - 1)
    return {
        "trimmed": float(spearmanr(predicted[middle], logs[middle]).statistic),
        "spearman": float(spearmanr(predicted, logs).statistic),
        "mape": float(error.mean()),
        "median_error": float(np.median(error)),
        "within_10": float(np.mean(error <= 0.1)),
    }


def ridge(encoding: np.ndarray, support: np.ndarray, logs: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    from sklearn.linear_model import RidgeCV

    fitted = RidgeCV(np.logspace(-2, 3, 11)).fit(encoding[support], logs)
    return lambda rows: np.asarray(fitted.predict(encoding[rows]))


if __name__ == "__main__":
    main()
