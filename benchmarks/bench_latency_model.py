"""Accuracy of the latency model on fresh networks of several spaces, beside a line through multiply-adds, in one run.

    python benchmarks/bench_latency_model.py --spaces mobilenetv3-ofa:96 resnet:96 zen:32 --seconds 290 --networks 60

One device table is made for all spaces within the time, and not touched again; then new networks are drawn with another
seed, measured and compared. The line is fitted to the very networks that it is scored on, which flatters it. Two
measurements of the same networks, a few minutes apart, show what no prediction can beat here.
"""

import argparse
import time

import numpy as np
from json_line import emit

from hardware.calibration import held_out
from hardware.counts import count
from hardware.device import Device
from hardware.device_table import DeviceTable
from hardware.measure import LayerModel, MeasureProtocol, measure
from hardware.profiling import profile_space
from hardware.spaces import sample_widely
from search_spaces import load_space

FRESH_SEED = 20_000
LARGEST_MACS = 1e9
PROTOCOL = MeasureProtocol(burst_ms=10, min_bursts=12, min_span_s=20, max_s=240)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--spaces", nargs="+", default=["mobilenetv3-ofa:96", "resnet:96", "zen:32"])
    options.add_argument("--device", default="onnxruntime")
    options.add_argument("--seconds", type=float, default=290, help="of profiling, all spaces together")
    options.add_argument("--networks", type=int, default=60, help="fresh ones of each space")
    options.add_argument("--confidence", type=float, default=0.9)
    options.add_argument("--seed", type=int, default=FRESH_SEED, help="of the fresh networks")
    options.add_argument("--keep", help="write the device table to this file")
    chosen = options.parse_args()
    device = Device.parse(chosen.device)
    tasks = [(name, (3, int(side), int(side))) for name, _, side in (text.partition(":") for text in chosen.spaces)]

    began = time.monotonic()
    rows: DeviceTable | None = None
    for at, (name, shape) in enumerate(tasks):
        kept: list[DeviceTable] = []
        left = chosen.seconds - (time.monotonic() - began)
        seconds = left / (len(tasks) - at)
        profile_space(
            load_space(name), device, shape, 10, seconds=seconds, seed=0, rows=rows, keep=kept.append,
            confidence=chosen.confidence,
        )  # fmt: skip
        rows = kept[-1]
    profiled_s = time.monotonic() - began
    if chosen.keep:
        with open(chosen.keep, "w") as file:
            file.write(rows.to_json())
    score(tasks, device, rows, profiled_s, chosen)


def score(tasks, device, rows, profiled_s, chosen) -> None:
    """Measure fresh networks twice and print the errors of each space and of all."""
    from hardware.fitting import fit_latency_table

    tables, fresh = [], []
    for name, shape in tasks:
        space = load_space(name)
        table = fit_latency_table(rows, space, device, shape, 10, confidence=chosen.confidence)
        pool = sample_widely(space, 6 * chosen.networks, np.random.default_rng(chosen.seed))
        light = [arch for arch in pool if count(arch, shape, 10).macs <= LARGEST_MACS][: chosen.networks]
        tables.append(table)
        fresh += [(len(tables) - 1, arch) for arch in light]
    models = [LayerModel.of(arch, tasks[at][1], 10) for at, arch in fresh]
    first, second = (
        [r.latency_ms for r in measure(models, device, PROTOCOL)],
        measure(models, device, PROTOCOL),
    )
    measured_ms = np.array([result.latency_ms for result in second])
    first_ms = np.array(first)
    family = np.array([at for at, _ in fresh])
    estimates = [tables[at].estimate(arch) for at, arch in fresh]
    predicted_ms = np.array([estimate.mean_ms for estimate in estimates])
    upper_ms = np.array([estimate.upper_ms for estimate in estimates])
    macs = np.array([count(arch, tasks[at][1], 10).macs for at, arch in fresh], float)
    facts = {"profile_s": round(profiled_s), "rows": len(rows.networks), "device": str(device)}
    facts |= {"load": second[0].conditions.load, "confidence": chosen.confidence}
    everything = [("all", np.ones(len(family), bool)), *((tasks[at][0], family == at) for at in range(len(tasks)))]
    for name, where in everything:
        slope, offset = np.polyfit(macs[where], measured_ms[where], 1, w=1 / measured_ms[where])
        rivals = {"model": predicted_ms, "macs_line": slope * macs + offset, "measured_before": first_ms}
        for rival, guess in rivals.items():
            found = held_out(guess[where], measured_ms[where])
            covered = float((upper_ms >= measured_ms)[where].mean())
            more = {"coverage_of_upper": covered} if rival == "model" else {}
            emit(
                f"latency_model.{name}.{rival}.error",
                np.abs(guess / measured_ms - 1)[where],
                "fraction",
                mape=found.mape,
                within_5_percent=float((np.abs(guess / measured_ms - 1)[where] <= 0.05).mean()),
                within_10_percent=found.within_10,
                spearman=found.spearman,
                **more,
                **facts,
            )


if __name__ == "__main__":
    main()
