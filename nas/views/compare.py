"""Candidates side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nas.run import Run
from nas.views.candidate import row_of
from nas.views.drawing import drawn
from nas.views.overview import finalists
from nas.views.page import InvalidQuery
from nas.views.plain import as_view

MOST = 8


def compare(run: Run, ids: Sequence[int]) -> dict[str, Any]:
    """Rows, drawings and what was measured of some candidates, in the order that is asked for.

    Args:
        run: open for reading.
        ids: 1 to 8; one that comes twice is given once.
    Returns: "candidates": each with "id", "row", "architecture", "found"; JSON-ready.
    Raises: InvalidQuery, UnknownCandidate.
    """
    wanted = list(dict.fromkeys(ids))
    if not 1 <= len(wanted) <= MOST:
        raise InvalidQuery("ids", ",".join(map(str, ids)), f"expected 1 to {MOST} candidates")
    rows = {i: row_of(run, i) for i in wanted}
    found = {entry["id"]: entry for entry in finalists(run)}
    return as_view(
        {
            "candidates": [
                {"id": i, "row": rows[i], "architecture": drawn(run, run.architecture(i)), "found": found.get(i)}
                for i in wanted
            ]
        }
    )
