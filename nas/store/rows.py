"""Results as rows of the candidate table, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import sqlalchemy as sa

from nas.records import METRICS, Candidate, Failure, FailureKind, Result, Success
from nas.store.packing import Packer, digest_text
from search_spaces.arch import Architecture

COLUMNS = ("id", "digest", "parent", "arch", "outcome", "reason", "violation", *METRICS)


def row_of(result: Result, pack: Callable[[str], str | bytes], storable: Callable[[str], str]) -> tuple[Any, ...]:
    """A result as a row, in the order of ``COLUMNS``.

    Bounds on further devices are left out: they served the gates, and are found again from the design.

    Args:
        result: any.
        pack: makes of a design's text what is stored.
        storable: makes a text suit the database.
    """
    candidate = result.candidate
    metrics: Mapping[str, float]
    outcome: tuple[str, str | None, float | None]
    if isinstance(result, Failure):
        metrics = candidate.metrics
        outcome = result.kind, storable(result.message), None if result.violation == inf else result.violation
    else:
        metrics, outcome = result.metrics, _SCORED
    arch = candidate.arch
    values = (candidate.id, bytes.fromhex(arch.digest), candidate.parent, pack(arch.to_json()))
    return values + outcome + tuple([metrics.get(name) for name in METRICS])


_SCORED = ("scored", None, None)


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
