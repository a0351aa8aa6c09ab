"""Repeatability of the timer: share of repeats within 3 % of their median, beside the naive mean, in one run.

    python benchmarks/bench_timer.py --repeats 10
    python benchmarks/bench_timer.py --repeats 30 --minutes 60 --devices onnxruntime onnxruntime:threads=2

Each repeat of the timer is a new process and a new campaign; the naive mean is what most scripts do: one loop of
30 runs after one warm-up. Both time the same networks at the same time. ``--minutes`` spreads the repeats evenly over
so much time; of several devices each is measured in every repeat. ``within_95`` is the distance to the median that 95 %
of all repeats of the device keep, whatever the network: what can be promised.
"""

import argparse
import time
from dataclasses import dataclass, field

import numpy as np
from json_line import emit

from hardware.conditions import Surroundings
from hardware.device import Device
from hardware.measure import LayerModel, Measurement, MeasureProtocol, measure
from hardware.runtimes.contract import Source, import_runtime
from search_spaces.arch import Architecture, Block
from search_spaces.onnx_graph import onnx_model
from search_spaces.random_weights import random_weights

SHAPE = (3, 32, 32)
NEAR = 0.03
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


def distances(values_ms: list[float]) -> np.ndarray:
    """Of each repeat to the median of all, as fractions."""
    values = np.array(values_ms)
    return np.abs(values / np.median(values) - 1)


def report(name: str, values_ms: list[float], device: Device, **facts: object) -> None:
    near = float(np.mean(distances(values_ms) <= NEAR))
    spread = max(values_ms) / min(values_ms) - 1
    emit(name, values_ms, "ms", within_3_percent=near, max_over_min=spread, device=str(device), **facts)


@dataclass
class Series:
    """What the repeats of one device gave, by network."""

    device: Device
    timed: dict[str, list[Measurement]] = field(default_factory=lambda: {name: [] for name in NETWORKS})
    naive_ms: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in NETWORKS})

    def repeat(self, models: list[LayerModel]) -> None:
        for result in measure(models, self.device, MeasureProtocol(max_s=20)):
            self.timed[result.model].append(result)
        for model in models:
            self.naive_ms[model.name].append(naive_mean_ms(model, self.device))

    def report(self, load: float, minutes: float) -> None:
        """Every network, then all together; void figures are no figures and are left out of the last line."""
        tag = f"t{self.device.threads}"
        facts = {"load": load, "minutes": round(minutes, 1)}
        far: dict[str, list[float]] = {"all": [], "ok": []}
        for name in NETWORKS:
            timed = self.timed[name]
            verdicts = {word: sum(each.verdict == word for each in timed) for word in ("ok", "noisy", "void")}
            report(f"timer.{tag}.{name}", [each.latency_ms for each in timed], self.device, **verdicts, **facts)
            report(f"naive_mean.{tag}.{name}", self.naive_ms[name], self.device, **facts)
            away = distances([each.latency_ms for each in timed])
            far["all"] += [d for d, each in zip(away, timed, strict=True) if each.verdict != "void"]
            far["ok"] += [d for d, each in zip(away, timed, strict=True) if each.verdict == "ok"]
        naive = np.concatenate([distances(values_ms) for values_ms in self.naive_ms.values()]).tolist()
        for which, values in {**far, "naive_mean": naive}.items():
            if values:
                near = float(np.mean(np.array(values) <= NEAR))
                promise = float(np.quantile(values, 0.95))
                emit(
                    f"timer.{tag}.promise.{which}",
                    values,
                    "fraction",
                    within_3_percent=near,
                    within_95=promise,
                    **facts,
                )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=10)
    options.add_argument("--minutes", type=float, default=0.0)
    options.add_argument("--devices", nargs="+", default=["onnxruntime"])
    chosen = options.parse_args()
    models = [LayerModel.of(Architecture(blocks), SHAPE, 10, name) for name, blocks in NETWORKS.items()]
    surroundings = Surroundings()
    every = [Series(Device.parse(text)) for text in chosen.devices]
    began = time.monotonic()
    for at in range(chosen.repeats):
        time.sleep(max(0.0, began + 60 * chosen.minutes * at / chosen.repeats - time.monotonic()))
        for series in every:
            series.repeat(models)
    minutes = (time.monotonic() - began) / 60
    for series in every:
        series.report(surroundings.conditions(series.device, SHAPE).load, minutes)


if __name__ == "__main__":
    main()
