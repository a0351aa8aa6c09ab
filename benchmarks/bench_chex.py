"""Channel exploration at half the multiply-accumulates, beside the whole network and uniform width from scratch.

    python benchmarks/bench_chex.py [--parts accuracy latency ablations schedule] [--log chex.jsonl]
        [--train 3000] [--epochs 12] [--seeds 5] [--macs 0.5]

Networks are ``small_resnet.SmallResNet`` of width 16 on Fashion-MNIST, 28 x 28. Arms of a seed share initial weights
(uniform width has new ones of its size), images, batch order and epochs; training multiply-accumulates are printed.
Accuracies are on the 10,000 test images, looked at once for each trained network. Parts:

accuracy   dense, chex and uniform; paired differences with their t-interval and the two claims, each true or false:
           chex within 1.5 points of dense, and not more than 1 point worse than uniform (lower end of the interval).
latency    files of ONNX Runtime, one thread, interleaved: whole and sliced network of the first seed, and of width 64.
ablations  chex with one ingredient changed, ``--ablation-seeds`` seeds, against chex itself.
schedule   chex and uniform for ``--long`` times as many epochs, first ``--ablation-seeds`` seeds.

``--log`` keeps every trained arm as a line and goes on from there when called again.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from json_line import emit, skip
from scipy import stats
from small_resnet import SmallResNet
from torch import nn

from hardware.compare import Contestant, compare
from hardware.device import Device
from hardware.models import OnnxFile
from hardware.pairs import PairProtocol
from nas.compress.chex import ChexSettings, chex
from nas.compress.coupling import coupled_channels
from nas.compress.gap.result import PASSES, images_per_epoch
from nas.compress.sliced_cost import SlicedCost
from nas.compress.slicing import sliced
from nas.compress.slimming import uniform_keep, uniform_slimming
from nas.train.data import Dataset, InvalidDataset, Split, load_dataset
from nas.train.evaluate import evaluate_test
from nas.train.fit import fit
from nas.train.recipe import Recipe

VALIDATION = 1000
SHAPE = (1, 28, 28)
NEAR_DENSE, MARGIN = 1.5, 1.0  # points
ARMS: dict[str, dict[str, Any]] = {  # of chex: what differs from the default
    "chex": {},
    "d0 = 0": {"regrow": 0.0},
    "random regrowth": {"regrowth": "random"},
    "momentum kept": {"reset_momentum": False},
    "selection by l1": {"selection": "l1"},
    "explore half": {"explore": 0.5},
    "relative scales": {"signal": "relative"},
    "scales as published": {"signal": "norms"},
}
ABLATIONS = [name for name in ARMS if name != "chex"]


@dataclass(frozen=True)
class Setting:
    """What all arms share."""

    dataset: Dataset
    epochs: int
    macs: float


class Log:
    """Trained arms, in a file where one is given."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self.rows = {self.key(row): row for row in map(json.loads, lines)}

    @staticmethod
    def key(row: dict[str, Any]) -> tuple[object, ...]:
        return tuple(row[name] for name in ("arm", "seed", "epochs", "train", "macs"))

    def row(self, arm: str, seed: int, setting: Setting) -> dict[str, Any]:
        """Train the arm, unless it has been."""
        asked = {
            "arm": arm,
            "seed": seed,
            "epochs": setting.epochs,
            "train": len(setting.dataset.train),
            "macs": setting.macs,
        }
        if self.key(asked) not in self.rows:
            row = {**asked, **train(arm, seed, setting)}
            self.rows[self.key(asked)] = row
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        return self.rows[self.key(asked)]


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=["accuracy", "latency"])
    parser.add_argument("--log", type=Path)
    parser.add_argument("--train", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ablation-seeds", type=int, default=2)
    parser.add_argument("--long", type=int, default=3)
    parser.add_argument("--macs", type=float, default=0.5)
    parser.add_argument("--arms", nargs="+", choices=ABLATIONS, default=ABLATIONS, help="ablations")
    parser.add_argument("--pairs", type=int, default=30, help="of bursts, for latency")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    try:
        dataset = few_images(asked.train)
    except InvalidDataset as error:
        skip("chex", str(error))
        return
    for part in asked.parts:
        PARTS[part](Log(asked.log), Setting(dataset, asked.epochs, asked.macs), asked)


def few_images(train: int) -> Dataset:
    """Fashion-MNIST with its first training and validation images."""
    whole = load_dataset("fashion-mnist")
    first = {"train": (whole.train, train), "validation": (whole.validation, VALIDATION)}
    cut = {name: Split(split.images[:n], split.labels[:n]) for name, (split, n) in first.items()}
    return replace(whole, name=f"fashion-mnist-{train}", **cut)


def train(arm: str, seed: int, setting: Setting) -> dict[str, Any]:
    """Train one network; its test accuracy in percent, its size and what its training cost."""
    torch.manual_seed(seed)
    model, recipe = SmallResNet(), Recipe(epochs=setting.epochs)
    cost = SlicedCost(model, coupled_channels(model, SHAPE))
    start, work = time.process_time(), PASSES * setting.epochs * images_per_epoch(setting.dataset, recipe)
    network: nn.Module = copy.deepcopy(model)
    facts: dict[str, Any] = {"share": 1.0, "training_macs": work * cost.macs({})}
    if arm == "dense":
        fit(network, setting.dataset, recipe, seed=seed)
    elif arm == "uniform":
        slim = uniform_slimming(model, setting.dataset, recipe, macs=setting.macs, seed=seed, start="scratch")
        network = slim.network
        facts = {"share": slim.macs_after / slim.macs_before, "training_macs": work * slim.macs_after}
        facts["widths"] = [int(mask.sum()) for mask in slim.keep.values()]
    else:
        settings = ChexSettings(macs=setting.macs, **ARMS[arm])
        found = chex(model, setting.dataset, recipe, settings=settings, seed=seed)
        network = found.network
        facts = {"share": found.macs_after / found.macs_before, "training_macs": found.training_macs}
        facts["widths"] = [kept for kept, _ in found.widths.values()]
    seconds = time.process_time() - start
    return {"top1": 100 * evaluate_test(network, setting.dataset).top1, **facts, "cpu_seconds": round(seconds, 1)}


def rows_of(arm: str, seeds: int, log: Log, setting: Setting) -> list[dict[str, Any]]:
    return [log.row(arm, seed, setting) for seed in range(seeds)]


def emit_arm(name: str, rows: list[dict[str, Any]], setting: Setting) -> None:
    """Test accuracy of an arm, and its cost."""
    values = [row["top1"] for row in rows]
    emit(
        f"chex.{name}",
        values,
        "% test accuracy",
        mean=round(float(np.mean(values)), 2),
        sd=round(float(np.std(values, ddof=1)), 2) if len(values) > 1 else None,
        seeds=[round(value, 2) for value in values],
        macs_share=[round(row["share"], 4) for row in rows],
        widths=[row.get("widths") for row in rows],
        training_macs=round(float(np.mean([row["training_macs"] for row in rows])) / 1e9),
        training_macs_unit="GMAC a network",
        cpu_seconds=round(sum(row["cpu_seconds"] for row in rows)),
        epochs=setting.epochs,
        train_images=len(setting.dataset.train),
    )


def emit_difference(name: str, first: list[dict[str, Any]], second: list[dict[str, Any]], **claim: float) -> None:
    """Paired difference in points with its 95 % t-interval; a claim is about its lower end or its mean."""
    found = np.array([a["top1"] - b["top1"] for a, b in zip(first, second, strict=True)])
    mean, facts = float(found.mean()), {}
    if len(found) > 1:
        half = float(stats.t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
        facts["t_interval"] = [round(mean - half, 2), round(mean + half, 2)]
        if "not_below" in claim:
            facts["claim"] = {"lower end at least": -claim["not_below"], "holds": mean - half >= -claim["not_below"]}
    if "mean_not_below" in claim:
        facts["claim"] = {"mean at least": -claim["mean_not_below"], "holds": mean >= -claim["mean_not_below"]}
    emit(f"chex.{name}", found.tolist(), "points, paired", mean=round(mean, 2), pairs=found.round(2).tolist(), **facts)


def accuracy(log: Log, setting: Setting, asked: argparse.Namespace) -> None:
    """The two claims."""
    arms = {arm: rows_of(arm, asked.seeds, log, setting) for arm in ("dense", "chex", "uniform")}
    for arm, rows in arms.items():
        emit_arm(arm, rows, setting)
    emit_difference("chex minus dense", arms["chex"], arms["dense"], mean_not_below=NEAR_DENSE)
    emit_difference("chex minus uniform", arms["chex"], arms["uniform"], not_below=MARGIN)


def ablations(log: Log, setting: Setting, asked: argparse.Namespace) -> None:
    """One ingredient at a time."""
    seeds = asked.ablation_seeds
    for arm in asked.arms:
        rows = rows_of(arm, seeds, log, setting)
        emit_arm(arm, rows, setting)
        emit_difference(f"{arm} minus chex", rows, rows_of("chex", seeds, log, setting))


def schedule(log: Log, setting: Setting, asked: argparse.Namespace) -> None:
    """Whether a longer training changes the gap."""
    longer, seeds = replace(setting, epochs=asked.long * setting.epochs), asked.ablation_seeds
    arms = {arm: rows_of(arm, seeds, log, longer) for arm in ("chex", "uniform")}
    for arm, rows in arms.items():
        emit_arm(f"{arm}, {longer.epochs} epochs", rows, longer)
    emit_difference(f"chex minus uniform, {longer.epochs} epochs", arms["chex"], arms["uniform"])


def latency(log: Log, setting: Setting, asked: argparse.Namespace) -> None:
    """Files of the whole and the sliced network timed in turn; the wide one is sliced to equal shares, untrained."""
    widths = log.row("chex", 0, setting)["widths"]
    with tempfile.TemporaryDirectory() as folder:
        for name, width, stride in (("w16", 16, 2), ("w64", 64, 2), ("w64, stem stride 1", 64, 1)):
            torch.manual_seed(0)
            model = SmallResNet(width, stem_stride=stride)
            coupling = coupled_channels(model, SHAPE)
            cost = SlicedCost(model, coupling)
            keep = uniform_keep(model, coupling, ChexSettings(macs=setting.macs, round_to=8), cost)
            if width == 16:
                keep = {n: torch.arange(len(mask)) < kept for (n, mask), kept in zip(keep.items(), widths, strict=True)}
            small = sliced(model, coupling, keep)
            place = Path(folder)
            files = [write(small, place / f"{name}, sliced.onnx"), write(model, place / f"{name}, whole.onnx")]
            first, second = (Contestant(OnnxFile(file), Device()) for file in files)
            found = compare(first, second, PairProtocol(pairs=asked.pairs))
            emit(
                f"chex.onnx runtime speed-up, {name}",
                [whole / less for less, whole in found.pairs_ms],
                "times as fast",
                ms={"sliced": round(found.first.latency_ms, 3), "whole": round(found.second.latency_ms, 3)},
                macs_share=round(cost.macs(keep) / cost.macs({}), 4),
                widths=[int(mask.sum()) for mask in keep.values()],
                bytes=[file.stat().st_size for file in files],
            )


def write(model: nn.Module, path: Path) -> Path:
    """An ONNX file of a network for one image."""
    torch.onnx.export(model.eval(), (torch.zeros(1, *SHAPE),), path, dynamo=False, input_names=["images"])
    return path


PARTS = {"accuracy": accuracy, "latency": latency, "ablations": ablations, "schedule": schedule}

if __name__ == "__main__":
    main()
