"""A profile of ONNX Runtime carried to other targets by a few whole networks, beside one factor for all, in one run.

    python benchmarks/bench_carry.py --table kept.json --targets onnxruntime:threads=2 openvino --networks 15

The table is what bench_latency_model.py --keep wrote, or a quick profile made here. On each target ``networks`` of each
space teach, and fresh ones are measured afterwards and scored. "one_factor" is the ratio of the medians.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from json_line import emit

from hardware.adaptation import adapt
from hardware.calibration import held_out
from hardware.counts import count
from hardware.device import Device
from hardware.device_table import DeviceTable, NetworkRow
from hardware.fitting import fit_kernel_rows
from hardware.kernel_model import footprint_of
from hardware.measure import LayerModel, MeasureProtocol, measure
from hardware.profiling import profile_space
from hardware.spaces import sample_widely
from search_spaces import load_space

PROTOCOL = MeasureProtocol(burst_ms=10, min_bursts=10, min_span_s=12, max_s=150)
FRESH_SEED = 91_000
TARGETS = ["onnxruntime:threads=2", "onnxruntime:precision=int8", "openvino"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--table", type=Path, help="a device table of onnxruntime; without one a profile is made here")
    options.add_argument("--spaces", nargs="+", default=["mobilenetv3-ofa:96", "resnet:96", "zen:32"])
    options.add_argument("--targets", nargs="+", default=TARGETS)
    options.add_argument("--networks", type=int, default=7, help="of each space, to learn from")
    options.add_argument("--fresh", type=int, default=20, help="of each space, to score")
    chosen = options.parse_args()
    tasks = [(name, (3, int(side), int(side))) for name, _, side in (text.partition(":") for text in chosen.spaces)]
    known = DeviceTable.from_json(chosen.table.read_text()) if chosen.table else quick_profile(tasks)
    rng = np.random.default_rng(FRESH_SEED)
    drawn = []
    for name, shape in tasks:
        pool = sample_widely(load_space(name), 6 * (chosen.networks + chosen.fresh), rng)
        light = [arch for arch in pool if count(arch, shape, 10).macs <= 5e8]
        drawn += [
            (arch, shape, at < chosen.networks) for at, arch in enumerate(light[: chosen.networks + chosen.fresh])
        ]
    for text in chosen.targets:
        score(Device.parse(text), known, drawn)


def quick_profile(tasks) -> DeviceTable:
    """A minute and a half of each space."""
    rows = None
    for name, shape in tasks:
        kept = []
        profile_space(load_space(name), Device(), shape, 10, seconds=90, seed=0, rows=rows, keep=kept.append)
        rows = kept[-1]
    return rows


def score(device: Device, known: DeviceTable, drawn) -> None:
    """Measure everything on the target, learn from some, score the rest."""
    models = [LayerModel.of(arch, shape, 10) for arch, shape, _ in drawn]
    timed = measure(models, device, PROTOCOL)
    rows = [NetworkRow(arch, shape, 10, found.latency_ms) for (arch, shape, _), found in zip(drawn, timed, strict=True)]
    teaches = np.array([teach for _, _, teach in drawn])
    learned = tuple(row for row, teach in zip(rows, teaches, strict=True) if teach)
    target = DeviceTable("target", str(device), device.precision, "measured here", networks=learned)
    adapted = adapt(target, [replace(known, name="known")])
    fresh = [row for row, teach in zip(rows, teaches, strict=True) if not teach]
    before, after = predicted(known, fresh), predicted(adapted.table, fresh)
    seen = predicted(known, learned)
    factor = float(np.median([row.latency_ms for row in learned] / seen))
    measured_ms = np.array([row.latency_ms for row in fresh])
    facts = {"device": str(device), "taught_by": len(learned), "load": timed[0].conditions.load}
    for name, guess in {"carried": after, "one_factor": factor * before}.items():
        found = held_out(guess, measured_ms)
        emit(
            f"carry.{device.runtime}-{device.precision}-t{device.threads}.{name}.error",
            np.abs(guess / measured_ms - 1),
            "fraction",
            mape=found.mape,
            within_10_percent=found.within_10,
            spearman=found.spearman,
            ratio_to_known=float(np.median(measured_ms / before)),
            **facts,
        )


def predicted(table: DeviceTable, rows) -> np.ndarray:
    """The sums of kernels, and the call's overhead."""
    model = fit_kernel_rows(table.kernels, seed=0)
    sums = []
    for row in rows:
        kernels = row.kernels()
        sums.append(model.predict(kernels, np.full(len(kernels), footprint_of(kernels))).sum() + table.overhead_ms)
    return np.array(sums)


if __name__ == "__main__":
    main()
