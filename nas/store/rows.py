"""Results as rows of the candidate table, and back."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import sqlalchemy as sa

from nas.records import METRICS, Candidate, Failure, FailureKind, Result, Success
from search_spaces.arch import Architecture


def row_of(result: Result) -> dict[str, Any]:
    """A result as a row."""
    candidate = result.candidate
    row: dict[str, Any] = dict.fromkeys(METRICS)
    row |= {
        "id": candidate.id,
        "digest": candidate.arch.digest,
        "parent": candidate.parent,
        "arch": candidate.arch.to_json(),
        "outcome": "scored",
        "reason": None,
        "violation": None,
    }
    if isinstance(result, Failure):
        violation = None if result.violation == inf else result.violation
        return (
            row
            | _stored(candidate.metrics)
            | {"outcome": result.kind, "reason": result.message, "violation": violation}
        )
    return row | _stored(result.metrics)


def _stored(metrics: Mapping[str, float]) -> dict[str, float]:
    """What a row keeps: bounds on further devices served the gates, and are found again from the design."""
    return {name: value for name, value in metrics.items() if name in METRICS}


def checked(row: dict[str, Any]) -> dict[str, Any]:
    """The row, unless it lacks what its outcome comes with; ValueError then."""
    needed = "score" if row["outcome"] == "scored" else "reason"
    if row[needed] is None:
        raise ValueError(f"candidate {row['id']} is {row['outcome']!r} without a {needed}")
    return row


def result_of(row: sa.RowMapping) -> Result:
    """The result of a row. Raises ValueError: the row lacks what its outcome comes with."""
    checked(dict(row))
    metrics = {name: row[name] for name in METRICS if row[name] is not None}
    candidate = Candidate(row["id"], Architecture.from_json(row["arch"]), row["parent"], metrics)
    if row["outcome"] == "scored":
        return Success(candidate, metrics)
    kind: FailureKind = row["outcome"]
    return Failure(candidate, kind, row["reason"], inf if row["violation"] is None else row["violation"])
