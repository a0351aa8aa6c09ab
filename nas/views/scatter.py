"""Score against cost, for a million candidates as for a hundred: the front, its surroundings, and a density."""

from __future__ import annotations

from typing import Any

import numpy as np

from nas.run import Run
from nas.store.sampling import rows_of
from nas.views.digest import Digest, digest_of
from nas.views.overview import finalists
from nas.views.plain import as_view

BINS = (4, 256)  # least and most


def scatter(run: Run, points: int = 2000, bins: int = 64) -> dict[str, Any]:
    """The plot of a run; its size depends on the arguments, not on the run.

    Args:
        run: open for reading.
        points: scored candidates that are given one by one, at most: the highest scores at every cost.
        bins: cells of the density along each axis, at most.
    Returns: "x" and "y" (names of metrics), "pareto" rows, "finalists", "winner" (id), "points" (columns "id", "x",
        "y"), "density" ("x_edges", logarithms to base 10 of the cost, "y_edges", "counts", a list for each y), "budget"
        (of x; None for no limit), "candidates"; JSON-ready.
    """
    digest = digest_of(run)
    with digest.lock:
        chosen = digest.nearest.best(max(0, points))
        density = digest.density.shown(min(max(bins, BINS[0]), BINS[1]))
        front = list(digest.front.ids)
        cost, last = digest.cost or "macs", digest.last
    limits = {c.metric: c.at_most for c in run.config.constraints.constraints()}
    best = finalists(run)
    return as_view(
        {
            "x": cost,
            "y": "score",
            "pareto": _rows(run, front),
            "finalists": best,
            "winner": next((row["id"] for row in best if row["winner"]), None),
            "points": {"id": chosen[:, 0].astype(int), "x": 10 ** chosen[:, 1], "y": chosen[:, 2]},
            "density": density,
            "budget": limits.get(cost),
            "candidates": last + 1,
        }
    )


def pareto(run: Run) -> dict[str, Any]:
    """The candidates that no other beats in score and cost, cheapest first: {"cost", "rows"}; JSON-ready."""
    digest = digest_of(run)
    with digest.lock:
        front, cost = list(digest.front.ids), digest.cost or "macs"
    return as_view({"cost": cost, "rows": _rows(run, front)})


def _rows(run: Run, ids: list[int]) -> list[dict[str, Any]]:
    known = rows_of(run.store, ids)
    return [known[i] for i in ids if i in known]


def near_front(digest: Digest, cost: float, score: float) -> dict[str, int | None]:
    """Which candidates of the front are beside one.

    Args:
        digest: of the run.
        cost: of the candidate.
        score: of the candidate.
    Returns: ids, None where there is none: "faster", the cheapest with no lower score; "better", the best at no higher
        cost; "next", the cheapest that scores more.
    """
    costs, scores, ids = (np.array(column) for column in (digest.front.costs, digest.front.scores, digest.front.ids))
    no_lower, no_dearer = np.flatnonzero(scores >= score), np.flatnonzero(costs <= cost)
    higher = np.flatnonzero(scores > score)
    return {
        "faster": int(ids[no_lower[0]]) if len(no_lower) else None,
        "better": int(ids[no_dearer[-1]]) if len(no_dearer) else None,
        "next": int(ids[higher[0]]) if len(higher) else None,
    }
