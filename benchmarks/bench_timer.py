"""Repeatability of the timer: share of repeats within 3 % of their median, beside the naive mean, in one run.

    python benchmarks/bench_timer.py --repeats 10

Each repeat of the timer is a new process and a new campaign; the naive mean is what most scripts do: one loop of
30 runs after one warm-up. Both time the same networks at the same time.
"""

import argparse
import time

import numpy as np
from json_line import emit

from hardware.conditions import Surroundings
from hardware.device import Device
from hardware.measure import LayerModel, MeasureProtocol, measure
from hardware.runtimes.contract import Source, import_runtime
from search_spaces.arch import Architecture, Block
from search_spaces.onnx_graph import onnx_model
from search_spaces.random_weights import random_weights

SHAPE = (3, 32, 32)
NETWORKS = {
    "small": (Block("conv", 16, stride=2), Block("zen_xx", 32, inner=16, depth=2), Block("zen_bl", 64, 3, 2, 2, 32)),
    "medium": (Block("conv", 32), Block("zen_xx", 64, 3, 2, 3, 64), Block("zen_bl", 128, 5, 2, 3, 64)),
    "wide": (Block("conv", 32, stride=2), Block("zen_xx", 256, 3, 2, 2, 256), Block("genet_dw", 384, 5, 2, 3, 768)),
}


def naive_mean_ms(model: LayerModel, device: Device) -> float:
    weights = random_weights(model.layers, 0)
    onnx_bytes = onnx_model(model.layers, weights, SHAPE).SerializeToString()
    runnable = import_runtime(device.runtime).load(Source(model.name, SHAPE, onnx_bytes, model.layers, weights), device)
    runnable.run()
    began = time.perf_counter()
    for _ in range(30):
        runnable.run()
    return (time.perf_counter() - began) / 30 * 1000


def report(name: str, values_ms: list[float], device: Device, **facts: object) -> None:
    values = np.array(values_ms)
    near = float(np.mean(np.abs(values / np.median(values) - 1) <= 0.03))
    spread = float(values.max() / values.min() - 1)
    emit(name, values_ms, "ms", within_3_percent=near, max_over_min=spread, device=str(device), **facts)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=10)
    options.add_argument("--device", default="onnxruntime")
    chosen = options.parse_args()
    device = Device.parse(chosen.device)
    models = [LayerModel.of(Architecture(blocks), SHAPE, 10, name) for name, blocks in NETWORKS.items()]
    surroundings = Surroundings()
    timed_ms: dict[str, list[float]] = {name: [] for name in NETWORKS}
    naive_ms: dict[str, list[float]] = {name: [] for name in NETWORKS}
    verdicts: list[str] = []
    for _ in range(chosen.repeats):
        for result in measure(models, device, MeasureProtocol(max_s=20)):
            timed_ms[result.model].append(result.latency_ms)
            verdicts.append(result.verdict)
        for model in models:
            naive_ms[model.name].append(naive_mean_ms(model, device))
    load = surroundings.conditions(device, SHAPE).load
    for name in NETWORKS:
        report(f"timer.{name}", timed_ms[name], device, load=load, ok=verdicts.count("ok"), of=len(verdicts))
        report(f"naive_mean.{name}", naive_ms[name], device, load=load)


if __name__ == "__main__":
    main()
