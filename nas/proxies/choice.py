"""Which networks are trained to judge the proxies: members within the limits, of all sizes and depths."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas.gates import Gates
from nas.protocols import SearchSpace
from nas.reach import explain_unreachable, reach
from nas.records import Candidate, Failure
from nas.run import NothingFeasible
from search_spaces.space import NothingToMutate

SAMPLES = 3_000
STEPS = 6_000
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
    pool = _pool(space, gates, rng, seed)
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


def _pool(space: SearchSpace, gates: Gates, rng: np.random.Generator, seed: int) -> list[Candidate]:
    """Distinct members within the limits, by MACs."""
    found: dict[str, Candidate] = {}
    for i in range(SAMPLES):
        _keep(gates.check(Candidate(i, space.sample(rng))), found)
        if len(found) >= POOL:
            break
    if not found:
        reached = reach(space, gates, seed=seed)
        if reached.feasible:
            _keep(reached.least_violating, found)
    members = list(found.values())
    for i in range(STEPS if members else 0):
        if len(found) >= POOL:
            break
        parent = members[int(rng.integers(len(members)))]
        try:
            child = gates.check(Candidate(SAMPLES + i, space.mutate(parent.arch, rng)))
        except NothingToMutate:
            break
        if isinstance(child, Candidate) and _keep(child, found):
            members.append(child)
    return sorted(found.values(), key=lambda candidate: (candidate.metrics["macs"], candidate.arch.digest))


def _keep(checked: Candidate | Failure, found: dict[str, Candidate]) -> bool:
    """Add a member within the limits; say whether it is new."""
    if isinstance(checked, Failure) or checked.arch.digest in found:
        return False
    found[checked.arch.digest] = checked
    return True
