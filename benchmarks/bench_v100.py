"""Convolutions of a V100 under TensorRT: held-out errors of the boosted roofline beside three simpler models.

    python benchmarks/bench_v100.py [--seeds 3]

Needs the folder that NETWRIGHT_DATA names (or ../shared/data) with v100_conv_trt; else skipped. All models see the same
rows. "interpolation" is ours of what the data's authors do: per type, kernel, stride, batch and channel ratio, linear
over channels and image side, the nearest row outside. "plain_trees" learns log latency from sizes alone.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from json_line import REPOSITORY, emit, skip

from hardware.boosted_gpu import BoostedGpu, fit_boosted
from hardware.calibration import held_out
from hardware.gpu_roofline import GpuRoofline
from hardware.importers.tinynas_rows import read_tinynas_rows
from hardware.kernel_arrays import KernelArrays, Vector

UNSEEN = (96, 256, 768, 1536)  # output channels
CONFIDENCE = 0.9
START = {"multiprocessors": 80, "cache_bytes": 6e6, "macs_per_ms": 6e10, "bytes_per_ms": 9e8, "launch_ms": 0.01}
Predict = Callable[[KernelArrays], Vector]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=3)
    seeds = options.parse_args().seeds
    folder = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data") / "v100_conv_trt"
    for precision in ("fp32", "fp16"):
        file = folder / f"v100_trt_conv_{precision}_80.csv.gz"
        if not file.exists():
            skip(f"v100.{precision}", f"set NETWRIGHT_DATA to the folder with {file.parent.name}")
            continue
        rows = read_tinynas_rows(file, "v100", precision).kernels
        work, ms = KernelArrays.of([row.kernel for row in rows]), np.array([row.latency_ms for row in rows])
        everything = np.arange(len(ms))
        unseen = np.isin(work.channels, UNSEEN)
        draws = [np.random.default_rng(seed).permutation(len(ms)) for seed in range(seeds)]
        tenth = len(ms) // 10
        splits = {
            "random_tenth": [(order[tenth:], order[:tenth]) for order in draws],
            "unseen_channels": [(everything[~unseen], everything[unseen])],
            "1000_rows": [(order[:1000], order[1000 : 1000 + tenth]) for order in draws],
        }
        for name, pairs in splits.items():
            report(f"v100.{precision}.{name}", precision, work, ms, pairs)


def report(name: str, precision: str, work: KernelArrays, ms: Vector, pairs: list) -> None:
    scores: dict[str, list] = {}
    facts: dict[str, list[float]] = {"coverage": [], "fit_s": [], "rows_per_s": []}
    for seed, (train, test) in enumerate(pairs):
        began = time.perf_counter()
        ours = fit_boosted(GpuRoofline(precision=precision, **START), work.chosen(train), ms[train], seed=seed)
        facts["fit_s"].append(time.perf_counter() - began)
        models: dict[str, Predict] = {
            "boosted_roofline": ours.predict_ms,
            "monotone": fit_boosted(ours.roofline, work.chosen(train), ms[train], monotone=True, seed=seed).predict_ms,
            "roofline": ours.roofline.predict_ms,
            "plain_trees": plain_trees(work.chosen(train), ms[train], seed),
            "interpolation": Interpolation(work.chosen(train), ms[train]).predict_ms,
        }
        asked = work.chosen(test)
        for model, predict in models.items():
            scores.setdefault(model, []).append(held_out(predict(asked), ms[test]))
        facts["coverage"].append(covered(ours, asked, ms[test]))
        facts["rows_per_s"].append(speed(ours, asked))
    for model, found in scores.items():
        more = {key: [round(value, 4) for value in values] for key, values in facts.items()}
        emit(
            f"{name}.{model}",
            [score.mape for score in found],
            "MAPE",
            mean=round(float(np.mean([score.mape for score in found])), 4),
            within_10=[round(score.within_10, 3) for score in found],
            spearman=[round(score.spearman, 4) for score in found],
            train=len(pairs[0][0]),
            test=len(pairs[0][1]),
            seeds=list(range(len(pairs))),
            **(more | {"confidence": CONFIDENCE} if model == "boosted_roofline" else {}),
        )


def covered(model: BoostedGpu, work: KernelArrays, ms: Vector) -> float:
    bounds = model.bounds(work, CONFIDENCE)
    return float(np.mean((bounds.low_ms <= ms) & (ms <= bounds.high_ms)))


def speed(model: BoostedGpu, work: KernelArrays) -> float:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        model.predict_ms(work)
        took.append(time.perf_counter() - began)
    return round(len(work.batch) / min(took))


def plain_trees(work: KernelArrays, ms: Vector, seed: int) -> Predict:
    import xgboost

    def features(rows: KernelArrays) -> np.ndarray:
        moved = rows.in_scalars + rows.out_scalars + rows.weights
        sizes = [rows.batch, rows.in_channels, rows.in_height, rows.channels, rows.height, rows.macs, rows.in_scalars]
        sizes += [rows.out_scalars, rows.weights, moved, rows.macs / moved, rows.positions, rows.reduction]
        plain = [rows.kernel, rows.stride, rows.adds, rows.is_depthwise, rows.in_channels % 8, rows.channels % 8]
        plain += [rows.channels % 64, rows.in_channels / rows.channels, rows.height % 2]
        return np.stack([*np.log2(sizes), *plain], axis=1, dtype=np.float32)

    settings = {"max_depth": 9, "eta": 0.08, "subsample": 0.8, "colsample_bynode": 0.5, "nthread": 1, "seed": seed}
    trees = xgboost.train(settings, xgboost.QuantileDMatrix(features(work), np.log(ms)), 250)
    return lambda rows: np.exp(trees.inplace_predict(features(rows)).astype(float))


class Interpolation:
    """Linear over (channels, side) within a group of equal everything else; the nearest row outside the hull."""

    def __init__(self, work: KernelArrays, ms: Vector) -> None:
        self._groups = groups_of(work)
        self._points, self._ms = np.column_stack([work.channels, work.in_height]), ms

    def predict_ms(self, work: KernelArrays) -> Vector:
        found = np.full(len(work.batch), float(np.median(self._ms)))
        points = np.column_stack([work.channels, work.in_height])
        for group, rows in groups_of(work).items():
            known = self._groups.get(group)
            if known is not None:
                found[rows] = interpolated(self._points[known], self._ms[known], points[rows])
        return np.maximum(found, 1e-6)


def groups_of(work: KernelArrays) -> dict[tuple, np.ndarray]:
    ratio = np.where(work.in_channels == 3, 0, work.in_channels / work.channels)
    keys = np.column_stack([work.is_depthwise, work.kernel, work.stride, work.adds, work.batch, ratio])
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    return {tuple(key): np.flatnonzero(inverse.ravel() == number) for number, key in enumerate(unique)}


def interpolated(known: np.ndarray, ms: Vector, asked: np.ndarray) -> Vector:
    from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
    from scipy.spatial import QhullError

    try:
        linear = LinearNDInterpolator(known, ms)(asked)
    except (QhullError, ValueError):
        linear = np.full(len(asked), np.nan)
    return np.where(np.isnan(linear), NearestNDInterpolator(known, ms)(asked), linear)


if __name__ == "__main__":
    main()
