"""What a space holds for a task: ranges of its metrics, the share within the limits, duplicates, speed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nas.gates import Gates
from nas.knob_report import ChoiceCounts, interval_of_share, knobs_without_effect
from nas.narrator import Silent
from nas.objective import Objective
from nas.protocols import SearchSpace
from nas.reach import extreme, tightest
from nas.records import Candidate, Failure
from nas.runners.evaluate import evaluate
from search_spaces.space import GridSpace

SCORED = 12  # members whose score is timed
WALK = 600  # steps towards each end of each metric


@dataclass
class _Seen:
    """What the random members were like."""

    choices: ChoiceCounts | None
    rows: list[dict[str, float]] = field(default_factory=list)
    digests: set[str] = field(default_factory=set)
    within: list[Candidate] = field(default_factory=list)
    feasible: int = 0
    invalid: int = 0
    seconds: float = 0.0

    def look(self, candidate: Candidate, gates: Gates) -> None:
        started = time.perf_counter()
        self.digests.add(candidate.arch.digest)
        checked = gates.check(candidate)
        self.seconds += time.perf_counter() - started
        if isinstance(checked, Failure) and checked.kind == "invalid":
            self.invalid += 1
            return
        fits = not isinstance(checked, Failure)
        self.feasible += fits
        known = checked.candidate if isinstance(checked, Failure) else checked
        self.rows.append(dict(known.metrics))
        if fits and len(self.within) < SCORED:
            self.within.append(known)
        if self.choices is not None:
            self.choices.see(candidate.arch, feasible=fits)


def report_space(  # noqa: PLR0913 - the facts of a report, all named
    space: SearchSpace,
    gates: Gates,
    *,
    samples: int,
    seed: int,
    narrator: Silent,
    scores: Sequence[str] = (),
    candidates: int = 20_000,
) -> dict[str, Any]:
    """Look at random members and walk to the extremes.

    Args:
        space: what to look at.
        gates: the task, its limits and its latency table.
        samples: random members.
        seed: of the samples and the walks.
        narrator: told what is going on.
        scores: names whose time is measured.
        candidates: of the search whose time is estimated.
    Returns: JSON-ready: "space", "cardinality" (None: unbounded or unknown), "samples", "feasible_share",
        "feasible_interval" (95 %, exact), "duplicate_share", "invalid_share", "least_reachable" by limited metric
        (without the other limits), "reachable" by metric ("least" and "most" within all limits, as far as walks found;
        None: nothing found), "dead_choices", "choices_unjudged" and "knobs_without_effect" (None: the space has no
        knobs), "candidates_per_second" (sampled, costs computed), "search_candidates", "search_seconds" by score (on
        one core, every candidate scored; None: the score failed), "score_seconds", "metrics" (least, p10, median,
        p90, most).
    Raises: UnknownScore.
    """
    scorers = {name: Objective(name, gates.input_shape, seed).bound().scorer() for name in scores}
    seen = _sample(space, gates, samples=samples, seed=seed, narrator=narrator)
    names = [name for name in (seen.rows[0] if seen.rows else {}) if name != "latency_upper_ms"]
    reachable = {}
    for i, name in enumerate(names):
        narrator.update(f"space check: how far {name} reaches", i / len(names))
        least, most = (extreme(space, gates, name, most=most, seed=seed, steps=WALK) for most in (False, True))
        reachable[name] = {"least": least, "most": most}
    narrator.done()
    least_reachable = {c.metric: tightest(space, gates, c.metric, seed=seed) for c in gates.constraints}
    if len(least_reachable) == 1:  # the longer walk, which no other limit holds back
        [(name, value)] = least_reachable.items()
        if name in reachable and name != "latency_ms" and value <= gates.constraints[0].at_most:
            reachable[name]["least"] = min(value, reachable[name]["least"] or value)
    score_seconds = {name: _seconds(scorer, seen.within, seed) for name, scorer in scorers.items()}
    grid = space if isinstance(space, GridSpace) else None
    return {
        "space": space.name,
        "cardinality": getattr(space, "cardinality", None),
        "samples": samples,
        "feasible_share": seen.feasible / samples,
        "feasible_interval": list(interval_of_share(seen.feasible, samples)),
        "duplicate_share": 1 - len(seen.digests) / samples,
        "invalid_share": seen.invalid / samples,
        "least_reachable": least_reachable,
        "reachable": reachable,
        "dead_choices": None if seen.choices is None else seen.choices.dead(),
        "choices_unjudged": None if seen.choices is None else seen.choices.unjudged(),
        "knobs_without_effect": None if grid is None else knobs_without_effect(grid, _some(grid, seed)),
        "candidates_per_second": round(samples / seen.seconds),
        "search_candidates": candidates,
        "search_seconds": {
            name: None if each is None else candidates * (each + seen.seconds / samples)
            for name, each in score_seconds.items()
        },
        "score_seconds": score_seconds,
        "metrics": {name: _spread([row[name] for row in seen.rows]) for name in (seen.rows[0] if seen.rows else {})},
    }


def _sample(space: SearchSpace, gates: Gates, *, samples: int, seed: int, narrator: Silent) -> _Seen:
    rng = np.random.default_rng(seed)
    seen = _Seen(ChoiceCounts(space) if isinstance(space, GridSpace) else None)
    for i in range(samples):
        started = time.perf_counter()
        arch = space.sample(rng)
        seen.seconds += time.perf_counter() - started
        seen.look(Candidate(i, arch), gates)
        narrator.update(f"space check: {i + 1} members", (i + 1) / samples)
    narrator.done()
    return seen


def _some(space: GridSpace, seed: int) -> list[Any]:
    rng = np.random.default_rng((seed, 1))
    return [space.sample(rng) for _ in range(SCORED)]


def _seconds(scorer: Any, members: Sequence[Candidate], seed: int) -> float | None:
    """Median seconds of a score; None when it fails on all of the members, or there are none."""
    spent = []
    for candidate in members:
        started = time.perf_counter()
        [result] = evaluate(scorer, [candidate], seed)
        if not isinstance(result, Failure):
            spent.append(time.perf_counter() - started)
    return float(np.median(spent)) if spent else None


def _spread(values: list[float]) -> dict[str, float]:
    levels = {"least": 0.0, "p10": 0.1, "median": 0.5, "p90": 0.9, "most": 1.0}
    return {name: float(np.quantile(values, level)) for name, level in levels.items()}
