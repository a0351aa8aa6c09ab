"""How far a space reaches: whether constraints can be kept at all, and the tightest that can."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from nas.algorithms.evolution import Evolution
from nas.gates import Gates, held_by
from nas.protocols import SearchSpace
from nas.records import Candidate, Constraint, Failure, Success

STEPS = 2_000
EXHAUSTED = 200  # repetitions in a row after which a space holds nothing more


@dataclass(frozen=True, slots=True)
class Reach:
    """What a walk towards the constraints found.

    Attributes:
        feasible: number of candidates that keep all constraints.
        asked: number of candidates looked at.
        least_violating: the closest candidate, with its metrics.
        invalid: why a design is invalid, when none that was looked at is valid; empty otherwise.
    """

    feasible: int
    asked: int
    least_violating: Candidate
    invalid: str = ""


def reach(space: SearchSpace, gates: Gates, *, seed: int, steps: int = STEPS, stop_at: int = 1) -> Reach:
    """Walk towards the constraints by evolution on the violation alone; microseconds a step.

    Args:
        space: where to walk.
        gates: the costs and the constraints.
        seed: of the walk.
        steps: candidates to look at, at most.
        stop_at: feasible candidates after which the walk ends.
    """
    search = Evolution(space, seed=seed, population=32, initial=64, lookahead=1)
    closest: tuple[float, Candidate] | None = None
    feasible = asked = 0
    reason = ""
    seen: set[str] = set()
    repeated = 0
    while asked < steps and feasible < stop_at and repeated < EXHAUSTED:
        candidate = search.ask(1)[0]
        repeated = repeated + 1 if candidate.arch.digest in seen else 0
        seen.add(candidate.arch.digest)
        checked = gates.check(candidate)
        asked += 1
        if isinstance(checked, Failure):
            search.tell(checked)
            violation, known, reason = checked.violation, checked.candidate, checked.message
        else:
            feasible += 1
            search.tell(Success(checked, {**checked.metrics, "score": 0.0}))
            violation, known = 0.0, checked
        if closest is None or violation < closest[0]:
            closest = (violation, known)
    assert closest is not None
    return Reach(feasible, asked, closest[1], "" if closest[1].metrics else reason)


def tightest(space: SearchSpace, gates: Gates, metric: str, *, seed: int, steps: int = STEPS) -> float:
    """The smallest value of a metric (upper bound for latency) that a walk of so many steps finds.

    Infinite when no member of the space is a valid design.
    """
    unreachable = Gates(gates.input_shape, gates.num_classes, (Constraint(metric, 1e-9),), gates.table)
    found = reach(space, unreachable, seed=seed, steps=steps)
    return found.least_violating.metrics.get(held_by(metric), inf)


def extreme(
    space: SearchSpace, gates: Gates, metric: str, *, most: bool, seed: int, steps: int = STEPS
) -> float | None:
    """The largest or smallest value of a metric among the members within the limits that a walk of so many steps finds.

    A walk proves that the value is reached, not that none lies beyond; a space without an upper end has no largest.

    Args:
        space: where to walk.
        gates: the costs and the limits.
        metric: one that the gates give.
        most: the largest; else the smallest.
        seed: of the walk.
        steps: candidates to look at, at most.
    Returns: None when no member within the limits was found.
    """
    search = Evolution(space, seed=seed, population=32, initial=64, lookahead=1)
    found: float | None = None
    seen: set[str] = set()
    repeated = 0
    for _ in range(steps):
        candidate = search.ask(1)[0]
        repeated = repeated + 1 if candidate.arch.digest in seen else 0
        if repeated >= EXHAUSTED:
            break
        seen.add(candidate.arch.digest)
        checked = gates.check(candidate)
        if isinstance(checked, Failure):
            search.tell(checked)
            continue
        value = checked.metrics[metric]
        search.tell(Success(checked, {**checked.metrics, "score": value if most else -value}))
        if found is None or (value > found) == most:
            found = value
    return found


def explain_unreachable(space: SearchSpace, gates: Gates, *, seed: int) -> str:
    """One sentence: which limits the space cannot keep and the tightest values that it can reach."""
    if invalid := reach(space, gates, seed=seed).invalid:
        return f"space {space.name} has no valid network for these images: {invalid}"
    parts = []
    for constraint in gates.constraints:
        least = tightest(space, gates, constraint.metric, seed=seed)
        if least > constraint.at_most:
            parts.append(
                f"{constraint.metric} of at most {constraint.at_most:g} (the tightest it reaches is {least:.4g})"
            )
    if parts:
        return f"space {space.name} has no network with {' or '.join(parts)}"
    limits = ", ".join(f"{c.metric} <= {c.at_most:g}" for c in gates.constraints)
    return f"space {space.name} keeps each of {limits}, but no network was found that keeps all at once; loosen one"
