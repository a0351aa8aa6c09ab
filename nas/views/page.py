"""The candidates of a run, a page at a time, sorted and filtered by the database."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

from nas.records import LARGER_IS_BETTER, METRICS
from nas.run import Run
from nas.store.sampling import count_rows, matching, sorted_rows
from nas.views.plain import as_view

OUTCOMES = ("scored", "rejected", "duplicate", "invalid", "error", "crash", "failed")
SORTS = ("id", "parent", "violation", *METRICS)
MOST = 1_000


class InvalidQuery(ValueError):
    """A page is asked for that cannot be.

    Attributes:
        field: the argument.
        value: as it was given.
        rule: what is expected.
    """

    def __init__(self, field: str, value: Any, rule: str) -> None:
        super().__init__(f"{field}={value!r}: {rule}")
        self.field, self.value, self.rule = field, value, rule


def page(
    run: Run,
    outcome: str | None = None,
    sort: str = "id",
    limit: int = 100,
    after: int | None = None,
    at_most: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Candidates without their designs.

    Args:
        run: open for reading.
        outcome: only these; "failed" are those that are invalid, in error or crashed.
        sort: "id" or a metric, the best first (the highest score, the lowest cost); "-" in front turns that round.
        limit: rows, 1 to 1,000.
        after: id of the last row of the page before: "next" of the answer.
        at_most: limits by metric; one on "latency_ms" is held by the upper bound.
    Returns: "rows", "next" (None on the last page), "total"; JSON-ready.
    Raises: InvalidQuery.
    """
    limits = dict(at_most or {})
    _check(outcome, sort, limit, limits)
    name = sort.removeprefix("-")
    falling = (name in LARGER_IS_BETTER) != sort.startswith("-")
    columns = {"latency_upper_ms" if key == "latency_ms" else key: value for key, value in limits.items()}
    where = matching(outcome, columns)
    rows = sorted_rows(run.store, where, name, falling=falling, after=after, limit=limit + 1)
    following = rows[limit - 1]["id"] if len(rows) > limit else None
    return as_view({"rows": rows[:limit], "next": following, "total": count_rows(run.store, where)})


def _check(outcome: str | None, sort: str, limit: int, at_most: Mapping[str, float]) -> None:
    if outcome is not None and outcome not in OUTCOMES:
        raise InvalidQuery("outcome", outcome, f"expected one of {', '.join(OUTCOMES)}")
    if sort.removeprefix("-") not in SORTS:
        near = difflib.get_close_matches(sort.removeprefix("-"), SORTS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(SORTS)}"
        raise InvalidQuery("sort", sort, hint)
    if not 1 <= limit <= MOST:
        raise InvalidQuery("limit", limit, f"expected 1 to {MOST}")
    for name, value in at_most.items():
        if name not in METRICS or name in LARGER_IS_BETTER:
            costs = [metric for metric in METRICS if metric not in LARGER_IS_BETTER]
            raise InvalidQuery(name, value, f"expected a limit on one of {', '.join(costs)}")
        if not math.isfinite(value):
            raise InvalidQuery(name, value, "expected a finite number")
