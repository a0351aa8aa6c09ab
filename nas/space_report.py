"""What a space holds for a task: ranges of its metrics, the share within the limits, duplicates, speed."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from nas.gates import Gates
from nas.narrator import Silent
from nas.protocols import SearchSpace
from nas.reach import tightest
from nas.records import Candidate, Failure


def report_space(space: SearchSpace, gates: Gates, *, samples: int, seed: int, narrator: Silent) -> dict[str, Any]:
    """Look at random members and walk to the extremes.

    Args:
        space: what to look at.
        gates: the task, its limits and its latency table.
        samples: random members.
        seed: of the samples and the walks.
        narrator: told what is going on.
    Returns: JSON-ready: "space", "samples", "feasible_share", "duplicate_share", "invalid_share",
        "least_reachable" by limited metric, "candidates_per_second", "metrics" (least, p10, median, p90, most).
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, float]] = []
    digests: set[str] = set()
    feasible = invalid = 0
    started = time.perf_counter()
    for i in range(samples):
        arch = space.sample(rng)
        digests.add(arch.digest)
        checked = gates.check(Candidate(i, arch))
        if isinstance(checked, Failure) and checked.kind == "invalid":
            invalid += 1
            continue
        feasible += not isinstance(checked, Failure)
        rows.append(dict((checked.candidate if isinstance(checked, Failure) else checked).metrics))
        narrator.update(f"space check: {i + 1} members", (i + 1) / samples)
    seconds = time.perf_counter() - started
    narrator.done()
    least = {c.metric: tightest(space, gates, c.metric, seed=seed) for c in gates.constraints}
    return {
        "space": space.name,
        "samples": samples,
        "feasible_share": feasible / samples,
        "duplicate_share": 1 - len(digests) / samples,
        "invalid_share": invalid / samples,
        "least_reachable": least,
        "candidates_per_second": round(samples / seconds),
        "metrics": {name: _spread([row[name] for row in rows]) for name in (rows[0] if rows else {})},
    }


def _spread(values: list[float]) -> dict[str, float]:
    levels = {"least": 0.0, "p10": 0.1, "median": 0.5, "p90": 0.9, "most": 1.0}
    return {name: float(np.quantile(values, level)) for name, level in levels.items()}
