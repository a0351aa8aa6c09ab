"""Which networks are trained to judge the proxies: members within the limits, of all sizes and depths."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas.gates import Gates
from nas.guided.members import members_within
from nas.protocols import SearchSpace
from nas.reach import explain_unreachable
from nas.records import Candidate
from nas.run import NothingFeasible

POOL = 600
HOW = (
    "random members within the limits (where random ones rarely keep them, members reached by mutation that do), cut "
    "into as many bands of equal width in log MACs as networks; of each band one, from the shallower half of every "
    "even band and the deeper half of every odd one, so that size and depth do not go hand in hand"
)


def choose_networks(space: SearchSpace, gates: Gates, *, wanted: int, seed: int) -> list[Candidate]:
    """Distinct networks within the limits, smallest first, with their metrics; see ``HOW``.

    Args:
        space: whose members.
        gates: the limits.
        wanted: how many; fewer come back when no more are found.
        seed: of every draw.
    Raises: NothingFeasible: none keeps the limits.
    """
    rng = np.random.default_rng((seed, 0x70_78))
    pool = members_within(space, gates, rng=rng, seed=seed, wanted=POOL)
    if not pool:
        raise NothingFeasible(explain_unreachable(space, gates, seed=seed))
    if len(pool) <= wanted:
        return pool
    sizes = np.array([math.log(max(1.0, candidate.metrics["macs"])) for candidate in pool])
    low, high = np.quantile(sizes, [0.01, 0.99])
    edges = np.linspace(float(low), float(high), wanted + 1)
    bands = np.clip(np.searchsorted(edges, sizes, side="right") - 1, 0, wanted - 1)
    chosen = [_pick(pool, np.flatnonzero(bands == band), band, rng) for band in range(wanted)]
    taken = {i for i in chosen if i is not None}
    for band in range(wanted):
        if chosen[band] is None:  # an empty band: the nearest network that no other band has
            centre = (edges[band] + edges[band + 1]) / 2
            nearest = min((i for i in range(len(pool)) if i not in taken), key=lambda i: abs(sizes[i] - centre))
            taken.add(nearest)
    return [pool[i] for i in sorted(taken)]


def _pick(pool: Sequence[Candidate], band: NDArray[np.int64], number: int, rng: np.random.Generator) -> int | None:
    if not len(band):
        return None
    by_depth = sorted(band.tolist(), key=lambda i: (pool[i].metrics["depth"], i))
    half = (len(by_depth) + 1) // 2
    part = by_depth[:half] if number % 2 == 0 else by_depth[-half:]
    return int(part[int(rng.integers(len(part)))])
