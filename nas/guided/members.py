"""Members of a space within the limits: random ones, and where these rarely keep them, some reached by mutation."""

from __future__ import annotations

import numpy as np

from nas.gates import Gates
from nas.protocols import SearchSpace
from nas.reach import reach
from nas.records import Candidate, Failure
from search_spaces.space import NothingToMutate

SAMPLES = 3_000
STEPS = 6_000


def members_within(
    space: SearchSpace,
    gates: Gates,
    *,
    rng: np.random.Generator,
    seed: int,
    wanted: int,
    samples: int = SAMPLES,
) -> list[Candidate]:
    """Distinct members within the limits with their metrics, by MACs; none when a walk towards the limits finds none.

    Args:
        space: whose members.
        gates: the limits.
        rng: of samples and mutations.
        seed: of the walk.
        wanted: how many, at most.
        samples: random ones tried; what is lacking then comes from mutations.
    """
    found: dict[str, Candidate] = {}
    for i in range(samples):
        _keep(gates.check(Candidate(i, space.sample(rng))), found)
        if len(found) >= wanted:
            break
    if not found:
        reached = reach(space, gates, seed=seed)
        if reached.feasible:
            _keep(reached.least_violating, found)
    members = list(found.values())
    for i in range(STEPS if members else 0):
        if len(found) >= wanted:
            break
        parent = members[int(rng.integers(len(members)))]
        try:
            child = gates.check(Candidate(samples + i, space.mutate(parent.arch, rng)))
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
