"""Which columns together describe the graph of a cell: operations on edges, or a matrix of edges and vertices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from predictors.reading.draft import Part

_EDGE = re.compile(r"(?P<start>.*?)\[?(?P<target>[0-9]+)<-(?P<source>[0-9]+)\]?(\.[0-9]+)?")
_ENTRY = re.compile(r"\[([0-9]+),([0-9]+)\]")
_VERTEX = re.compile(r"\[([0-9]+)\]")


def found(columns: Sequence[str], parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Graphs among the columns.

    Returns: of each graph: "edges", rows of (source, target, column), the column a choice of operations or, where
        there are "vertices", whether the edge is there; and "vertices", rows of (vertex, column of its operation).
    """
    graphs: dict[str, list[tuple[int, int, int]]] = {}
    for at, name in enumerate(columns):
        match = _EDGE.fullmatch(name)
        if match:
            graphs.setdefault(match["start"], []).append((int(match["source"]), int(match["target"]), at))
    cells: list[dict[str, Any]] = [
        {"edges": [list(edge) for edge in edges], "vertices": []} for edges in graphs.values() if len(edges) > 1
    ]
    at_name = {name: at for at, name in enumerate(columns)}
    for part in parts:
        if part.form == "matrix" and "vertices_in" in part.spec:
            cells.append(_matrix(part, at_name))
    return cells


def _matrix(part: Part, at: dict[str, int]) -> dict[str, Any]:
    edges, vertices = [], []
    for name in part.tokens.names:
        match = _ENTRY.fullmatch(name)
        if match and part.field + name in at:
            edges.append([int(match[1]), int(match[2]), at[part.field + name]])
    field = part.spec["vertices_in"]
    for name, column in at.items():
        match = _VERTEX.fullmatch(name[len(field) :]) if name.startswith(field) else None
        if match:
            vertices.append([int(match[1]), column])
    return {"edges": edges, "vertices": vertices}
