"""Post-training quantisation: does learning units of layers together beat learning single layers, and is W8A8 free?

Needs the folder that NETWRIGHT_DATA names (or ../shared/data) for the two CIFAR-10 networks; the third is trained here
on Fashion-MNIST. Labels are never used. Unit and layer have the same number of steps in all (a unit of n layers has n
times those of one layer), the same images and seeds; a step of a unit costs more, as it runs more layers.

- resnet20: published weights, 500 lossless test images, calibrated on the first 512 lossless training images; share of
  test images with the answer of the float network. Pairs by seed.
- resnet8: MLPerf Tiny's, the same images; INT8 against float, and against the INT8 file of its authors where LiteRT is
  installed.
- inverted: five inverted residuals, 14 x 14 Fashion-MNIST, a training for each seed; mean squared error of the logits
  and agreement on 2,000 test images, calibrated on 256 training images.

    python benchmarks/bench_ptq.py                 # about 25 minutes of one core
    python benchmarks/bench_ptq.py --iterations 250 --seeds 0 1 2 3 4
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from json_line import REPOSITORY, emit, skip
from scipy import stats
from small_fashion import small_fashion
from torch import Tensor, nn
from torch.nn import functional as F

from nas.compress.quantise import QuantiseSettings, quantise_network, simulated
from nas.train.evaluate import Normaliser, to_tensors
from nas.train.fit import fit
from nas.train.recipe import Recipe

METHODS = ("minmax", "nearest", "layer", "unit")
PARTS = ("resnet20", "resnet8", "inverted")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--iterations", type=int, default=60, help="for each layer")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--inverted-seeds", type=int, nargs="+", default=list(range(6)))
    parser.add_argument("--bits", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--set", nargs="*", default=[], help="settings, as drop=0.0 or importance=output")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    given = {name: _value(value) for name, value in (each.split("=") for each in asked.set)}
    folder = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data")
    for part in asked.parts:
        if part == "inverted":
            inverted(asked.inverted_seeds, asked.bits, asked.iterations, given)
        elif not (folder / "cifar10_lossless").exists():
            skip(f"ptq.{part}", "set NETWRIGHT_DATA to the folder with cifar10_lossless")
        elif part == "resnet20":
            resnet20(folder, asked.seeds, asked.bits, asked.iterations, given)
        else:
            resnet8(folder, asked.iterations)


def _value(text: str) -> Any:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


# ---------------------------------------------------------------- networks


class Block(nn.Module):
    """Two convolutions and a shortcut without weights (option A)."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.stride, self.more = stride, (width - before) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more)) if self.stride > 1 else x
        return F.relu(y + shortcut)


class ResNet20(nn.Module):
    """As published for CIFAR-10."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


class ResNet8(nn.Module):
    """MLPerf Tiny's image classifier; padding as TensorFlow's "same"."""

    WIDTHS = (16, 16, 16, 32, 32, 32, 64, 64, 64)
    INPUTS = (3, 16, 16, 16, 32, 16, 32, 64, 32)

    def __init__(self, tensors: Any) -> None:
        super().__init__()
        self.convs, self.norms, place = nn.ModuleList(), nn.ModuleDict(), 0
        for at, (inputs, width) in enumerate(zip(self.INPUTS, self.WIDTHS, strict=True)):
            conv = f"conv2d_{at}" if at else "conv2d"
            kernel = torch.from_numpy(tensors[f"{conv}.{conv}.kernel"]).permute(3, 2, 0, 1).contiguous()
            self.convs.append(nn.Conv2d(inputs, width, kernel.shape[-1], 2 if at in (3, 5, 6, 8) else 1))
            self.convs[at].weight.data = kernel
            self.convs[at].bias.data = torch.from_numpy(tensors[f"{conv}.{conv}.bias"])
            if at in (5, 8):  # shortcuts have no norm
                continue
            name = f"batch_normalization_{place}" if place else "batch_normalization"
            norm, place = nn.BatchNorm2d(width, eps=1e-3), place + 1
            leaves = {"gamma": norm.weight, "beta": norm.bias}
            leaves |= {"moving_mean": norm.running_mean, "moving_variance": norm.running_var}
            for leaf, value in leaves.items():
                value.data = torch.from_numpy(tensors[f"{name}.{name}.{leaf}"])
            self.norms[str(at)] = norm
        self.dense = nn.Linear(64, 10)
        self.dense.weight.data = torch.from_numpy(tensors["dense.dense.kernel"]).T.contiguous()
        self.dense.bias.data = torch.from_numpy(tensors["dense.dense.bias"])

    def _conv(self, at: int, x: Tensor) -> Tensor:
        if self.convs[at].kernel_size[0] == 3:
            x = F.pad(x, (0, 1, 0, 1) if self.convs[at].stride[0] == 2 else (1, 1, 1, 1))
        x = self.convs[at](x)
        return self.norms[str(at)](x) if str(at) in self.norms else x

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self._conv(0, x))
        x = F.relu(x + self._conv(2, F.relu(self._conv(1, x))))
        x = F.relu(self._conv(5, x) + self._conv(4, F.relu(self._conv(3, x))))
        x = F.relu(self._conv(8, x) + self._conv(7, F.relu(self._conv(6, x))))
        return self.dense(x.mean((2, 3)))


class Inverted(nn.Module):
    """Expand by 4, depthwise, project; a shortcut where shapes allow."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        inner = 4 * before
        self.expand, self.norm1 = nn.Conv2d(before, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.depth, self.norm2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False), nn.BatchNorm2d(inner)
        self.project, self.norm3 = nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width)
        self.shortcut = before == width and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.norm2(self.depth(F.relu6(self.norm1(self.expand(x))))))
        y = self.norm3(self.project(y))
        return x + y if self.shortcut else y


def mobile_network(seed: int) -> nn.Module:
    """Five inverted residuals for 14 x 14 grey images."""
    torch.manual_seed(seed)
    blocks = [Inverted(*each) for each in ((16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1))]
    head = [nn.Conv2d(32, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU6(), nn.AdaptiveAvgPool2d(1)]
    stem = [nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6()]
    return nn.Sequential(*stem, *blocks, *head, nn.Flatten(), nn.Linear(64, 10))


# ---------------------------------------------------------------- parts


def resnet20(folder: Path, seeds: list[int], bits: list[int], iterations: int, given: dict[str, Any]) -> None:
    with np.load(folder / "models_cifar10_resnet" / "resnet20.npz") as file:
        tensors = {name: torch.from_numpy(file[name]) for name in file.files}
    model = ResNet20()
    model.load_state_dict(tensors, strict=False)
    model.eval()
    mean, std = (torch.tensor(each)[:, None, None] for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    (train, test, labels), scale = cifar(folder), 255
    calibration, test = (train[:512] / scale - mean) / std, (test / scale - mean) / std
    wanted = outputs(model, test)
    facts = {"images": len(test), "calibration_images": 512, "float_top1": share(wanted.argmax(1) == labels)}
    for method in ("minmax", "nearest"):
        found = run(model, calibration, test, seed=0, method=method)
        report("resnet20", "W8A8", method, [compared(found, wanted, labels)], **facts)
    for width in bits:
        rows: dict[str, list[dict[str, float]]] = {}
        for method in METHODS:
            for seed in seeds if method in ("layer", "unit") else seeds[:1]:
                settings = {"weight_bits": width, "activation_bits": width, "iterations": iterations, **given}
                found = run(model, calibration, test, seed=seed, method=method, **settings)
                rows.setdefault(method, []).append(compared(found, wanted, labels))
            report("resnet20", f"W{width}A{width}", method, rows[method], iterations=iterations, **facts)
        paired("resnet20", f"W{width}A{width}", rows)


def resnet8(folder: Path, iterations: int) -> None:
    with np.load(folder / "models_mlperf_tiny_ic" / "resnet8_keras_weights.npz") as file:
        model = ResNet8(dict(file)).eval()
    train, test, labels = cifar(folder)
    wanted = outputs(model, test)
    facts = {"images": len(test), "calibration_images": 512, "float_top1": share(wanted.argmax(1) == labels)}
    for method in ("minmax", "nearest", "unit"):
        for width in (8, 7):
            settings = {"weight_bits": width, "iterations": max(1, iterations // 2)}
            found = run(model, train[:512], test, seed=0, method=method, **settings)
            report("resnet8", f"W{width}A8", method, [compared(found, wanted, labels)], **facts)
    file = folder / "models_mlperf_tiny_ic" / "pretrainedResnet_quant.tflite"
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        skip("ptq.resnet8.the authors' INT8 file", "pip install ai-edge-litert")
        return
    interpreter = Interpreter(model_path=str(file), num_threads=1)
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    step, zero = source["quantization"]
    answers = []
    for image in test.permute(0, 2, 3, 1).numpy():
        codes = np.clip(np.round(image / step) + zero, -128, 127).astype(source["dtype"])
        interpreter.set_tensor(source["index"], codes[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(result["index"])[0].astype(np.float32))
    theirs = compared(torch.from_numpy(np.array(answers)), wanted, labels)
    emit("ptq.resnet8.the authors' INT8 file", [theirs["agreement"]], "agreement", top1=[theirs["top1"]], **facts)


def inverted(seeds: list[int], bits: list[int], iterations: int, given: dict[str, Any]) -> None:
    dataset = small_fashion(4_000, 500)
    normalise = Normaliser(dataset)
    calibration = normalise(to_tensors(dataset.train)[0][:256])
    images, labels = to_tensors(dataset.test)
    images, labels = normalise(images[:2_000]), labels[:2_000]
    rows: dict[int, dict[str, list[dict[str, float]]]] = {width: {} for width in bits}
    top1 = []
    for seed in seeds:
        model = mobile_network(seed)
        recipe = Recipe.from_dict({"epochs": 5, "batch_size": 64, "learning_rate": 0.1, "warmup_epochs": 0.5})
        fit(model, dataset, recipe, seed=seed)
        wanted = outputs(model, images)
        top1.append(share(wanted.argmax(1) == labels))
        for width in bits:
            for method in METHODS:
                settings = {"weight_bits": width, "activation_bits": width, "iterations": iterations, **given}
                found = run(model, calibration, images, seed=seed, method=method, **settings)
                row = compared(found, wanted, labels)
                rows[width].setdefault(method, []).append(row)
                print(f"inverted seed {seed} W{width}A{width} {method}: {row}", file=sys.stderr, flush=True)
    for width in bits:
        facts = {"images": len(images), "calibration_images": 256, "float_top1": top1, "iterations": iterations}
        for method in METHODS:
            report("inverted", f"W{width}A{width}", method, rows[width][method], **facts)
        paired("inverted", f"W{width}A{width}", rows[width])


# ---------------------------------------------------------------- measures


def cifar(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Training images, test images (N, 3, 32, 32) float32 0..255, test labels; lossless."""
    with np.load(folder / "cifar10_lossless" / "cifar10_lossless.npz") as file:
        train, test, labels = file["X_train"][:512], file["X_test"], file["y_test"]
    images = [torch.from_numpy(each).permute(0, 3, 1, 2).float().contiguous() for each in (train, test)]
    return images[0], images[1], torch.from_numpy(labels.astype(np.int64))


def run(model: nn.Module, calibration: Tensor, test: Tensor, *, seed: int, **settings: Any) -> Tensor:
    start = time.process_time()
    quantised = quantise_network(model, calibration, settings=QuantiseSettings(**settings), seed=seed)
    run.seconds = time.process_time() - start
    return outputs(simulated(quantised), test)


def outputs(model: nn.Module, images: Tensor) -> Tensor:
    model.eval()
    with torch.no_grad():
        return torch.cat([model(batch) for batch in images.split(250)])


def compared(found: Tensor, wanted: Tensor, labels: Tensor) -> dict[str, float]:
    return {
        "agreement": share(found.argmax(1) == wanted.argmax(1)),
        "top1": share(found.argmax(1) == labels),
        "logit_mse": float((found - wanted).square().mean()),
        "seconds": getattr(run, "seconds", 0.0),
    }


def share(hits: Tensor) -> float:
    return round(float(hits.double().mean()), 5)


def report(part: str, bits: str, method: str, rows: list[dict[str, float]], **facts: object) -> None:
    """Agreement of every seed, and beside it accuracy and error of the logits."""
    lists = {name: [float(f"{row[name]:.4g}") for row in rows] for name in ("agreement", "top1", "logit_mse")}
    seconds = round(float(np.mean([row["seconds"] for row in rows])), 1)
    emit(f"ptq.{part}.{bits} {method}", lists.pop("agreement"), "agreement", **lists, cpu_seconds=seconds, **facts)


def paired(part: str, bits: str, rows: dict[str, list[dict[str, float]]]) -> None:
    """Unit minus layer, and layer minus min-max, by seed: mean with its 95 % t-interval, and wins."""
    for better, worse in (("unit", "layer"), ("layer", "minmax")):
        for measure in ("agreement", "logit_mse"):
            many = [row[measure] for row in rows[better]]
            few = [row[measure] for row in rows[worse]]
            differences = np.array(many) - np.array(few if len(few) == len(many) else few * len(many))
            low, high = _interval(differences)
            emit(
                f"ptq.{part}.{bits} {better} minus {worse}",
                list(differences),
                measure,
                mean=round(float(differences.mean()), 5),
                t_interval=[low, high],
                higher=int((differences > 0).sum()),
                lower=int((differences < 0).sum()),
            )


def _interval(differences: np.ndarray) -> tuple[float | None, float | None]:
    if len(differences) < 2:
        return None, None
    half = stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences))
    return round(float(differences.mean() - half), 5), round(float(differences.mean() + half), 5)


if __name__ == "__main__":
    main()
