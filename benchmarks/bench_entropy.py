"""Entropy scores: networks per second with counts, and how they rank networks.

Speed: the mutants of an evolution under limits on params and MACs, rejected ones included, replayed from cold caches
on one core, as in ``bench_score``. The baseline, in the same run, is whole layer lists without caches. Rank: the
closed form against the noise forward and Zen-Score on random networks, and all scores against the accuracies of the
6,561 networks of NAS-Bench-Macro (in the folder that NETWRIGHT_DATA names, or ../shared/data; else skipped).
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import time
from collections.abc import Callable, Sequence
from functools import _lru_cache_wrapper
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from json_line import REPOSITORY, emit, skip
from scipy.stats import kendalltau, spearmanr
from torch.nn.functional import conv2d

import hardware.counts
import predictors.proxies.entropy
import search_spaces.expand
from hardware.counts import count
from predictors.proxies import ProxyFailed, zen_score
from predictors.proxies.deepmad import deepmad_entropy_of_layers, deepmad_score, effectiveness, effectiveness_of_layers
from predictors.proxies.entropy import MULTI_SCALE, mad_score, mad_score_of_layers, stages, stages_of_layers
from predictors.proxies.entropy_forward import NoiseSampling, mad_score_measured
from predictors.proxies.quantization_entropy import Bits, quantization_entropy
from search_spaces import SPACES, nas_bench_macro
from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.layers import ADD, CONV, INPUT, Layer, Shape

Score = Callable[[Architecture, Shape], object]
MODULES = (search_spaces.expand, hardware.counts, predictors.proxies.entropy)
RARE_COLLECTIONS = (10_000, 20, 20)  # scoring makes many tuples and no cycles
POPULATION, CHILDREN, CHUNK, SLOW_CHUNK, RESAMPLES = 256, 20_000, 1000, 20, 1000
MACRO = "nas_bench_macro/nas_bench_macro_cifar10.csv.gz"


class Task(NamedTuple):
    space: str
    shape: Shape
    classes: int
    max_params: int
    max_macs: int


TASKS = (
    Task("zen", (3, 32, 32), 10, 1_000_000, 162_000_000),
    Task("genet", (3, 224, 224), 1000, 25_550_000, 4_130_000_000),
)


def all_entropies(arch: Architecture, shape: Shape) -> None:
    mad_score(arch, shape)
    mad_score(arch, shape, weights=MULTI_SCALE)
    deepmad_score(arch, shape)
    effectiveness(arch, shape)


def eight_bits(arch: Architecture, shape: Shape) -> float:
    return quantization_entropy(arch, shape, [Bits(8, 8)] * stages(arch, shape)[-1].convs)


SCORES: dict[str, Score] = {
    "mad": mad_score,
    "mad_multiscale": lambda arch, shape: mad_score(arch, shape, weights=MULTI_SCALE),
    "deepmad": deepmad_score,
    "rho": effectiveness,
    "mad_multiscale_deepmad_rho": all_entropies,
    "qe_score": eight_bits,
}


def record_evolution(task: Task) -> list[Architecture]:
    """Children in order of an evolution that maximises the entropy of the last map."""
    space, rng = SPACES[task.space], np.random.default_rng(0)
    population: list[tuple[float, Architecture]] = []
    children = []
    while len(children) < CHILDREN:
        parent = population[rng.integers(len(population))][1] if population else None
        child = space.sample(rng) if parent is None else space.mutate(parent, rng)
        children.append(child)
        counts = count(child, task.shape, task.classes)
        if counts.params <= task.max_params and counts.macs <= task.max_macs:
            population.append((mad_score(child, task.shape), child))
            if len(population) > POPULATION:
                population.remove(min(population, key=lambda member: member[0]))
    return children


def from_layers(arch: Architecture, task: Task) -> None:
    layers = expand(arch, task.shape, task.classes)
    sum(layer.weight_count for layer in layers)
    sum(layer.macs for layer in layers)
    hardware.counts.peak_memory_bytes(layers, task.shape)
    mad_score_of_layers(layers)
    deepmad_entropy_of_layers(layers)
    effectiveness_of_layers(layers)


def rates(run: Callable[[Architecture], object], archs: Sequence[Architecture], chunk: int) -> list[float]:
    seen = []
    for at in range(0, len(archs) - chunk + 1, chunk):
        start = time.process_time()
        for arch in archs[at : at + chunk]:
            run(arch)
        seen.append(chunk / (time.process_time() - start))
    return seen


def clear() -> None:
    """Empty the caches; then keep the recorded stream out of the garbage collector's rounds."""
    for module in MODULES:
        for value in vars(module).values():
            if isinstance(value, _lru_cache_wrapper) and value.__module__ == module.__name__:
                value.cache_clear()
    gc.collect()
    gc.freeze()


def counted(score: Score, task: Task) -> Callable[[Architecture], None]:
    def run(arch: Architecture) -> None:
        count(arch, task.shape, task.classes)
        score(arch, task.shape)

    return run


def speed(task: Task) -> None:
    children = record_evolution(task)
    gc.set_threshold(*RARE_COLLECTIONS)
    for name, score in SCORES.items():
        try:
            score(children[0], task.shape)
        except ProxyFailed as error:
            skip(f"{task.space}.{name}", str(error))
            continue
        clear()
        seen = rates(counted(score, task), children, CHUNK)
        facts = {"cold_first_chunk": round(seen[0]), "best_chunk": round(max(seen))}
        emit(f"{task.space}.counts_and_{name}", seen, "networks/s", gc_threshold=RARE_COLLECTIONS, **facts)
        alone = rates(lambda arch, score=score: score(arch, task.shape), children, CHUNK)
        emit(f"{task.space}.{name}_alone_again", alone, "networks/s", gc_threshold=RARE_COLLECTIONS)
    slow = rates(lambda arch: from_layers(arch, task), children[:: CHILDREN // (10 * SLOW_CHUNK)], SLOW_CHUNK)
    emit(f"{task.space}.counts_and_scores_from_whole_layer_lists", slow, "networks/s")


def agreement(task: Task, networks: int) -> None:
    """Closed form, noise forward and Zen-Score on random networks."""
    space, rng = SPACES[task.space], np.random.default_rng(1)
    archs = [space.sample(rng) for _ in range(networks)]
    closed = np.array([mad_score(arch, task.shape) for arch in archs])
    generator = torch.Generator().manual_seed(0)
    sampling = NoiseSampling(batch=4, repeat=1)
    measured = np.array([mad_score_measured(a, task.shape, sampling, generator=generator).mean for a in archs])
    counts = [count(arch, task.shape, task.classes) for arch in archs]
    others = {
        "noise_forward": measured,
        "zen_score": np.array([zen_score(arch, task.shape) for arch in archs]),
        "deepmad": np.array([deepmad_score(arch, task.shape) for arch in archs]),
        "convs": np.array([c.convs for c in counts]),
        "params": np.array([c.params for c in counts]),
        "macs": np.array([c.macs for c in counts]),
    }
    for name, values in others.items():
        error = {}
        if name == "noise_forward":
            relative = 100 * (closed / measured - 1)
            error = {
                "error_percent_median": round(float(np.median(relative)), 2),
                "error_percent_range": [round(float(relative.min()), 2), round(float(relative.max()), 2)],
            }
        facts = {"networks": networks, "bootstrap_95": interval(closed, values), **error}
        emit(f"{task.space}.mad_with_{name}", [float(spearmanr(closed, values).statistic)], "Spearman", **facts)


def noise_through(layers: Sequence[Layer], seed: int, *, links: bool) -> float:
    """Log deviation of the last map of a linear network of N(0, 1) weights, with or without residual links."""
    generator = torch.Generator().manual_seed(seed)
    values = {INPUT: torch.randn(4, *layers[0].in_shape, generator=generator, dtype=torch.float64)}
    for at, layer in enumerate(layers):
        value = values[layer.inputs[0]]
        if layer.op == CONV:
            size = (layer.channels, layer.in_channels // layer.groups, layer.kernel, layer.kernel)
            weight = torch.randn(size, generator=generator, dtype=torch.float64)
            value = conv2d(value, weight, None, layer.stride, layer.padding, 1, layer.groups)
        elif layer.op == ADD and links:
            value = value + values[layer.inputs[1]]
        values[at] = value
    return math.log(values[len(layers) - 1].std().item())


def effect_of_links(networks: int) -> None:
    """How much residual links change the entropy of the linear network, weights and images being equal."""
    space, rng = SPACES["genet-small"], np.random.default_rng(2)
    nets = [expand(space.sample(rng), (3, 32, 32)) for _ in range(networks)]
    changes = [noise_through(n, i, links=True) - noise_through(n, i, links=False) for i, n in enumerate(nets)]
    largest = round(float(np.abs(changes).max()), 5)
    emit("genet-small.effect_of_residual_links", np.abs(changes).tolist(), "nats", largest=largest)


def interval(ours: np.ndarray, other: np.ndarray) -> list[float]:
    """95 % bootstrap interval of Spearman's coefficient."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(ours), (RESAMPLES, len(ours)))
    found = [spearmanr(ours[pick], other[pick]).statistic for pick in picks]
    return [round(float(value), 4) for value in np.percentile(found, (2.5, 97.5))]


def macro(path: Path) -> None:
    """Rank correlation with the accuracy of every network of NAS-Bench-Macro."""
    table = pd.read_csv(path, dtype={"arch": str})
    nets = [expand(nas_bench_macro.read(f"macro:{code}")[0], (3, 32, 32), 10) for code in table["arch"]]
    params = np.array([sum(layer.weight_count for layer in net) for net in nets])
    macs = np.array([sum(layer.macs for layer in net) for net in nets])
    if not ((params == table["params"]) & (macs == table["flops"])).all():
        raise SystemExit(f"{path}: the networks built have other params or MACs than the table states")
    scores = {
        "mad": [mad_score_of_layers(net) for net in nets],
        "mad_multiscale": [mad_score_of_layers(net, weights=MULTI_SCALE) for net in nets],
        "deepmad_entropy": [deepmad_entropy_of_layers(net) for net in nets],
        "minus_rho": [-effectiveness_of_layers(net) for net in nets],
        "convs": [stages_of_layers(net)[-1].convs for net in nets],
        "params": params,
        "macs": macs,
    }
    accuracy = table["mean_acc"].to_numpy()
    good = accuracy > np.median(accuracy)
    for name, values in scores.items():
        ours = np.asarray(values, dtype=float)
        emit(
            f"nas_bench_macro.{name}",
            [float(spearmanr(ours, accuracy).statistic)],
            "Spearman with accuracy",
            bootstrap_95=interval(ours, accuracy),
            kendall=round(float(kendalltau(ours, accuracy).statistic), 3),
            spearman_best_half=round(float(spearmanr(ours[good], accuracy[good]).statistic), 3),
            networks=len(ours),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=100, help="random networks for the noise forward")
    networks = parser.parse_args().networks
    torch.set_num_threads(1)
    for task in TASKS:
        speed(task)
    agreement(TASKS[0], networks)
    effect_of_links(networks)
    folder = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data")
    if (folder / MACRO).exists():
        macro(folder / MACRO)
    else:
        skip("nas_bench_macro", f"set NETWRIGHT_DATA to the folder with {MACRO}")


if __name__ == "__main__":
    main()
