"""Read-only questions to the candidate table whose answers stay small, however many candidates there are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from nas.records import METRICS
from nas.store.errors import reading
from nas.store.packing import digest_text
from nas.store.run_store import RunStore
from nas.store.schema import CANDIDATE, EVENT

CHUNK = 100_000  # rows as numbers at once
ROW = ("id", "parent", "digest", "outcome", "reason", "violation", *METRICS)  # a candidate without its design
FAILURES = ("invalid", "error", "crash")  # outcomes of candidates that the limits did not reject
UNSCORED = ("rejected", "duplicate", *FAILURES)


def last_id(store: RunStore) -> int:
    """Id of the last candidate; -1 when there is none."""
    found = store.rows(sa.select(sa.func.max(CANDIDATE.c.id).label("last")))[0]["last"]
    return -1 if found is None else int(found)


def numbers(
    store: RunStore, columns: Sequence[str], after: int, upto: int, most: int = CHUNK
) -> Iterator[NDArray[np.float64]]:
    """Columns of the scored candidates with ids in ``after < id <= upto``, in order, chunk by chunk.

    Args:
        store: open.
        columns: names of numeric columns.
        after: of the last candidate that is known already.
        upto: of the last candidate that is wanted.
        most: rows of a chunk, the first ones.
    Yields: (n, len(columns)) float64, NaN where there is no value.
    """
    wanted = [CANDIDATE.c[name] for name in columns]
    for low in range(after, upto, CHUNK):
        query = sa.select(*wanted).where(*_within(low, min(low + CHUNK, upto)), CANDIDATE.c.outcome == "scored")
        rows = tuples(store, query.order_by(CANDIDATE.c.id).limit(most))
        try:
            values = np.fromiter(chain.from_iterable(rows), np.float64, len(rows) * len(wanted))
        except TypeError:  # a value is missing
            values = np.array(rows, dtype=np.float64).ravel()
        yield values.reshape(len(rows), len(wanted))


def counts(store: RunStore, metrics: Sequence[str], after: int, upto: int) -> tuple[dict[str, int], dict[str, int]]:
    """Candidates without a score by outcome, and rejected ones by limit, ids in ``after < id <= upto``; in one pass.

    Args:
        store: open.
        metrics: that the run limits; a candidate may exceed several.
        after: of the last candidate that is counted already.
        upto: of the last candidate that is wanted.
    """
    said = [CANDIDATE.c.outcome == name for name in UNSCORED]
    within = _position(store)
    for name in metrics:
        found_at = within(sa.literal(", ").concat(CANDIDATE.c.reason), f", {name} is ")
        said.append(sa.and_(CANDIDATE.c.outcome == "rejected", found_at > 0))
    sums = [sa.func.sum(sa.case((one, 1), else_=0)).label(f"n{i}") for i, one in enumerate(said)]
    row = store.rows(sa.select(*sums).where(*_within(after, upto), CANDIDATE.c.outcome != "scored"))[0]
    found = [int(row[f"n{i}"] or 0) for i in range(len(said))]
    outcomes = {name: count for name, count in zip(UNSCORED, found, strict=False) if count}
    return outcomes, dict(zip(metrics, found[len(UNSCORED) :], strict=True))


def failure_counts(store: RunStore, after: int, upto: int, most: int) -> list[tuple[str, str, int]]:
    """The most frequent (outcome, message, count) of candidates that failed, ids in ``after < id <= upto``."""
    count = sa.func.count().label("n")
    query = (
        sa.select(CANDIDATE.c.outcome, CANDIDATE.c.reason, count)
        .where(*_within(after, upto), CANDIDATE.c.outcome.in_(FAILURES))
        .group_by(CANDIDATE.c.outcome, CANDIDATE.c.reason)
        .order_by(count.desc(), CANDIDATE.c.reason)
        .limit(most)
    )
    return [(row["outcome"], row["reason"] or row["outcome"], row["n"]) for row in store.rows(query)]


def rows_of(store: RunStore, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Candidates by id, without their designs; those that are not there are left out."""
    found = {}
    for at in range(0, len(ids), 500):
        query = sa.select(*(CANDIDATE.c[name] for name in ROW)).where(CANDIDATE.c.id.in_(ids[at : at + 500]))
        found.update({row["id"]: shown(row) for row in store.rows(query)})
    return found


def event_kinds(store: RunStore) -> list[str]:
    """Kinds of the events, in the order in which each first came."""
    query = sa.select(EVENT.c.kind).group_by(EVENT.c.kind).order_by(sa.func.min(EVENT.c.seq))
    return [row["kind"] for row in store.rows(query)]


def last_event(store: RunStore) -> int:
    """Number of the last event; 0 before the first."""
    found = store.rows(sa.select(sa.func.max(EVENT.c.seq).label("last")))[0]["last"]
    return 0 if found is None else int(found)


def events_after(store: RunStore, after: int, most: int) -> list[tuple[int, dict[str, Any]]]:
    """The first events beyond a number, each with its own: (number, {"time", "kind", **payload}).

    Args:
        store: open.
        after: number of the last event that is known; 0 for none.
        most: events at once.
    """
    query = sa.select(EVENT).where(EVENT.c.seq > after).order_by(EVENT.c.seq).limit(most)
    rows = store.rows(query)
    with reading(store.path):
        return [(row["seq"], {"time": row["time"], "kind": row["kind"], **json.loads(row["payload"])}) for row in rows]


def children_of(store: RunStore, candidate: int, most: int) -> tuple[int, list[int]]:
    """How many candidates were mutated from this one, and the ids of the first."""
    where = (CANDIDATE.c.parent == candidate, CANDIDATE.c.id > candidate)
    rows = store.rows(sa.select(CANDIDATE.c.id).where(*where).order_by(CANDIDATE.c.id).limit(most))
    if len(rows) < most:
        return len(rows), [row["id"] for row in rows]
    count = store.rows(sa.select(sa.func.count().label("n")).where(*where))[0]["n"]
    return int(count), [row["id"] for row in rows]


def ancestors_of(store: RunStore, candidate: int, most: int) -> list[int]:
    """The parent, its parent and so on, nearest first, as far as ``most``."""
    found: list[int] = []
    at: int | None = candidate
    while at is not None and len(found) < most:
        rows = store.rows(sa.select(CANDIDATE.c.parent).where(CANDIDATE.c.id == at))
        at = rows[0]["parent"] if rows else None
        if at is None or at in found:
            break
        found.append(int(at))
    return found


def matching(outcome: str | None, at_most: Mapping[str, float]) -> list[sa.ColumnElement[bool]]:
    """Conditions of rows of an outcome (None: any; "failed": any of ``FAILURES``) within limits by column."""
    where: list[sa.ColumnElement[bool]] = []
    if outcome == "failed":
        where.append(CANDIDATE.c.outcome.in_(FAILURES))
    elif outcome is not None:
        where.append(CANDIDATE.c.outcome == outcome)
    return where + [CANDIDATE.c[name] <= limit for name, limit in at_most.items()]


def count_rows(store: RunStore, where: Sequence[sa.ColumnElement[bool]]) -> int:
    """Number of candidates that keep the conditions."""
    return int(store.rows(sa.select(sa.func.count().label("n")).select_from(CANDIDATE).where(*where))[0]["n"])


def sorted_rows(
    store: RunStore, where: Sequence[sa.ColumnElement[bool]], sort: str, *, falling: bool, after: int | None, limit: int
) -> list[dict[str, Any]]:
    """Candidates in the order of a column, ties by id; without the designs.

    Args:
        store: open.
        where: conditions; rows without a value of the column are left out.
        sort: name of a column.
        falling: the largest first.
        after: id of the last row of the page before.
        limit: rows at most.
    """
    column, conditions = CANDIDATE.c[sort], list(where)
    if sort != "id":
        conditions.append(column.is_not(None))
    if after is not None and (there := rows_of(store, [after]).get(after)) is not None:
        value = there[sort]
        if sort == "id":
            conditions.append(column < value if falling else column > value)
        elif value is not None:
            beyond = column < value if falling else column > value
            conditions.append(sa.or_(beyond, sa.and_(column == value, CANDIDATE.c.id > after)))
    order = [column.desc() if falling else column.asc(), CANDIDATE.c.id.asc()]
    query = sa.select(*(CANDIDATE.c[name] for name in ROW)).where(*conditions)
    return [shown(row) for row in store.rows(query.order_by(*order).limit(limit))]


def _position(store: RunStore) -> Callable[..., sa.ColumnElement[int]]:
    """Where a text begins in another, from 1, by the name of the database; a quarter of the time of LIKE."""
    return sa.func.strpos if store._connection.dialect.name == "postgresql" else sa.func.instr


def _within(after: int, upto: int) -> tuple[sa.ColumnElement[bool], ...]:
    return CANDIDATE.c.id > after, CANDIDATE.c.id <= upto


def shown(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row of ``ROW`` with its digest as text."""
    return {**row, "digest": digest_text(row["digest"])}


def tuples(store: RunStore, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
    """Plain tuples of the driver: a tenth of the time of SQLAlchemy's rows, which matters for a million."""

    def work() -> list[tuple[Any, ...]]:
        result = store._connection.execute(query)
        found = list(result.cursor.fetchall())
        result.close()
        return found

    with reading(store.path, store._database.unreadable):
        return store._transact(work)
