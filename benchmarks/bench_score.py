"""Candidates per second through all gates and the analytic Zen-Score, on the mutants of a real evolution.

An evolution under the limits of ZenNet-1M is run once and its children are recorded, rejected ones included.
Then the recorded stream is replayed from cold caches on one core: counts, gates, score. The baseline, in the
same run, is the same answer from whole layer lists without caches.
"""

from __future__ import annotations

import argparse
import gc
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import _lru_cache_wrapper
from pathlib import Path

import numpy as np
from json_line import emit

import hardware.counts
import predictors.proxies.zen
import search_spaces.expand
from hardware.counts import count
from hardware.lookup import LatencyTable
from predictors.proxies import zen_score, zen_score_of_layers
from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.zen import ZEN

SHAPE, CLASSES = (3, 32, 32), 10
MAX_PARAMS, MAX_MACS, MAX_DEPTH = 1_000_000, 162_000_000, 18
RARE_COLLECTIONS = (10_000, 20, 20)  # scoring makes many tuples and no cycles
POPULATION, CHILDREN, CHUNK, SLOW_CHUNK = 256, 20_000, 1000, 40
MODULES = (search_spaces.expand, hardware.counts, predictors.proxies.zen)


def score_with_gates(arch: Architecture) -> float | None:
    counts = count(arch, SHAPE, CLASSES)
    if counts.params > MAX_PARAMS or counts.macs > MAX_MACS or counts.depth > MAX_DEPTH:
        return None
    return zen_score(arch, SHAPE)


def score_every(arch: Architecture) -> float:
    count(arch, SHAPE, CLASSES)
    return zen_score(arch, SHAPE)


def score_from_layers(arch: Architecture) -> float:
    layers = expand(arch, SHAPE, CLASSES)
    sum(layer.weight_count for layer in layers)
    sum(layer.macs for layer in layers)
    hardware.counts.peak_memory_bytes(layers, SHAPE)
    return zen_score_of_layers(layers)


def record_evolution() -> tuple[list[Architecture], float, float]:
    """Children in order, seconds of CPU, best score."""
    space = ZEN
    rng = np.random.default_rng(0)
    population = [(zen_score(space.seed, SHAPE), space.seed)]
    children = []
    start = time.process_time()
    while len(children) < CHILDREN:
        _, parent = population[rng.integers(len(population))]
        child = space.mutate(parent, rng)
        children.append(child)
        score = score_with_gates(child)
        if score is not None:
            population.append((score, child))
            if len(population) > POPULATION:
                population.remove(min(population, key=lambda member: member[0]))
    return children, time.process_time() - start, max(score for score, _ in population)


def score_with_latency(text: str) -> Callable[[Architecture], object]:
    """Gates, latency estimate, score. Only the speed of the table matters here, so any table serves."""
    table = replace(LatencyTable.from_json(text), input_shape=SHAPE, num_classes=CLASSES)

    def score(arch: Architecture) -> float | None:
        counts = count(arch, SHAPE, CLASSES)
        if counts.params > MAX_PARAMS or counts.macs > MAX_MACS or counts.depth > MAX_DEPTH:
            return None
        return zen_score(arch, SHAPE) if table.estimate(arch).upper_ms < math.inf else None

    return score


def rates(score: Callable[[Architecture], object], archs: list[Architecture], chunk: int) -> list[float]:
    seen = []
    for at in range(0, len(archs) - chunk + 1, chunk):
        start = time.process_time()
        for arch in archs[at : at + chunk]:
            score(arch)
        seen.append(chunk / (time.process_time() - start))
    return seen


def caches() -> dict[str, _lru_cache_wrapper[object]]:
    return {
        f"{module.__name__}.{name}": value
        for module in MODULES
        for name, value in vars(module).items()
        if isinstance(value, _lru_cache_wrapper) and value.__module__ == module.__name__
    }


def clear() -> None:
    """Empty the caches; then keep the recorded stream out of the garbage collector's rounds."""
    for cache in caches().values():
        cache.cache_clear()
    gc.collect()
    gc.freeze()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-table", type=Path, help="a cached table of netwright profile: adds a latency gate")
    table = parser.parse_args().latency_table
    gates = {"gates_then_score": score_with_gates, "gates_and_score_of_all": score_every}
    if table is not None:
        gates["gates_with_latency_then_score"] = score_with_latency(table.read_text())
    children, seconds, best = record_evolution()
    emit("evolution_iterations", [CHILDREN / seconds], "1/s", best_zen=round(best, 3), note="mutation included")
    for threshold in (gc.get_threshold(), RARE_COLLECTIONS):
        gc.set_threshold(*threshold)
        for name, score in gates.items():
            clear()
            seen = rates(score, children, CHUNK)
            facts = {"cold_first_chunk": round(seen[0]), "best_chunk": round(max(seen))}
            emit(name, seen, "candidates/s", gc_threshold=threshold, **facts)
    hits = {name: c.cache_info() for name, c in caches().items()}
    for name, info in hits.items():
        if info.hits + info.misses:
            emit(
                f"cache_hits.{name}",
                [info.hits / (info.hits + info.misses)],
                "fraction",
                entries=info.currsize,
            )
    slow = rates(score_from_layers, children[:: CHILDREN // (10 * SLOW_CHUNK)], SLOW_CHUNK)
    ratio = [float(np.median(seen)) / rate for rate in slow]
    emit(
        "gates_and_score_of_all_over_whole_layer_lists",
        ratio,
        "ratio",
        baseline_per_second=round(np.median(slow)),
    )


if __name__ == "__main__":
    main()
