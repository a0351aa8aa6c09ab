"""Partitions of a network: which prunable layers grow together, and which tensors go with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nas.compress.errors import CannotCompress
from nas.compress.gap.settings import GapSettings
from nas.compress.prunable import Prunable, PrunableLayer


@dataclass(frozen=True, slots=True, eq=False)
class Partitioning:
    """One way to cut a network.

    Attributes:
        parts: names of the prunable weights of each partition, in order of execution.
        owner: name of every parameter and buffer -> index of the partition that it belongs to.
    """

    parts: tuple[tuple[str, ...], ...]
    owner: Mapping[str, int]


def partitionings(prunable: Prunable, settings: GapSettings, seed: int) -> tuple[Partitioning, ...]:
    """The partitions of every round.

    Args:
        prunable: layers of the network.
        settings: of grow-and-prune.
        seed: of random partitions, together with the round.
    Raises: CannotCompress: there are fewer layers than partitions.
    """
    if settings.partitions > len(prunable.layers):
        raise CannotCompress(
            f"settings.partitions={settings.partitions}, the network has {len(prunable.layers)} prunable layers; "
            "ask for at most so many, or allow more with stem or classifier"
        )
    if settings.partitioning == "random":
        return _random(prunable, settings, seed)
    parts = contiguous(prunable.layers, settings.partitions, settings.balance)
    return (_with_owners(parts, prunable),) * settings.rounds


def contiguous(layers: Sequence[PrunableLayer], parts: int, balance: str) -> tuple[tuple[str, ...], ...]:
    """Cut the layers, in order of execution, into parts of costs as equal as possible: least sum of squares.

    Args:
        layers: at least as many as parts.
        parts: number of them; none is empty.
        balance: cost of a layer: 1 ("layers"), its "weights" or its "macs".
    Returns: names.
    """
    costs = [_cost(layer, balance) for layer in layers]
    before = [sum(costs[:at]) for at in range(len(costs) + 1)]
    n = len(layers)
    best = [[(0, 0)] * (n + 1) for _ in range(parts + 1)]  # sum of squares, start of the last part
    for part in range(1, parts + 1):
        for end in range(part, n + 1):
            starts = range(part - 1, end) if part > 1 else range(1)
            best[part][end] = min((best[part - 1][at][0] + (before[end] - before[at]) ** 2, at) for at in starts)
    cuts = [n]
    for part in range(parts, 0, -1):
        cuts.append(best[part][cuts[-1]][1])
    cuts.reverse()
    names = [layer.name for layer in layers]
    return tuple(tuple(names[start:end]) for start, end in pairwise(cuts))


def _cost(layer: PrunableLayer, balance: str) -> int:
    return {"layers": 1, "weights": layer.weights, "macs": layer.weights * layer.positions}[balance]


def _random(prunable: Prunable, settings: GapSettings, seed: int) -> tuple[Partitioning, ...]:
    """Every layer once a round, in parts of as many layers as possible alike; no part twice running."""
    found: list[Partitioning] = []
    last: tuple[str, ...] | None = None
    for round_ in range(settings.rounds):
        rng = np.random.default_rng([seed, round_])
        while True:
            pieces = np.array_split(rng.permutation(len(prunable.layers)), settings.partitions)
            parts = tuple(tuple(prunable.names[at] for at in sorted(piece)) for piece in pieces)
            if parts[0] != last or settings.partitions == 1:
                break
        found.append(_with_owners(parts, prunable))
        last = parts[-1]
    return tuple(found)


def _with_owners(parts: tuple[tuple[str, ...], ...], prunable: Prunable) -> Partitioning:
    of = {name: at for at, part in enumerate(parts) for name in part}
    return Partitioning(parts, {tensor: of[layer] for tensor, layer in prunable.follows.items()})
