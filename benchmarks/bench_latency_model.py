"""Accuracy of the latency table on fresh networks, beside a line through multiply-adds, in one run.

    python benchmarks/bench_latency_model.py --space zen --resolution 32 --seconds 60 --networks 40

The table is made first and not touched again; then new networks are drawn with another seed, measured and compared.
The baseline is fitted to the very networks that it is scored on, which flatters it.
"""

import argparse

import numpy as np
from json_line import emit

from hardware.calibration import held_out
from hardware.counts import count
from hardware.device import Device
from hardware.measure import LayerModel, MeasureProtocol, measure
from hardware.profiling import profile_space
from hardware.spaces import sample_widely
from search_spaces import load_space


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--space", default="zen")
    options.add_argument("--device", default="onnxruntime")
    options.add_argument("--resolution", type=int, default=32)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--networks", type=int, default=40)
    options.add_argument("--largest-params", type=float, default=3e6, help="fresh networks above this are not drawn")
    chosen = options.parse_args()
    space, device = load_space(chosen.space), Device.parse(chosen.device)
    shape = (3, chosen.resolution, chosen.resolution)

    table = profile_space(space, device, shape, 10, seconds=chosen.seconds, seed=0)

    rng = np.random.default_rng(20_000)
    pool = sample_widely(space, 40 * chosen.networks, rng)
    fresh = [arch for arch in pool if count(arch, shape, 10).params <= chosen.largest_params][: chosen.networks]
    timed = measure([LayerModel.of(arch, shape, 10) for arch in fresh], device, MeasureProtocol(burst_ms=10, max_s=120))
    usable = [(arch, result) for arch, result in zip(fresh, timed, strict=True) if result.verdict != "void"]
    measured_ms = np.array([result.latency_ms for _, result in usable])
    estimates = [table.estimate(arch) for arch, _ in usable]
    predicted_ms = np.array([estimate.mean_ms for estimate in estimates])
    macs = np.array([count(arch, shape, 10).macs for arch, _ in usable], float)
    slope, offset = np.polyfit(macs, measured_ms, 1, w=1 / measured_ms)

    covered = float(np.mean([e.upper_ms >= ms for e, ms in zip(estimates, measured_ms, strict=True)]))
    bound = {"coverage_of_upper": covered, "upper_factor": table.calibration.upper_factor, "table": str(table)}
    load = timed[0].conditions.load
    for name, predicted, more in (("table", predicted_ms, bound), ("macs_line", slope * macs + offset, {})):
        score = held_out(predicted, measured_ms)
        emit(
            f"latency_model.{name}.error",
            np.abs(predicted / measured_ms - 1),
            "fraction",
            mape=score.mape,
            within_10_percent=score.within_10,
            spearman=score.spearman,
            void=len(timed) - len(usable),
            space=chosen.space,
            resolution=chosen.resolution,
            device=str(device),
            load=load,
            **more,
        )


if __name__ == "__main__":
    main()
