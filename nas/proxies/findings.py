"""The contents of ``trust.json`` from the outcomes of all jobs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas.proxies.choice import HOW
from nas.proxies.combine import make_ensemble
from nas.proxies.noise import noise_ceiling
from nas.proxies.rate import BASELINES, COUNTS, rate
from nas.proxies.settings import TrustSettings
from nas.proxies.work import Job, Outcome
from nas.records import Candidate
from predictors.rank_ensemble import KEY
from search_spaces.layers import Shape

VERSION = 1
Outcomes = Mapping[tuple[str, int], Outcome]


def describe_findings(
    settings: TrustSettings,
    space: str,
    input_shape: Shape,
    networks: Sequence[Candidate],
    jobs: Sequence[Job],
    outcomes: Outcomes,
) -> dict[str, Any]:
    """JSON-ready, a function of the settings and the outcomes but for seconds.

    Returns: "version", "settings", "space", "input_shape", "sampling" (how the networks were chosen), "trained",
        "failed", "noise", "baselines" and "proxies" (rows as ``rate`` makes them, with "seconds", the median of a
        score, and "reason" where a proxy does not apply), "ensemble", "networks".
    """
    rows = [_network(network, jobs, outcomes) for network in networks]
    top1 = [row["top1"] for row in rows]
    counts = {name: [float(row["metrics"][name]) for row in rows] for name in BASELINES}
    scores = {name: [row["scores"][name] for row in rows] for name in settings.scores}
    done = [value for value in top1 if value is not None]
    pairs = [(row["top1"], row["top1_again"]) for row in rows if None not in (row["top1"], row["top1_again"])]
    joining = {name: column for name, column in scores.items() if settings.may_join(name)}
    rivals = {name: counts[name] for name in COUNTS}
    found: dict[str, Any] = {
        "version": VERSION,
        "settings": settings.to_dict(),
        "space": space,
        "input_shape": list(input_shape),
        "sampling": HOW,
        "trained": len(done),
        "failed": len(top1) - len(done),
        "noise": noise_ceiling(done, pairs, seed=settings.seed) if len(done) > 1 else None,
        "baselines": [rate(name, counts[name], rivals, top1, seed=settings.seed) for name in BASELINES],
        "proxies": [
            rate(name, scores[name], rivals, top1, seed=settings.seed) | _extras(name, networks, outcomes)
            for name in settings.scores
        ],
        KEY: make_ensemble(joining, rivals, top1, input_shape=input_shape, seed=settings.seed),
        "networks": rows,
    }
    for row in found["proxies"]:
        if not row["applies"] and row["reason"]:
            row["verdict"] = f"does not apply: {row['reason']}"
    return {key: _finite(value) for key, value in found.items()}


def _network(network: Candidate, jobs: Sequence[Job], outcomes: Outcomes) -> dict[str, Any]:
    """One network: costs, accuracies, scores."""
    keys = [job.key for job in jobs if job.kind == "training" and job.network == network.id]
    first, *again = [outcomes[key] for key in keys]
    return {
        "id": network.id,
        "digest": network.arch.digest,
        "metrics": dict(network.metrics),
        "top1": first["top1"],
        "top1_again": again[0]["top1"] if again else None,
        "loss": first["loss"],
        "failure": first["failure"],
        "training_seconds": first["seconds"],
        "scores": dict(outcomes["scores", network.id]["scores"]),
        "arch": network.arch.to_dict(),
    }


def _extras(name: str, networks: Sequence[Candidate], outcomes: Outcomes) -> dict[str, Any]:
    """Median seconds of a score, and why it does not apply to the networks that it does not score."""
    found = [outcomes["scores", network.id] for network in networks]
    seconds = [row["seconds"][name] for row in found if name in row["seconds"]]
    reasons = [row["reasons"][name] for row in found if name in row["reasons"]]
    return {"seconds": float(np.median(seconds)) if seconds else None, "reason": reasons[0] if reasons else None}


def _finite(data: Any) -> Any:
    """The same with null for NaN and infinities, which JSON does not have."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
