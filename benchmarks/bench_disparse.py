"""DiSparse against pruning that does not tell tasks apart, and that it trains on photographs with boxes and masks.

    python benchmarks/bench_disparse.py fashion [--seeds 0 1 2 3 4] [--densities 0.1 0.03] [--epochs 8] [--log FILE]
    python benchmarks/bench_disparse.py scenes [--seeds 0] [--epochs 40] [--size 64]

``fashion``: Fashion-MNIST at 14 x 14 pixels, 3,000 training and 5,000 validation images, each turned by 0, 90, 180 or
270 degrees; a trunk of three convolutions and two heads (10 kinds of clothing; 4 turns). All methods of a seed have the
same first weights, images and order of batches. Methods that prune trained weights start from the dense network of the
seed and train as long again, so they have twice the epochs. Scores are read once, from the validation images after the
last epoch; test images are not touched. Masked weights still cost a multiplication here: every method does the training
MACs of the dense network. Scores take 50 further batches of 16 images; dynamic masks take one more backward pass of
each task at every change.

``scenes``: 128 photographs, segmentation and detection, one small backbone.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from json_line import emit, skip
from scipy import stats
from small_fashion import small_fashion
from torch import nn

from nas.compress.disparse import BASELINES, DisparseResult, DisparseSettings, disparse
from nas.compress.disparse.settings import SCORES
from nas.train.detection.network import DetectorDesign
from nas.train.multitask.labels import CATEGORY, ROTATION, with_rotation
from nas.train.multitask.network import MultitaskNetwork, build_scene_network
from nas.train.multitask.recipe import MultitaskRecipe
from nas.train.multitask.scenes import load_scenes
from nas.train.multitask.tasks import MultitaskData
from nas.train.multitask.training import fit_multitask
from search_spaces.arch import Architecture, Block

DATA = Path(os.environ.get("NETWRIGHT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
BACKBONE = Architecture(
    tuple(Block("conv", c, stride=s) for c, s in ((16, 2), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1)))
)
TRAIN, VALIDATION = 3000, 5000
FROM_TRAINED = ("pretrained", "magnitude")
TRAINED_MODES = tuple(f"pretrained:{score}" for score in SCORES)
FASHION_MODES = ("dense", "static", *TRAINED_MODES, "dynamic", *BASELINES)
PAIRS = (
    ("static", "snip"),
    ("static", "random"),
    *((mode, "magnitude") for mode in TRAINED_MODES),
    ("dynamic", "rigl"),
    ("dynamic", "random"),
)


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("fashion", "scenes"), nargs="?", default="fashion")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--densities", type=float, nargs="+", default=[0.1, 0.03])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--modes", nargs="+", default=list(FASHION_MODES), help="mode, or mode:score")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--interval", type=int, default=20)
    parser.add_argument("--log", type=Path, help="keeps finished trainings; called again, it goes on")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.part == "fashion":
        fashion(
            asked.seeds or list(range(5)), asked.densities, asked.modes, asked.epochs or 8, asked.interval, asked.log
        )
    else:
        scenes(asked.seeds or [0], asked.epochs or 40, asked.size)


def network(seed: int) -> MultitaskNetwork:
    """About 60,000 weights, 23,000 of them shared."""
    torch.manual_seed(seed)
    trunk = nn.Sequential(*_block(1, 16, 1), *_block(16, 32, 2), *_block(32, 64, 2))
    return MultitaskNetwork(trunk, {CATEGORY: _head(10), ROTATION: _head(4)})


def _block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def _head(outputs: int) -> nn.Module:
    return nn.Sequential(*_block(64, 32, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, outputs))


def fashion(
    seeds: Sequence[int],
    densities: Sequence[float],
    modes: Sequence[str],
    epochs: int,
    interval: int,
    log: Path | None,
) -> None:
    """All methods on all seeds, then a line for each method and for each pair."""
    data = with_rotation(small_fashion(TRAIN, VALIDATION))
    recipe = MultitaskRecipe(epochs=epochs, batch_size=64, evaluate_every=epochs)
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log and log.exists() else []
    found = {(row["seed"], row["density"], row["mode"]): row for row in rows if row["epochs"] == epochs}
    for seed in seeds:
        wanted = [(d, mode) for d in densities for mode in modes if (seed, d, mode) not in found]
        dense, scores = network(seed), None
        if any(mode.partition(":")[0] in ("dense", *FROM_TRAINED) for _, mode in wanted):
            scores = fit_multitask(dense, data, recipe, seed=seed)[-1].scores
        for density, mode in wanted:
            row: dict[str, Any] = {"scores": scores}
            if mode != "dense":
                kind, _, score = mode.partition(":")
                first = dense if kind in FROM_TRAINED else network(seed)
                settings = DisparseSettings(mode=kind, density=density, score=score or SCORES[0], interval=interval)
                row = _row(disparse(first, data, recipe, settings=settings, seed=seed))
            found[seed, density, mode] = {"seed": seed, "density": density, "mode": mode, "epochs": epochs, **row}
            if log:
                with log.open("a") as file:
                    file.write(json.dumps(found[seed, density, mode]) + "\n")
    for density in densities:
        _report({mode: [found[s, density, mode] for s in seeds] for mode in modes}, density, epochs)


def _row(result: DisparseResult) -> dict[str, Any]:
    overlap = result.overlap
    return {
        "scores": result.curve[-1].scores,
        "kept": result.masks.density,
        "empty": len(result.empty),
        "keep_ratio": result.keep_ratio,
        "iou": {layer.name: [layer.iou, layer.chance] for layer in overlap.layers} if overlap else None,
        "watershed": overlap.watershed() if overlap else None,
    }


def _report(rows: dict[str, list[dict[str, Any]]], density: float, epochs: int) -> None:
    scores: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for mode, found in rows.items():
        for task in (CATEGORY, ROTATION):
            scores[mode][task] = [100 * row["scores"][task] for row in found]
        scores[mode]["mean"] = np.mean([scores[mode][CATEGORY], scores[mode][ROTATION]], axis=0).tolist()
        facts: dict[str, Any] = {
            task: {"mean": round(float(np.mean(values)), 2), "sd": _deviation(values)}
            for task, values in scores[mode].items()
        }
        total = epochs * (2 if mode.partition(":")[0] in FROM_TRAINED else 1)
        facts |= _mask_facts(found) if mode != "dense" else {}
        emit(f"disparse.{mode} at {density:g}", scores[mode]["mean"], "% mean top-1 of 2 tasks", **facts, epochs=total)
    for ours, other in PAIRS:
        if ours not in rows or other not in rows:
            continue
        for task in ("mean", CATEGORY, ROTATION):
            gain = np.subtract(scores[ours][task], scores[other][task])
            emit(
                f"disparse.{ours} minus {other} at {density:g}, {task}",
                gain.tolist(),
                "points",
                mean=round(float(gain.mean()), 2),
                t_interval=_interval(gain),
                wins=int((gain > 0).sum()),
            )


def _mask_facts(found: list[dict[str, Any]]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "kept": [round(min(row["kept"] for row in found), 5), round(max(row["kept"] for row in found), 5)],
        "empty_tensors": sum(row["empty"] for row in found),
    }
    if found[0]["keep_ratio"] is not None:
        facts["rho"] = round(float(np.mean([row["keep_ratio"] for row in found])), 4)
    if found[0]["iou"]:
        for at, name in enumerate(("iou", "iou_by_chance")):
            layers = found[0]["iou"]
            facts[name] = {n: round(float(np.mean([row["iou"][n][at] for row in found])), 3) for n in layers}
        facts["watershed"] = [row["watershed"] for row in found]
    return facts


def _deviation(values: Sequence[float]) -> float | None:
    return round(float(np.std(values, ddof=1)), 2) if len(values) > 1 else None


def _interval(values: np.ndarray) -> list[float] | None:
    """95 % interval of the mean, by Student's t."""
    if len(values) < 2:
        return None
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return [round(float(values.mean() - half), 2), round(float(values.mean() + half), 2)]


def scenes(seeds: Sequence[int], epochs: int, size: int) -> None:
    """Dense and DiSparse on photographs with boxes and masks."""
    path = DATA / "coco128_multitask" / "coco_train128.npz"
    if not path.exists():
        skip("disparse.scenes", f"no {path.name} below {DATA}; NETWRIGHT_DATA names the folder")
        return
    recipe = MultitaskRecipe(epochs=epochs, batch_size=8, learning_rate=0.02, warmup_epochs=2.0, evaluate_every=epochs)
    design = DetectorDesign(levels=(2, 3, 4), width=32, depth=1)
    data = load_scenes(path, size=size, strides=[2**level for level in design.levels])
    for seed in seeds:
        dense = _scene_network(data, design, seed)
        start = time.perf_counter()
        curve = fit_multitask(dense, data, recipe, seed=seed)
        _emit_scenes("dense", curve, seed, epochs, time.perf_counter() - start)
        for mode in ("static", "pretrained", "dynamic", "snip"):
            first = dense if mode in FROM_TRAINED else _scene_network(data, design, seed)
            settings = DisparseSettings(mode=mode, density=0.1, interval=20)
            start = time.perf_counter()
            result = disparse(first, data, recipe, settings=settings, seed=seed)
            _emit_scenes(mode, result.curve, seed, epochs, time.perf_counter() - start, **_row(result))


def _emit_scenes(mode: str, curve: Sequence[Any], seed: int, epochs: int, seconds: float, **facts: Any) -> None:
    scores = {name: round(100 * value, 2) for name, value in curve[-1].scores.items()}
    losses = [{name: round(value, 3) for name, value in report.losses.items()} for report in (curve[0], curve[-1])]
    rest = {name: value for name, value in facts.items() if name != "scores"}
    iou = rest.pop("iou", None)
    rest["iou"] = {name: round(both[0], 3) for name, both in iou.items()} if iou else None
    emit(
        f"disparse.scenes {mode}",
        list(scores.values()),
        "% (mean IoU of pixels; AP50 of boxes)",
        scores=scores,
        first_losses=losses[0],
        last_losses=losses[1],
        seed=seed,
        epochs=epochs,
        seconds=round(seconds),
        **rest,
    )


def _scene_network(data: MultitaskData, design: DetectorDesign, seed: int) -> MultitaskNetwork:
    regions = int(data.train.targets["segmentation"][0][data.train.targets["segmentation"][0] != 255].max()) + 1
    return build_scene_network(BACKBONE, segmentation_classes=regions, detection_classes=1, design=design, seed=seed)


if __name__ == "__main__":
    main()
