"""Results as rows of the candidate table, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import sqlalchemy as sa

from nas.records import METRICS, Candidate, Failure, FailureKind, Result, Success
from nas.store.packing import Packer, digest_text, packed_digest
from search_spaces.arch import Architecture


def row_of(result: Result, packer: Packer) -> dict[str, Any]:
    """A result as a row."""
    candidate = result.candidate
    row: dict[str, Any] = dict.fromkeys(METRICS)
    row |= {
        "id": candidate.id,
        "digest": packed_digest(candidate.arch),
        "parent": candidate.parent,
        "arch": packer.pack(candidate.arch),
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


def checked(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The row as it is shown: its digest as text. Raises ValueError: it lacks what its outcome comes with."""
    needed = "score" if row["outcome"] == "scored" else "reason"
    if row[needed] is None:
        raise ValueError(f"candidate {row['id']} is {row['outcome']!r} without a {needed}")
    return {**row, "digest": digest_text(row["digest"])}


def result_of(row: sa.RowMapping, packer: Callable[[], Packer]) -> Result:
    """The result of a row.

    Args:
        row: all columns.
        packer: of the run; not called for the plain text of version 1.
    Raises ValueError: the row lacks what its outcome comes with, or its design is damaged.
    """
    known = checked(row)
    text = known["arch"]
    arch = Architecture.from_json(text if isinstance(text, str) else packer().unpack(text))
    if arch.digest != known["digest"]:
        raise ValueError(f"candidate {row['id']}: its design is not the one of its digest")
    metrics = {name: row[name] for name in METRICS if row[name] is not None}
    candidate = Candidate(row["id"], arch, row["parent"], metrics)
    if row["outcome"] == "scored":
        return Success(candidate, metrics)
    kind: FailureKind = row["outcome"]
    return Failure(candidate, kind, row["reason"], inf if row["violation"] is None else row["violation"])
