"""Networks that a searched one must beat at equal latency: random, largest, and uniformly scaled classics."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nas.gates import Gates
from nas.protocols import SearchSpace
from nas.records import Candidate, Failure
from nas.store import RunStore
from search_spaces.arch import Architecture, Block

SAMPLES = 4_000
NEAR = 0.8  # a random network is comparable from this share of the latency on
WIDTHS = (8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256)
DEPTHS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A network to compare with.

    Attributes:
        name: for the report.
        arch: the design.
        predicted_ms: mean of the estimate.
    """

    name: str
    arch: Architecture
    predicted_ms: float


def random_feasible(
    space: SearchSpace, gates: Gates, winner: Architecture, latency_ms: float, *, seed: int
) -> Baseline | None:
    """The first sample of the space between 80 and 100 % of a latency; else the slowest below it; not the winner."""
    rng = np.random.default_rng((seed, 0x5A4D))
    slowest: Baseline | None = None
    for i in range(SAMPLES):
        arch = space.sample(rng)
        checked = gates.check(Candidate(i, arch))
        if isinstance(checked, Failure) or checked.metrics["latency_ms"] > latency_ms or arch == winner:
            continue
        if slowest is None or checked.metrics["latency_ms"] > slowest.predicted_ms:
            slowest = Baseline("random feasible", arch, checked.metrics["latency_ms"])
        if slowest.predicted_ms >= NEAR * latency_ms:
            break
    return slowest


def largest_feasible(store: RunStore, winner: Architecture, latency_ms: float) -> Baseline | None:
    """The candidate of the run with the most parameters among those no slower than a latency; not the winner."""
    others = (row for row in store.table() if row["digest"] != winner.digest)
    rows = [row for row in others if row["latency_ms"] is not None and row["latency_ms"] <= latency_ms]
    if not rows:
        return None
    row = max(rows, key=lambda row: (row["params"], -row["id"]))
    return Baseline("largest feasible", store.result(row["id"]).candidate.arch, row["latency_ms"])


def scaled_resnets(strides: tuple[int, ...]) -> list[Architecture]:
    """ResNets of basic blocks: 1 to 3 per stage, widths w, 2w, 4w … from 8 to 256 at the first stage."""
    return [_resnet(width, depth, strides) for depth in DEPTHS for width in WIDTHS]


def scaled_mobilenets(strides: tuple[int, ...]) -> list[Architecture]:
    """MobileNetV2-like networks: inverted residuals of expansion 3, otherwise scaled like the ResNets."""
    return [_mobilenet(width, depth, strides) for depth in DEPTHS for width in WIDTHS]


def _resnet(width: int, depth: int, strides: tuple[int, ...]) -> Architecture:
    widths = [width * 2**i for i in range(len(strides) - 1)]
    body = [Block("genet_xx", w, 3, s, depth, w) for w, s in zip(widths, strides[1:], strict=True)]
    return Architecture((Block("conv", width, 3, strides[0]), *body))


def _mobilenet(width: int, depth: int, strides: tuple[int, ...]) -> Architecture:
    widths = [width * 2**i for i in range(len(strides) - 1)]
    body = [Block("genet_dw", w, 3, s, depth, 3 * w) for w, s in zip(widths, strides[1:], strict=True)]
    return Architecture((Block("conv", width, 3, strides[0]), *body, Block("conv", 4 * widths[-1], 1)))


def strides_of(arch: Architecture) -> tuple[int, ...]:
    """The stem's stride, 1 for the first stage, then one 2 for every later halving of an architecture."""
    stem, *later = (_halvings(block) for block in arch.blocks)
    return (2 if stem else 1, 1, *(2,) * (max(0, stem - 1) + sum(later)))


def _halvings(block: Block) -> int:
    """How often a block halves the resolution; patches of 16 pixels do it four times at once."""
    return round(math.log2(block.kernel)) if block.kind == "vit_patches" else block.stride - 1
