"""One candidate: figures, drawing, where it comes from, and what it could be instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas.run import REPORT, WINNER, Run
from nas.store import RunFileError
from nas.store.sampling import ancestors_of, children_of, rows_of
from nas.views.counterfactuals import changes, in_the_run
from nas.views.drawing import drawn
from nas.views.overview import finalists
from nas.views.plain import as_view

ANCESTORS, CHILDREN = 40, 12  # shown


class UnknownCandidate(RunFileError):
    """The run has no candidate of that id.

    Attributes:
        field: what was asked for.
        value: the id.
    """

    def __init__(self, message: str, value: int) -> None:
        super().__init__(message)
        self.field, self.value = "candidate", value


def candidate(run: Run, identity: int) -> dict[str, Any]:
    """Everything about one candidate.

    Args:
        run: open for reading.
        identity: of the candidate.
    Returns: "id", "row" (figures, outcome, reason), "architecture" (as of ``nas.views.drawing.drawn``), "lineage"
        ("ancestors" rows, nearest first, "children" rows, "children_count"), "found" (what the race and the device
        said; None without), "winner", "betters" (in the run), "changes" (single mutations), "downloads"; JSON-ready.
    Raises: UnknownCandidate.
    """
    row = row_of(run, identity)
    arch = run.architecture(identity)
    found = next((entry for entry in finalists(run) if entry["id"] == identity), None)
    winner = any(event["id"] == identity for event in run.events("winner")[-1:])
    return as_view(
        {
            "id": identity,
            "row": row,
            "architecture": drawn(run, arch),
            "lineage": _lineage(run, identity),
            "found": found,
            "winner": winner,
            "betters": in_the_run(run, row),
            "changes": changes(run, arch, row),
            "downloads": downloads(run) if winner else [],
        }
    )


def row_of(run: Run, identity: int) -> dict[str, Any]:
    """The figures of a candidate; raises UnknownCandidate."""
    found = rows_of(run.store, [identity]) if 0 <= identity < 2**63 else {}
    if identity not in found:
        raise UnknownCandidate(f"run {run.directory}: candidate {identity}: the run has none of that id", identity)
    return found[identity]


def downloads(run: Run) -> list[dict[str, Any]]:
    """Files of the delivered network and the report: "path" in the run, "bytes"."""
    folder = run.directory / WINNER
    files = sorted(path for path in folder.glob("*") if path.is_file()) if folder.is_dir() else []
    report = run.directory / REPORT
    return [_file(run.directory, path) for path in [*files, *([report] if report.is_file() else [])]]


def _file(directory: Path, path: Path) -> dict[str, Any]:
    return {"path": str(path.relative_to(directory)), "bytes": path.stat().st_size}


def _lineage(run: Run, identity: int) -> dict[str, Any]:
    ancestors = ancestors_of(run.store, identity, ANCESTORS)
    count, children = children_of(run.store, identity, CHILDREN)
    rows = rows_of(run.store, [*ancestors, *children])
    return {
        "ancestors": [rows[i] for i in ancestors if i in rows],
        "whole": len(ancestors) < ANCESTORS,
        "children": [rows[i] for i in children if i in rows],
        "children_count": count,
    }
