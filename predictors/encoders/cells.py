"""Cells that are graphs: what happens on the way from input to output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictors.encoders.cell_graph import PASSED, CellGraph
from predictors.encoders.encoder import Encoder, Floats, Ints, group_of_columns
from predictors.encoders.hats import Hats, absent_columns
from predictors.schema import Schema

PLACED = 0.4  # weight of what stands where: with N = 50 to 400 labels more hurts small cells, less hurts large ones
MOST_SEQUENCES = 128  # possible ones that all become features; of more, those that fitted cells have


@dataclass
class _Cell:
    """Frozen features of one cell.

    Attributes:
        graph: its paths.
        sequences: (q,) ascending codes of the sequences that are features.
        mean, deviation: (g,) of the counts in the fitted rows.
    """

    graph: CellGraph
    sequences: NDArray[np.int64]
    mean: Floats
    deviation: Floats


class Cells(Encoder):
    """Path encoding and counts on the live part of a cell.

    A path is live if no edge of it is missing or carries nothing. Features are: for each sequence of operations the
    root of the number of live paths that have it, where operations that change nothing are left out; and,
    standardised, how often each operation stands on live edges, how many paths live, the most and the least of each
    operation, of all convolutions and of all operations that a live path has, and the mean of each operation over the
    live paths. With less weight, which tells cells apart that have the same paths: which edge or vertex is live, and
    which operation is there. Choices outside the cells are one-hot.

    Source: White et al. 2019, "BANANAS", arXiv 1910.11858 (path encoding); White et al. 2020, "A Study on Encodings
        for Neural Architecture Search", arXiv 2007.04965. Deviations: skips are left out of the sequences, dead paths
        do not count, paths are counted, and further counts stand beside them.
    """

    @classmethod
    def applies(cls, schema: Schema) -> bool:
        """Whether columns of the schema describe a graph with an input and an output."""
        return any(CellGraph.of(schema, cell) is not None for cell in schema.source.get("cells", ()))

    def _fit_choices(self, raw: Floats, schema: Schema) -> tuple[Sequence[str], Sequence[int]]:
        names: list[str] = []
        groups: list[int] = []
        inside: set[int] = set()
        self._cells: list[_Cell] = []
        for cell in schema.source["cells"]:
            graph = CellGraph.of(schema, cell)
            if graph is None:
                continue
            inside |= {int(at) for at in (*graph.edges, *graph.steps)}
            fitted, found = _fitted(graph, raw, schema)
            self._cells.append(fitted)
            groups += [len(schema.columns) + len(self._cells) - 1] * len(found)
            names += found
        others = [at for at in schema.of_kind("choice") if at not in inside]
        self._hats = Hats.on(schema, others, [at for at in absent_columns(raw, schema) if at in others])
        of_columns = group_of_columns(schema)
        groups += [of_columns[at] for at in self._hats.of]
        return [*names, *self._hats.names], np.unique(groups, return_inverse=True)[1].tolist()

    def _encode(self, raw: Floats) -> Floats:
        found = []
        for cell in self._cells:
            codes = cell.graph.codes_of(raw)
            live = cell.graph.live(raw, codes)
            along = cell.graph.along(codes)
            found.append(_occurrences(_sequences(along, len(cell.graph.operations)), live, cell.sequences))
            found.append((_counts(cell.graph, codes, live, along) - cell.mean) / cell.deviation)
            found.append(_placed(cell.graph, codes, live))
        return np.hstack([*found, self._hats.apply(raw)])


def _fitted(graph: CellGraph, raw: Floats, schema: Schema) -> tuple[_Cell, list[str]]:
    codes = graph.codes_of(raw)
    live = graph.live(raw, codes)
    along = graph.along(codes)
    kinds = len(graph.operations)
    longest = along.shape[2]
    if sum(kinds**length for length in range(longest + 1)) <= MOST_SEQUENCES:
        sequences = _all_sequences(kinds, longest)
    else:
        sequences = np.unique(_sequences(along, kinds)[live])
    counts = _counts(graph, codes, live, along)
    deviation = counts.std(axis=0)
    cell = _Cell(graph, sequences, counts.mean(axis=0), np.where(deviation > 0, deviation, 1.0))
    names = ["path " + (_said(int(code), graph.operations) or "straight") for code in sequences]
    return cell, names + _count_names(graph) + _placed_names(graph, schema)


def _placed_names(graph: CellGraph, schema: Schema) -> list[str]:
    steps = [schema.columns[at].name for at in graph.steps]
    kinds = [*(["passed"] if graph.on_steps else []), *graph.operations]
    edges = [] if graph.on_steps else [schema.columns[at].name for at in graph.edges]
    return [f"live {name}" for name in edges] + [f"live {step}={kind}" for kind in kinds for step in steps]


def _placed(graph: CellGraph, codes: Ints, live: NDArray[np.bool_]) -> Floats:
    """(n, p) PLACED for each live edge of a matrix, and for each operation of each live step."""
    used = _used_steps(graph, live)
    kinds = range(PASSED if graph.on_steps else 1, len(graph.operations) + 1)
    edges = [] if graph.on_steps else [live.astype(np.float64) @ graph.paths > 0]
    return PLACED * np.hstack([*edges, *(used & (codes == kind) for kind in kinds)])


def _all_sequences(kinds: int, longest: int) -> NDArray[np.int64]:
    found = layer = [0]
    for _ in range(longest):
        layer = [code * (kinds + 1) + kind for code in layer for kind in range(1, kinds + 1)]
        found = found + layer
    return np.array(found, np.int64)


def _sequences(along: Ints, kinds: int) -> NDArray[np.int64]:
    """(n, p) sequence of each path as one number: its operations are the digits."""
    code = np.zeros(along.shape[:2], np.int64)
    for step in range(along.shape[2]):
        here = along[:, :, step]
        code = np.where(here > PASSED, code * (kinds + 1) + here, code)
    return code


def _said(code: int, operations: Sequence[str]) -> str:
    digits = []
    while code:
        code, digit = divmod(code, len(operations) + 1)
        digits.append(operations[digit - 1])
    return " > ".join(reversed(digits))


def _occurrences(sequences: NDArray[np.int64], live: NDArray[np.bool_], known: NDArray[np.int64]) -> Floats:
    """(n, q) root of how many live paths have each known sequence."""
    found = np.zeros((len(sequences), len(known)))
    if not len(known):
        return found
    at = np.minimum(np.searchsorted(known, sequences), len(known) - 1)
    rows, paths = np.nonzero(live & (known[at] == sequences))
    np.add.at(found, (rows, at[rows, paths]), 1.0)
    return np.sqrt(found, out=found)


def _count_names(graph: CellGraph) -> list[str]:
    kinds = [*graph.operations, *(["convolution"] if len(graph.convolutions) > 1 else []), "operation"]
    skipped = ["live passed"] if graph.on_steps else []
    return [
        *skipped,
        *(f"live {name}" for name in graph.operations),
        "live paths",
        *(f"most {name}" for name in kinds),
        *(f"least {name}" for name in kinds),
        *(f"mean {name}" for name in [*(["passed"] if graph.on_steps else []), *graph.operations]),
    ]


def _counts(graph: CellGraph, codes: Ints, live: NDArray[np.bool_], along: Ints) -> Floats:
    """(n, g) counts on live steps, number of live paths; most, least and mean of each kind on a live path."""
    kinds = range(1, len(graph.operations) + 1)
    used = _used_steps(graph, live)
    found = [(used & (codes == kind)).sum(axis=1) for kind in (*([PASSED] if graph.on_steps else []), *kinds)]
    found.append(live.sum(axis=1))
    each = [(along == kind).sum(axis=2) for kind in kinds]
    if len(graph.convolutions) > 1:
        each.append(sum((each[kind - 1] for kind in graph.convolutions), np.zeros_like(each[0])))
    each.append((along > PASSED).sum(axis=2))
    longest = along.shape[2]
    found += [np.where(live, count, -1).max(axis=1) for count in each]
    found += [np.where(live, count, longest).min(axis=1) for count in each]
    if graph.on_steps:
        inside = graph.walks < len(graph.steps)
        each = [((along == PASSED) & inside).sum(axis=2), *each]
    paths = np.maximum(live.sum(axis=1), 1)
    found += [(live * count).sum(axis=1) / paths for count in each[: len(graph.operations) + graph.on_steps]]
    return np.column_stack(found).astype(np.float64)


def _used_steps(graph: CellGraph, live: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, s) whether a live path goes over each step."""
    over = np.zeros((len(graph.walks), len(graph.steps) + 1))
    over[np.arange(len(over))[:, None], graph.walks] = 1.0
    return np.asarray(live.astype(np.float64) @ over[:, :-1] > 0)
