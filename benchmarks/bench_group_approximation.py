"""Filter group approximation and plain low rank on a trained ResNet-8: accuracy, work and latency of the file.

    python benchmarks/bench_group_approximation.py [--seeds 3] [--train 4000] [--epochs 10] [--fine-tune 4]
        [--shares 0.7 0.45 0.3]

Fashion-MNIST, 14 x 14, ``small_resnet.SmallResNet`` of width 16. One training a seed; each share of its
multiply-accumulates is reached by both methods from the same weights. Accuracies on the 10,000 test images: as
decomposed, with the 1 x 1 refitted, with norms recalibrated, and after fine-tuning. Latency: ONNX Runtime, one thread,
bursts interleaved with those of the whole network (the first seed's files).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from json_line import emit, skip
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
    emit("group approximation, whole network, top-1", [top1(net, data) for net in nets], "share", epochs=options.epochs)
    for share in options.shares:
        for method in ("groups", "low-rank"):
            one_point(nets, data, share, method, options.fine_tune)


def one_point(nets: list[nn.Module], data: Dataset, share: float, method: str, epochs: int) -> None:
    """All figures of one method at one share."""
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
        fit(result.network, data, Recipe(epochs=epochs, learning_rate=0.02, ema_decay=0), seed=seed)
        seen["fine-tuned"].append(top1(result.network, data))
        facts = {"macs": round(result.macs_after / result.macs_before, 3), "method": method}
        if seed == 0:
            speed = speed_up(net, result.network)
    for stage, values in seen.items():
        emit(f"group approximation, {stage}, top-1", values, "share", **facts)
    emit("group approximation, speed-up of the file", [speed[0]], "times", **facts, low=speed[1], high=speed[2])


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
