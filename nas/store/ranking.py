"""The best scored candidates within limits, found by the database: no table of a run is ever loaded for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from nas.records import METRICS
from nas.store.errors import reading
from nas.store.run_store import RunStore
from nas.store.sampling import ROW, matching, shown, tuples
from nas.store.schema import CANDIDATE


def best_row(store: RunStore, at_most: Mapping[str, float], after: int = -1) -> dict[str, Any] | None:
    """The scored candidate with the highest score, of equal ones the first; None where none keeps the limits.

    Args:
        store: open.
        at_most: limits by column.
        after: only candidates with larger ids are looked at.
    Returns: its row without the design.
    """
    where = [*matching("scored", at_most), CANDIDATE.c.score.is_not(None)]
    if after >= 0:
        where.append(CANDIDATE.c.id > after)
    order = (CANDIDATE.c.score.desc(), CANDIDATE.c.id)
    rows = store.rows(sa.select(*(CANDIDATE.c[name] for name in ROW)).where(*where).order_by(*order).limit(1))
    return shown(rows[0]) if rows else None


def ranked_ids(store: RunStore, at_most: Mapping[str, float]) -> list[int]:
    """Ids of the scored candidates within limits by column, highest score first."""
    query = sa.select(CANDIDATE.c.id).where(*matching("scored", at_most), CANDIDATE.c.score.is_not(None))
    return [row[0] for row in tuples(store, query.order_by(CANDIDATE.c.score.desc(), CANDIDATE.c.id))]


def smallest(store: RunStore, column: str) -> float | None:
    """The smallest value of a column among the scored candidates; None where none has one."""
    query = sa.select(sa.func.min(CANDIDATE.c[column]).label("least")).where(CANDIDATE.c.outcome == "scored")
    found = store.rows(query)[0]["least"]
    return None if found is None else float(found)


def known_metrics(store: RunStore) -> list[str]:
    """Metrics that a scored candidate has; empty before the first."""
    counts: list[sa.Label[Any]] = [sa.func.count(CANDIDATE.c[name]).label(name) for name in METRICS]
    query = sa.select(*counts).where(CANDIDATE.c.outcome == "scored")
    row = store.rows(query)[0]
    return [name for name in METRICS if row[name]]


def best_score(store: RunStore) -> float | None:
    """The highest score; None before the first. Raises RunFileError: a scored candidate lacks its score."""
    counts: list[sa.Label[Any]] = [
        sa.func.max(CANDIDATE.c.score).label("most"),
        sa.func.count(CANDIDATE.c.score).label("with_score"),
        sa.func.count().label("scored"),
    ]
    query = sa.select(*counts).where(CANDIDATE.c.outcome == "scored")
    found = store.rows(query)[0]
    with reading(store.path):
        if missing := found["scored"] - found["with_score"]:
            raise ValueError(f"{missing} candidates are 'scored' without a score")
    return None if found["most"] is None else float(found["most"])
