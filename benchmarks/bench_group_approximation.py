"""Filter group approximation and plain low rank on a trained ResNet-8: accuracy, work and latency of the file.

    python benchmarks/bench_group_approximation.py [--seeds 3] [--train 4000] [--epochs 10] [--fine-tune 4]
        [--shares 0.7 0.45 0.3]

Fashion-MNIST, 14 x 14, ``small_resnet.SmallResNet`` of width 16. One training a seed; each share of its
multiply-accumulates is reached by both methods from the same weights. Accuracies on the 10,000 test images: as
decomposed, with the 1 x 1 refitted, with norms recalibrated, and after fine-tuning. Latency: ONNX Runtime, one thread,
bursts interleaved with those of the whole network (the first seed's files; and networks of width 64, not trained).
Held against the whole network trained on for as many epochs, paired by seed, with t-intervals.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
from json_line import emit, skip
from scipy import stats
from small_fashion import small_fashion
from small_resnet import SmallResNet
from torch import nn

from hardware.compare import Contestant, compare
from hardware.device import Device
from hardware.models import OnnxFile
from hardware.pairs import PairProtocol
from nas.compress.approximate import ApproximateSettings, approximate
from nas.compress.onnx_file import write_onnx
from nas.compress.pipeline.stages import calibration_images
from nas.compress.quantise.fold import folded
from nas.train.data import Dataset, InvalidDataset
from nas.train.evaluate import evaluate_test
from nas.train.fit import fit
from nas.train.recalibration import recalibrate_
from nas.train.recipe import Recipe

SHAPE = (1, 14, 14)
WIDE = 64
METHODS = ("groups", "low-rank")
DEVICE = Device.parse("onnxruntime:threads=1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--fine-tune", type=int, default=4)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.7, 0.45, 0.3])
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        data = small_fashion(options.train, 1000)
    except InvalidDataset as error:
        skip("group approximation", str(error))
        return
    recipe = Recipe(epochs=options.epochs, learning_rate=0.1, ema_decay=0)
    nets = []
    for seed in range(options.seeds):
        torch.manual_seed(seed)
        net = SmallResNet(16, stem_stride=1)
        fit(net, data, recipe, seed=seed)
        nets.append(net)
    emit_top1("whole network", [top1(net, data) for net in nets], epochs=options.epochs)
    longer = [top1(tuned(net, data, options.fine_tune, seed), data) for seed, net in enumerate(nets)]
    emit_top1("whole network, trained on", longer, epochs=options.epochs + options.fine_tune)
    for share in options.shares:
        ends = {method: one_point(nets, data, share, method, options.fine_tune) for method in METHODS}
        for method, values in ends.items():
            difference(f"{method} {share:g} minus whole network, trained on", values, longer)
        difference(f"groups {share:g} minus low-rank {share:g}", ends["groups"], ends["low-rank"])
    for share in options.shares:
        for method in METHODS:
            wide(share, method)


def one_point(nets: list[nn.Module], data: Dataset, share: float, method: str, epochs: int) -> list[float]:
    """All figures of one method at one share; returns the last accuracies."""
    images = calibration_images(data, 512, 0)
    settings = ApproximateSettings(macs=share, method=method)
    seen: dict[str, list[float]] = {"decomposed": [], "refitted": [], "recalibrated": [], "fine-tuned": []}
    for seed, net in enumerate(nets):
        plain = approximate(net, SHAPE, settings=settings)
        result = approximate(net, SHAPE, settings=settings, images=images)
        seen["decomposed"].append(top1(plain.network, data))
        seen["refitted"].append(top1(result.network, data))
        recalibrate_(result.network, list(images.split(128)))  # type: ignore[no-untyped-call]
        seen["recalibrated"].append(top1(result.network, data))
        seen["fine-tuned"].append(top1(tuned(result.network, data, epochs, seed), data))
        facts = {"macs": round(result.macs_after / result.macs_before, 3), "method": method}
        if seed == 0:
            speed = speed_up(net, result.network)
    for stage, values in seen.items():
        emit_top1(stage, values, **facts)
    emit("group approximation, speed-up of the file", [speed[0]], "times", **facts, low=speed[1], high=speed[2])
    return seen["fine-tuned"]


def wide(share: float, method: str) -> None:
    """How much faster the file of a wide network becomes, with random weights."""
    torch.manual_seed(0)
    net = SmallResNet(WIDE, stem_stride=1).eval()
    found = approximate(net, SHAPE, settings=ApproximateSettings(macs=share, method=method))
    ratio, low, high = speed_up(net, found.network)
    emit(
        f"group approximation, speed-up of the file, width {WIDE}",
        [ratio],
        "times",
        macs=round(found.macs_after / found.macs_before, 3),
        method=method,
        low=low,
        high=high,
        sizes=list(found.choices.values()),
    )


def tuned(net: nn.Module, data: Dataset, epochs: int, seed: int) -> nn.Module:
    """A copy, trained on."""
    result = copy.deepcopy(net)
    fit(result, data, Recipe(epochs=epochs, learning_rate=0.02, ema_decay=0), seed=seed)
    return result


def emit_top1(stage: str, values: list[float], **facts: object) -> None:
    """Accuracies of one stage, each seed's too."""
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
    emit(
        f"group approximation, {stage}, top-1",
        values,
        "share",
        mean=round(mean, 4),
        sd=None if deviation is None else round(deviation, 4),
        seeds=values,
        **facts,
    )


def difference(name: str, first: list[float], second: list[float]) -> None:
    """Fine-tuned networks against others, in points, paired by seed, with the 95 % t-interval."""
    found = 100 * (np.array(first) - np.array(second))
    mean, facts = float(found.mean()), {}
    if len(found) > 1:
        half = float(stats.t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
        facts["t_interval"] = [round(mean - half, 2), round(mean + half, 2)]
    emit(f"group approximation, {name}", found.tolist(), "points, paired", mean=round(mean, 2), **facts)


def top1(net: nn.Module, data: Dataset) -> float:
    return evaluate_test(net, data).top1


def speed_up(before: nn.Module, after: nn.Module) -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        contestants = []
        for name, net in (("before", before), ("after", after)):
            path = Path(folder) / f"{name}.onnx"
            path.write_bytes(write_onnx(folded(net, SHAPE), SHAPE).SerializeToString())
            contestants.append(Contestant(OnnxFile(path), DEVICE))
        seen = compare(*contestants, PairProtocol(pairs=12, span_s=6.0))
    return round(seen.ratio, 3), round(seen.low, 3), round(seen.high, 3)


if __name__ == "__main__":
    main()
