"""Rooflines against what was measured: V100 convolutions, blocks on two phones, and published networks on two GPUs.

    python benchmarks/bench_analytic.py

V100: fitted to nine tenths of the rows given, scored on the rest; the fitted numbers are printed, and stand in
``hardware.analytic_devices``. Phones: data sheets alone, scored on those of nn-Meter's blocks that ours equal.
Networks: GENets as published (Lin et al. 2020, README: ms an image at batch 64, T4 with TensorRT). Needs the folder
that NETWRIGHT_DATA names (or ../shared/data); what is absent is skipped.
"""

import json
import os
from pathlib import Path

import numpy as np
from json_line import REPOSITORY, emit, skip

from hardware.analytic_devices import analytic_device
from hardware.analytic_latency import AnalyticLatency
from hardware.calibration import held_out
from hardware.gpu_rules import SHORT, unit_kernels
from hardware.importers.nn_meter_blocks import read_nn_meter_blocks
from hardware.importers.tinynas_rows import read_tinynas_rows
from hardware.kernel_arrays import KernelArrays
from hardware.roofline_fit import fit_roofline
from search_spaces.formats import read_published

DATA = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data")
SEEDS = 3
BLOCKS = ((112, 32), (56, 128), (28, 192), (14, 640), (7, 640))  # side, channels
BATCH = 64
PUBLISHED_MS = {  # an image
    "v100": {"genet_light": 0.10, "genet_normal": 0.20, "genet_large": 0.34},
    "t4": {"genet_light": 0.14, "genet_normal": 0.25, "genet_large": 0.44},
}


def main():
    for precision in ("fp32", "fp16"):
        v100(precision)
    for phone in ("pixel4", "pixel6"):
        blocks_on(phone)
    blocks_table()
    published()


def v100(precision):
    file = DATA / "v100_conv_trt" / f"v100_trt_conv_{precision}_80.csv.gz"
    if not file.exists():
        skip(f"analytic.v100.{precision}", f"no {file.name} in {DATA}")
        return
    rows = read_tinynas_rows(file, "v100", precision).kernels
    work, ms = KernelArrays.of([row.kernel for row in rows]), np.array([row.latency_ms for row in rows])
    start = analytic_device("v100", precision).roofline
    scores = []
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(ms))
        test, train = order[: len(ms) // 10], order[len(ms) // 10 :]
        fitted = fit_roofline(start, work.chosen(train), ms[train], seed=seed)
        scores.append(held_out(fitted.predict_ms(work.chosen(test)), ms[test]))
    facts = {"within_10": round(np.mean([s.within_10 for s in scores]), 3), "fitted": _short(fitted)}
    facts["spearman"] = round(np.mean([s.spearman for s in scores]), 4)
    emit(f"analytic.v100.{precision}", [100 * s.mape for s in scores], "% mean error", rows=len(ms), **facts)


def _short(fitted):
    return {name: float(f"{v:.3g}") if isinstance(v, float) else v for name, v in fitted.to_dict().items()}


def blocks_on(phone):
    file = DATA / "nnmeter_luts" / f"{phone}_ln_v3.csv.gz"
    if not file.exists():
        skip(f"analytic.{phone}", f"no {file.name} in {DATA}")
        return
    model, rows = analytic_device(phone), read_nn_meter_blocks(file, phone).pieces
    predicted = np.array([model.predict_ms(row.kernels()).sum() for row in rows])
    measured = np.array([row.latency_ms for row in rows])
    score = held_out(predicted, measured)
    facts = {"spearman": round(score.spearman, 4), "within_10": round(score.within_10, 3)}
    errors = 100 * np.abs(predicted / measured - 1)
    emit(f"analytic.{phone}", errors, "% error", mean_error=round(100 * score.mape, 1), **facts)


def blocks_table():
    model = analytic_device("v100", "fp16")
    for batch in (BATCH, 1):
        for side, channels in BLOCKS:
            kinds = {SHORT[kind]: model.predict_ms(unit_kernels(kind, channels, side, 3, batch)) for kind in SHORT}
            us = {name: round(1e3 * float(ms.sum()) / batch, 1) for name, ms in kinds.items()}
            emit(f"analytic.blocks.batch{batch}.{side}x{side}x{channels}", [us["XX"]], "us an image of XX", **us)


def published():
    networks = json.loads((REPOSITORY / "tests/golden/genets.json").read_text())["networks"]
    for device, figures in PUBLISHED_MS.items():
        model = analytic_device(device, "fp16")
        for each in networks:
            if each["name"] not in figures:
                continue
            arch, _ = read_published(each["structure"])
            latency = AnalyticLatency(model, (3, each["resolution"], each["resolution"]), each["num_classes"], BATCH)
            predicted = latency.estimate(arch).mean_ms / BATCH
            published_ms = figures[each["name"]]
            ratio = round(predicted / published_ms, 3)
            emit(f"analytic.{device}.{each['name']}", [predicted], "ms an image", published=published_ms, ratio=ratio)


if __name__ == "__main__":
    main()
