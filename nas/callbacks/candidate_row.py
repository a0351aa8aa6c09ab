"""A result as a flat row."""

from __future__ import annotations

from typing import Any

from nas.records import METRICS, Result, Success

COLUMNS = ("id", "parent", "digest", "outcome", "reason", *METRICS)


def candidate_row(result: Result) -> dict[str, Any]:
    """``COLUMNS`` of a result; None where there is nothing."""
    candidate = result.candidate
    known = {"id": candidate.id, "parent": candidate.parent, "digest": candidate.arch.digest}
    if isinstance(result, Success):
        outcome, reason, metrics = "scored", None, result.metrics
    else:
        outcome, reason, metrics = result.kind, result.message, candidate.metrics
    return {**known, "outcome": outcome, "reason": reason, **{name: metrics.get(name) for name in METRICS}}
