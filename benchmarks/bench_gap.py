"""Grow-and-prune beside gradual, one-shot and random masks, at equal training MACs and at equal epochs.

    python benchmarks/bench_gap.py [--network lenet|resnet8] [--schedule short|long] [--sparsities 0.9 0.95 0.98]
                                   [--seeds 0 1 2 3 4] [--equal epochs macs] [--rows rows.jsonl]

Fashion-MNIST at 14 x 14, 3,000 training and 2,000 validation images; test accuracy on 10,000 images. All methods start
from the same random weights and see the same images for a seed. A baseline is trained twice: for as many epochs as
C-GaP, and for as many epochs as make its training MACs (products with pruned weights not counted) equal to C-GaP's,
at most FACTOR times C-GaP's epochs. P-GaP has as many epochs as C-GaP over all copies; "in equal time" as many in each
copy, which workers side by side would finish as early as C-GaP. "lenet" is LeNet-300-100, all layers pruned but the
classifier; "resnet8" prunes all but stem and classifier. With ``--rows``, runs that the file holds are not trained
again. The default takes about a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from json_line import emit, skip
from scipy import stats
from small_fashion import small_fashion
from small_resnet import SmallResNet
from torch import nn

from nas.compress.gap import GapSettings, PruningResult, gap
from nas.compress.gap.selection import random_weights, uniform_counts
from nas.compress.gap.training import gap_stages
from nas.compress.magnitude import (
    GradualSettings,
    OneShotSettings,
    gradual_magnitude,
    one_shot_magnitude,
    pruning_steps,
)
from nas.compress.packed import write_packed
from nas.compress.prunable import Prunable, find_prunable
from nas.compress.static_masks import StaticSettings, static_masks
from nas.train.evaluate import evaluate_test
from nas.train.images import Dataset, InvalidDataset
from nas.train.recipe import Recipe

TRAIN, VALIDATION, FACTOR = 3_000, 2_000, 5
RECIPE = Recipe(learning_rate=0.1, warmup_epochs=0.5, augment="none", ema_decay=0.98)
STEPS = TRAIN // RECIPE.batch_size
SHAPE = (1, 14, 14)
METHODS = (
    "dense",
    "c-gap",
    "p-gap",
    "p-gap in equal time",
    "c-gap global",
    "c-gap random",
    "gradual",
    "one-shot",
    "static",
)
BASELINES = ("gradual", "one-shot", "static")


@dataclass(frozen=True)
class Schedule:
    """Epochs of grow-and-prune."""

    partitions: int
    epochs_per_step: int
    rounds: int
    fine_tune_epochs: int

    def settings(self, sparsity: float, stem: bool, **more: Any) -> GapSettings:
        return GapSettings(
            sparsity=sparsity,
            stem=stem,
            partitions=self.partitions,
            epochs_per_step=self.epochs_per_step,
            rounds=self.rounds,
            fine_tune_epochs=self.fine_tune_epochs,
            **more,
        )


SCHEDULES = {
    ("lenet", "short"): Schedule(2, 2, 2, 8),
    ("lenet", "long"): Schedule(2, 5, 4, 30),
    ("resnet8", "short"): Schedule(3, 2, 2, 8),
    ("resnet8", "long"): Schedule(3, 5, 3, 30),
}


class LeNet(nn.Sequential):
    """LeNet-300-100 for 14 x 14 pixels."""

    def __init__(self) -> None:
        layers = nn.Linear(196, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
        super().__init__(nn.Flatten(), *layers)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], bool]] = {"lenet": (LeNet, True), "resnet8": (SmallResNet, False)}


def main() -> None:
    """Train what is missing, then print a line for each method and a paired difference for each baseline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS), default="lenet")
    parser.add_argument("--schedule", choices=("short", "long"), default="short")
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0.9, 0.95, 0.98])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--equal", nargs="+", choices=("epochs", "macs"), default=["epochs", "macs"])
    parser.add_argument("--rows", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    try:
        dataset = small_fashion(TRAIN, VALIDATION)
    except InvalidDataset as error:
        skip("gap", str(error))
        return
    rows = [] if asked.rows is None else _read(asked.rows)
    for seed in asked.seeds:
        for sparsity in asked.sparsities:
            for key in wanted(asked.network, asked.schedule, sparsity, asked.methods, asked.equal):
                if _find(rows, seed, key) is None:
                    rows.append(train(dataset, seed, key))
                    if asked.rows is not None:
                        with asked.rows.open("a") as file:
                            file.write(json.dumps(rows[-1]) + "\n")
    report(rows, asked.network, asked.schedule)
    report_sizes(asked.network, asked.sparsities)


def wanted(network: str, schedule: str, sparsity: float, methods: list[str], equal: list[str]) -> list[dict[str, Any]]:
    """The runs of one sparsity; dense runs know none."""
    runs = []
    for method in methods:
        if method == "c-gap random" and network == "lenet":  # two layers: the same as in order
            continue
        for to in equal if method in BASELINES else ["epochs"]:
            of = 0.0 if method == "dense" else sparsity
            runs.append({"network": network, "schedule": schedule, "sparsity": of, "method": method, "equal": to})
    return runs


def train(dataset: Dataset, seed: int, key: dict[str, Any]) -> dict[str, Any]:
    """One row: accuracy and what it cost."""
    make, stem = NETWORKS[key["network"]]
    torch.manual_seed(seed)
    model = make()
    start = time.process_time()
    result = prune(model, dataset, seed, key, stem=stem)
    seconds = time.process_time() - start
    top1 = evaluate_test(result.network, dataset).top1
    row = {**key, "seed": seed, "top1": top1, "validation": result.top1, "epochs": result.epochs}
    row |= {"dense_epochs_of_macs": result.training_macs / result.dense_epoch_macs, "kept": result.masks.density}
    print(json.dumps({**row, "seconds": round(seconds, 1)}), flush=True)
    return row


def prune(model: nn.Module, dataset: Dataset, seed: int, key: dict[str, Any], *, stem: bool) -> PruningResult:
    """Run the method of a row."""
    schedule = SCHEDULES[key["network"], key["schedule"]]
    method, sparsity = key["method"], key["sparsity"]
    if "gap" in method:
        more: dict[str, Any] = {"method": "parallel" if method.startswith("p-gap") else "cyclic"}
        if "time" in method:
            schedule = replace(schedule, rounds=schedule.rounds * schedule.partitions)
        more |= {"distribution": "global"} if "global" in method else {}
        more |= {"partitioning": "random"} if "random" in method else {}
        settings = schedule.settings(sparsity, stem, **more)
        return gap(model, dataset, RECIPE, settings=settings, seed=seed)
    plan = Plan(key["network"], schedule, sparsity)
    equal_macs = key["equal"] == "macs"
    common: dict[str, Any] = {"sparsity": sparsity, "stem": stem}
    if method == "gradual":
        epochs = plan.gradual_of_equal_macs() if equal_macs else plan.epochs
        return gradual_magnitude(model, dataset, RECIPE, settings=GradualSettings(epochs=epochs, **common), seed=seed)
    if method == "static":
        epochs = plan.static_of_equal_macs() if equal_macs else plan.epochs
        return static_masks(model, dataset, RECIPE, settings=StaticSettings(epochs=epochs, **common), seed=seed)
    after = 0 if method == "dense" else schedule.fine_tune_epochs
    before, after = plan.one_shot_of_equal_macs() if equal_macs else (plan.epochs - after, after)
    one_shot = OneShotSettings(train_epochs=before, fine_tune_epochs=after, **common)
    return one_shot_magnitude(model, dataset, RECIPE, settings=one_shot, seed=seed)


@dataclass(frozen=True)
class Plan:
    """Epochs and training MACs of a schedule of C-GaP, and the epochs of others that cost the same."""

    network: str
    schedule: Schedule
    sparsity: float

    @property
    def epochs(self) -> int:
        grown = self.schedule.partitions * self.schedule.epochs_per_step * self.schedule.rounds
        return grown + self.schedule.fine_tune_epochs

    @property
    def dense_epochs(self) -> float:
        """Training MACs of C-GaP over those of an epoch of the whole network."""
        layers, counts = self._layers()
        settings = self.schedule.settings(self.sparsity, NETWORKS[self.network][1])
        total = 0
        for stage in gap_stages(layers, settings, 0):
            kept = {name: count for name, count in counts.items() if name not in stage.dense[0]}
            total += stage.epochs * layers.macs(kept)
        return total / layers.dense_macs

    @property
    def sparse(self) -> float:
        """MACs of the pruned network over those of the whole."""
        layers, counts = self._layers()
        return layers.macs(counts) / layers.dense_macs

    def static_of_equal_macs(self) -> int:
        """Epochs under random masks."""
        return min(round(self.dense_epochs / self.sparse), FACTOR * self.epochs)

    def one_shot_of_equal_macs(self) -> tuple[int, int]:
        """Whole epochs as if the fine-tuning was C-GaP's; the rest makes the fine-tuning up to three times longer."""
        after = self.schedule.fine_tune_epochs
        before = int(self.dense_epochs - after * self.sparse)
        return before, min(round((self.dense_epochs - before) / self.sparse), 3 * after)

    def gradual_of_equal_macs(self) -> int:
        """Epochs whose MACs come nearest."""
        wanted = self.dense_epochs
        return min(range(1, FACTOR * self.epochs + 1), key=lambda epochs: abs(self._gradual(epochs) - wanted))

    def _gradual(self, epochs: int) -> float:
        layers, _ = self._layers()
        share = 1 - layers.other_macs / layers.dense_macs
        changes = pruning_steps(GradualSettings(sparsity=self.sparsity, epochs=epochs), epochs * STEPS)
        densities = [1.0, *(1 - sparsity * share for sparsity in changes.values())]
        return float(np.diff([0, *changes, epochs * STEPS]) @ densities) / STEPS

    def _layers(self) -> tuple[Prunable, dict[str, int]]:
        layers = _prunable(self.network)
        return layers, uniform_counts(layers.sizes, self.sparsity)


@cache
def _prunable(network: str) -> Prunable:
    make, stem = NETWORKS[network]
    return find_prunable(make(), SHAPE, stem=stem)


def report(rows: list[dict[str, Any]], network: str, schedule: str) -> None:
    """Accuracies, and the paired differences of both forms of grow-and-prune to every other run."""
    groups: dict[tuple[float, str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        if (row["network"], row["schedule"]) == (network, schedule):
            groups[row["sparsity"], row["method"], row["equal"]][row["seed"]] = row
    for (sparsity, method, equal), found in sorted(groups.items()):
        of = list(found.values())
        values = [row["top1"] * 100 for row in of]
        facts: dict[str, Any] = {"mean": round(float(np.mean(values)), 2), "epochs": of[0]["epochs"]}
        facts |= {"sd": round(float(np.std(values, ddof=1)), 2) if len(of) > 1 else None, "seeds": sorted(found)}
        facts |= {"dense_epochs_of_macs": round(of[0]["dense_epochs_of_macs"], 2), "kept": round(of[0]["kept"], 4)}
        for ours in ("c-gap", "p-gap"):
            theirs = groups.get((sparsity, ours, "epochs"), {})
            shared = sorted(set(found) & set(theirs))
            if method != ours and len(shared) > 1:
                facts[f"{ours}_minus_this"] = paired([100 * (theirs[s]["top1"] - found[s]["top1"]) for s in shared])
        name = method if method not in BASELINES else f"{method}, equal {equal}"
        emit(f"gap.{network}.{schedule}.{sparsity:g}.{name}", values, "% top-1", **facts)


def report_sizes(network: str, sparsities: list[float]) -> None:
    """Bytes of the packed file; they depend on the sparsity alone."""
    make, stem = NETWORKS[network]
    with tempfile.TemporaryDirectory() as folder:
        for sparsity in sparsities:
            model, layers = make(), find_prunable(make(), SHAPE, stem=stem)
            shapes = {name: tuple(model.get_parameter(name).shape) for name in layers.names}
            masks = random_weights(shapes, sparsity, 0)
            masks.apply_(model)
            size = write_packed(Path(folder) / "packed.safetensors", model, masks)
            parts = {"kept": size.values, "bitmaps": size.bitmaps, "whole": size.whole, "header": size.header}
            emit(f"gap.{network}.{sparsity:g}.packed file", [size.file], "bytes", **parts, dense=size.dense)


def paired(differences: list[float]) -> list[float]:
    """Mean difference and its 95 % t-interval."""
    mean, n = float(np.mean(differences)), len(differences)
    half = float(stats.t.ppf(0.975, n - 1)) * float(np.std(differences, ddof=1)) / math.sqrt(n)
    return [round(mean, 2), round(mean - half, 2), round(mean + half, 2)]


def _find(rows: list[dict[str, Any]], seed: int, key: dict[str, Any]) -> dict[str, Any] | None:
    wanted_row = {**key, "seed": seed}
    return next((row for row in rows if all(row[name] == value for name, value in wanted_row.items())), None)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
