"""Ranking of stand-alone networks by a supernet, one ingredient of its training changed at a time.

    python benchmarks/bench_supernet.py train scores.jsonl [--rows default uniform ...] [--seeds 0 1] [--epochs 6]
    python benchmarks/bench_supernet.py table scores.jsonl labels.jsonl

``train`` trains a supernet of resnet20-channels on the images of ``benchmarks/small_fashion.py`` for each row and seed,
scores the networks of ``benchmarks/train_standalone.py``, uniform and spread, by their loss on the 4,000 validation
images and appends a line; called again, it goes on. ``table`` holds the negative losses against the labels, which are
accuracies on test images that no supernet sees: Kendall's tau with its bootstrap interval over networks, its mean
inside terciles of MACs, and the paired difference to ranking by parameters and by MACs alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from json_line import emit
from small_fashion import load
from torch.nn import functional as F
from train_standalone import random_networks, spread_networks

from hardware.counts import count
from nas.train.evaluate import Normaliser, to_tensors
from nas.train.images import Dataset
from nas.train.recalibration import recalibrated
from nas.train.supernet.recipe import SupernetRecipe
from nas.train.supernet.training import train_supernet
from predictors.rank import draw, interval, kendall_of, noise_ceiling, tau_in_bins_of
from search_spaces import SPACES
from search_spaces.arch import Architecture
from search_spaces.sharing import Sharing
from search_spaces.space import GridSpace
from search_spaces.supernet import Supernet

SPACE, NETWORKS, SPREAD, SIDE = "resnet20-channels", 48, 40, 14
TERCILES = 3
SHARED = {"batch_size": 64, "learning_rate": 0.1, "warmup_epochs": 0.5}
ROWS: dict[str, dict[str, Any]] = {  # name: what differs from the default
    "default": {},
    "fair-sandwich": {"recipe": {"sampler": "fair-sandwich"}},
    "no distillation": {"recipe": {"distillation": "none"}},
    "uniform": {"recipe": {"sampler": "uniform", "distillation": "none"}},
    "fair": {"recipe": {"sampler": "fair", "distillation": "none"}},
    "narrow": {"recipe": {"progressive": "narrow"}},
    "capacity 2": {"capacity": 2.0},
    "private norms": {"sharing": {"norms": "width"}},
    "private norms, classifier": {"sharing": {"norms": "width", "classifier": "width"}},
    "weight decay": {"recipe": {"weight_decay": 5e-4}},
    "shrinking": {"recipe": {"progressive": "shrinking", "teacher_epochs": 1}},
    "prior macs": {"recipe": {"prior": "macs"}},
    "8 networks": {"recipe": {"subnets": 8}},
    "fair-sandwich, 8 networks, private": {
        "recipe": {"sampler": "fair-sandwich", "subnets": 8},
        "sharing": {"norms": "width", "classifier": "width"},
    },
}


def main() -> None:
    """Train and score, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("train", "table"))
    parser.add_argument("scores", type=Path)
    parser.add_argument("labels", type=Path, nargs="?")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=6)
    asked = parser.parse_args()
    if asked.part == "train":
        train(asked.scores, asked.rows, asked.seeds, asked.epochs)
    elif asked.labels is None:
        parser.error("table: which labels?")
    else:
        table(asked.scores, asked.labels)


def train(path: Path, rows: list[str], seeds: list[int], epochs: int) -> None:
    """Append the losses of all networks for each row and seed that the file does not hold."""
    torch.set_num_threads(1)
    done = {(row["row"], row["seed"], row["epochs"]) for row in _lines(path)}
    dataset, networks = load(), judged_networks()
    for seed in seeds:
        for name in rows:
            if (name, seed, epochs) in done:
                continue
            found = run(dataset, networks, ROWS[name], seed=seed, epochs=epochs, every_mode=name == "default")
            with path.open("a") as file:
                file.write(json.dumps({"row": name, "seed": seed, "epochs": epochs, **found}) + "\n")
            print(name, seed, round(found["train_seconds"]), "s", flush=True)


def judged_networks() -> list[Architecture]:
    """The uniform random networks, then those spread from narrow to wide."""
    return [*random_networks(SPACE, NETWORKS), *spread_networks(SPACE, SPREAD)]


def run(
    dataset: Dataset, networks: list[Architecture], row: dict[str, Any], *, seed: int, epochs: int, every_mode: bool
) -> dict[str, Any]:
    """Train one supernet and score the networks with it."""
    space = SPACES[SPACE]
    assert isinstance(space, GridSpace)
    sharing = Sharing(**row.get("sharing", {}))
    supernet = Supernet(
        space,
        num_classes=dataset.num_classes,
        in_channels=1,
        sharing=sharing,
        capacity=row.get("capacity", 1.0),
        seed=seed,
    )
    recipe = SupernetRecipe.from_dict({"epochs": epochs, **SHARED, **row.get("recipe", {})})
    start = time.process_time()
    curve = train_supernet(supernet, dataset, recipe, seed=seed)
    middle = time.process_time()
    modes = ("recalibrated", "batch", "stored") if every_mode else ("recalibrated",)
    losses = {mode: score(supernet, dataset, networks, mode) for mode in modes}
    tops = {"largest_top1": curve[-1].largest_top1, "smallest_top1": curve[-1].smallest_top1}
    return {
        "losses": losses,
        **tops,
        "train_seconds": middle - start,
        "score_seconds": (time.process_time() - middle) / len(modes),
    }


def score(supernet: Supernet, dataset: Dataset, networks: list[Architecture], mode: str) -> list[float]:
    """Mean loss of each network on the validation images.

    Args:
        supernet: trained.
        dataset: whose training images give the statistics.
        networks: to score.
        mode: statistics of norms: "recalibrated" for each network on 1,024 training images, those of the "batch", or
            the "stored" ones, which training left behind.
    """
    normalise = Normaliser(dataset)
    calibration = torch.split(normalise(to_tensors(dataset.train)[0][:1024]), 256)
    images, labels = to_tensors(dataset.validation)
    batches = list(zip(torch.split(normalise(images), 500), torch.split(labels, 500), strict=True))
    losses = []
    supernet.eval()
    with torch.inference_mode():
        for arch in networks:
            statistics = recalibrated(supernet, arch, calibration) if mode == "recalibrated" else {}
            tensors = {**supernet.tensors(arch), **statistics}
            total = 0.0
            for x, y in batches:
                logits = supernet.run(arch, x, tensors, norms="batch" if mode == "batch" else "given")
                total += float(F.cross_entropy(logits, y, reduction="sum"))
            losses.append(total / len(labels))
    return losses


def table(scores: Path, labels: Path) -> None:
    """One JSON line for each row: tau of each seed, their mean, and what it is above costs and above the default."""
    networks = judged_networks()
    place = {arch.digest: at for at, arch in enumerate(networks)}
    by_network = defaultdict(list)
    rows = [{**row, "network": place[row["digest"]]} for row in _lines(labels) if row["digest"] in place]
    for row in rows:
        by_network[row["network"]].append(row["top1"])
    known = sorted(by_network)
    truth = np.array([np.mean(by_network[i]) for i in known])
    counts = [count(networks[i], (1, SIDE, SIDE), 10) for i in known]
    costs = {"params": np.array([float(c.params) for c in counts]), "macs": np.array([float(c.macs) for c in counts])}
    _emit_ceiling(rows)
    for name, cost in costs.items():
        emit_row(f"supernet.ranking.baseline {name}", [cost], truth, costs)
    runs: dict[tuple[str, str, int], dict[int, np.ndarray]] = defaultdict(dict)
    seconds = {}
    for row in _lines(scores):
        for mode, losses in row["losses"].items():
            if len(losses) <= max(known):  # scored before these networks were judged
                continue
            runs[row["row"], mode, row["epochs"]][row["seed"]] = -np.array(losses)[known]
            seconds[row["row"], row["epochs"]] = round(row["train_seconds"])
    for (name, mode, epochs), found in runs.items():
        default = runs.get(("default", "recalibrated", epochs), {})
        seeds = sorted(set(found) & set(default))
        facts: dict[str, Any] = {"epochs": epochs, "train_seconds": seconds[name, epochs], "seeds": sorted(found)}
        if (name, mode) != ("default", "recalibrated") and seeds:
            facts["minus_default"] = _gain([found[i] for i in seeds], [default[i] for i in seeds], truth)
            facts["minus_default_seeds"] = seeds
        emit_row(f"supernet.ranking.{name} ({mode})", list(found.values()), truth, costs, **facts)


def emit_row(
    name: str, values: list[np.ndarray], truth: np.ndarray, costs: dict[str, np.ndarray], **facts: object
) -> None:
    """The mean over seeds of tau, with intervals over networks, so that rows of one and of more seeds compare.

    The tau of the mean loss of several seeds stands apart: it is that of an ensemble, which costs as many trainings.
    """
    draws = draw(len(truth))
    whole = interval(lambda counts: _mean_tau(values, truth, counts), draws)
    inside = interval(
        lambda counts: np.mean([tau_in_bins_of(v, truth, costs["macs"], counts, TERCILES) for v in values], axis=0),
        draws,
    )
    ensemble = interval(lambda counts: _mean_tau([np.mean(values, axis=0)], truth, counts), draws)
    emit(
        name,
        [float(_mean_tau([value], truth, np.ones((1, len(truth))))[0]) for value in values],
        "Kendall's tau",
        tau=_rounded(whole),
        tau_in_terciles=_rounded(inside),
        **({"tau_of_mean_loss": _rounded(ensemble)} if len(values) > 1 else {}),
        **{f"minus_{cost}": _gain(values, [by], truth) for cost, by in costs.items()},
        networks=len(truth),
        **facts,
    )


def _mean_tau(values: list[np.ndarray], truth: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over the lists of values of Kendall's tau, for every row of counts."""
    return np.asarray(np.mean([kendall_of(value, truth, counts) for value in values], axis=0))


def _gain(values: list[np.ndarray], others: list[np.ndarray], truth: np.ndarray) -> list[float]:
    """How much higher tau is than that of others, on the same resamples."""
    return _rounded(
        interval(lambda counts: _mean_tau(values, truth, counts) - _mean_tau(others, truth, counts), draw(len(truth)))
    )


def _emit_ceiling(rows: list[dict[str, Any]]) -> None:
    ceiling = noise_ceiling([row["top1"] for row in rows], [row["network"] for row in rows])
    if ceiling is not None:
        emit(
            "supernet.ranking.ceiling of the labels",
            [ceiling.kendall.value],
            "Kendall's tau",
            tau=_rounded(ceiling.kendall),
            noise_sd=_rounded(ceiling.noise_sd, 5),
            labels=len(rows),
        )


def _rounded(found: Any, digits: int = 3) -> list[float]:
    """Value, low, high."""
    return [round(value, digits) for value in (found.value, found.low, found.high)]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
