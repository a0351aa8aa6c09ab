"""The graph of a cell: which paths lead from its input to its output, which of them carry something, and what."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from predictors.encoders.hats import labels_of
from predictors.schema import Column, Schema

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
MOST_PATHS = 256
NOTHING, PASSED = -1, 0  # codes of an operation that carries nothing, and of one that changes nothing
_NOTHING = re.compile(r"none|zero(ize)?|null", re.IGNORECASE)
_PASSED = re.compile(r"skip.*|id(en(tity)?)?|input|output", re.IGNORECASE)
_CONVOLUTION = re.compile(r".*conv.*", re.IGNORECASE)


@dataclass
class CellGraph:
    """What a schema says of a cell, in arrays.

    Attributes:
        edges: (e,) column of each edge.
        steps: (s,) column of each operation: of an edge, or of a vertex.
        on_steps: whether operations are on edges, which then are the steps.
        paths: (p, e) 1 for the edges of each path from the first to the last node.
        walks: (p, l) steps of each path in order; s fills up.
        operations: names, from code 1.
        codes: code of each level of the operations, by its position among the levels.
        levels: values of the levels in the matrix, ascending.
        convolutions: codes of the operations that are convolutions by name.
    """

    edges: Ints
    steps: Ints
    on_steps: bool
    paths: Floats
    walks: Ints
    operations: list[str]
    codes: Ints
    levels: Floats
    convolutions: list[int]

    @classmethod
    def of(cls, schema: Schema, cell: dict[str, Any]) -> Self | None:
        """The graph of one row of ``schema.source["cells"]``; None where it has no path or too many."""
        edges, vertices = cell["edges"], cell["vertices"]
        paths = _paths(edges)
        steps = [column for _, column in vertices] if vertices else [column for *_, column in edges]
        levels = {schema.columns[column].levels for column in steps}
        if paths is None or len(levels) != 1:
            return None
        at = {vertex: i for i, (vertex, _) in enumerate(vertices)}
        walks = [[at[edges[e][0]] for e in path if edges[e][0] in at] if vertices else list(path) for path in paths]
        width = max(1, *map(len, walks))
        incidence = np.zeros((len(paths), len(edges)))
        for i, path in enumerate(paths):
            incidence[i, list(path)] = 1.0
        operations, codes = _operations(schema.columns[steps[0]], named=not vertices)
        column = schema.columns[steps[0]]
        values = [float(level) for level in column.levels] if column.ordered else range(len(column.levels))
        return cls(
            np.array([column for *_, column in edges], np.intp),
            np.array(steps, np.intp),
            not vertices,
            incidence,
            np.array([walk + [len(steps)] * (width - len(walk)) for walk in walks], np.intp),
            operations,
            codes,
            np.array(values, np.float64),
            [i for i, name in enumerate(operations, 1) if _CONVOLUTION.fullmatch(name)],
        )

    def codes_of(self, raw: Floats) -> Ints:
        """(n, s) code of the operation of every step; NOTHING where it does not exist."""
        values = raw[:, self.steps]
        nearest = np.searchsorted(self.levels, np.nan_to_num(values))
        codes = self.codes[np.minimum(nearest, len(self.levels) - 1)]
        return np.asarray(np.where(np.isnan(values), NOTHING, codes))

    def live(self, raw: Floats, codes: Ints) -> NDArray[np.bool_]:
        """(n, p) whether every edge of a path is there and carries something."""
        dead = codes == NOTHING if self.on_steps else ~(raw[:, self.edges] > 0)
        return np.asarray(dead.astype(np.float64) @ self.paths.T == 0)

    def along(self, codes: Ints) -> Ints:
        """(n, p, l) codes along every path."""
        padded = np.hstack([codes, np.full((len(codes), 1), PASSED, np.intp)])
        return padded[:, self.walks]


def _operations(column: Column, named: bool) -> tuple[list[str], Ints]:
    """Names of what does something, and the code of every level."""
    operations: list[str] = []
    codes = []
    for label in labels_of(column):
        if named and _NOTHING.fullmatch(label):
            codes.append(NOTHING)
        elif named and _PASSED.fullmatch(label):
            codes.append(PASSED)
        else:
            operations.append(label)
            codes.append(len(operations))
    return operations, np.array(codes, np.intp)


def _paths(edges: list[list[int]]) -> list[tuple[int, ...]] | None:
    """Paths from the node that nothing enters to the node that nothing leaves, as edges; None when too many."""
    after: dict[int, list[int]] = defaultdict(list)
    for i, (source, *_) in enumerate(edges):
        after[source].append(i)
    start, end = min(edge[0] for edge in edges), max(edge[1] for edge in edges)
    if any(edge[0] >= edge[1] for edge in edges):
        return None
    found: list[tuple[int, ...]] = []
    open_paths: list[tuple[int, tuple[int, ...]]] = [(start, ())]
    while open_paths:
        node, path = open_paths.pop()
        if node == end:
            found.append(path)
        if len(found) + len(open_paths) > MOST_PATHS:
            return None
        open_paths += [(edges[i][1], (*path, i)) for i in after[node]]
    return sorted(found, key=lambda path: (len(path), path)) or None
