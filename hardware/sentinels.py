"""Two small networks that are timed beside the others, to see whether the machine itself is disturbed.

One is bound by arithmetic (everything fits the second cache), one by memory (17 MB of weights, each read once a
call). What they show is a flag: a disturbed burst is neither left out nor divided by them, because campaigns chosen
by a sentinel repeat no better than others (docs/latency.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hardware.models import LayerModel
from search_spaces.arch import Architecture, Block

EVERY_S = 0.25  # a reading serves the bursts that begin within this time
RUNS_MS = 2.0  # timed part of one reading of one sentinel
SLOW = 1.10  # a sentinel this much slower than its best of the campaign was disturbed


@dataclass(frozen=True, slots=True)
class Reading:
    """Medians of the two sentinels in milliseconds, or, over their best, how much slower they were."""

    compute_ms: float
    memory_ms: float

    def over(self, best: Reading) -> Reading:
        """The reading as multiples of another one."""
        return Reading(self.compute_ms / best.compute_ms, self.memory_ms / best.memory_ms)


def sentinel_models() -> tuple[LayerModel, LayerModel]:
    """The compute-bound and the memory-bound network."""
    compute = Architecture((Block("conv", 32), Block("conv", 32), Block("conv", 32)))
    memory = Architecture((Block("conv", 512),))
    return (
        LayerModel.of(compute, (3, 16, 16), 10, "compute-bound sentinel"),
        LayerModel.of(memory, (3, 4, 4), 8192, "memory-bound sentinel"),
    )


def best_of(readings: Iterable[Reading]) -> Reading | None:
    """The lowest time of each sentinel; None of none."""
    pairs = [(reading.compute_ms, reading.memory_ms) for reading in readings]
    return Reading(*map(min, zip(*pairs, strict=True))) if pairs else None


def disturbed(slower: Reading) -> bool:
    """Whether either sentinel was slow, given as multiples of its best."""
    return max(slower.compute_ms, slower.memory_ms) > SLOW
