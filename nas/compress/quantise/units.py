"""Parts of a network that are calibrated together (Basic-Units), found on its graph.

Source: Lin et al. 2021, "UWC: Unit-wise Calibration Towards Rapid Network Compression" (arXiv 2201.06376).
Deviations: no rule of the paper's code is public. A part with one entry and one exit that is no plain chain (a residual
block, an inverted residual with its shortcut) is a unit; runs of single layers are cut into units where the fewest
channels pass; a part of too many layers (a dense block, a U-Net) is cut in order of execution and may then have several
entries and exits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx

from nas.compress.quantise.execution import is_tensor, operations
from nas.compress.quantise.placement import is_activation

_ALONE = 3  # layers of a chain that a unit should have


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """Consecutive operations.

    Attributes:
        nodes: in order of execution.
        entries: tensors from outside that they read, without those of the state dict.
        exits: tensors that are read outside.
        layers: the nodes with integer weights.
    """

    nodes: tuple[fx.Node, ...]
    entries: tuple[fx.Node, ...]
    exits: tuple[fx.Node, ...]
    layers: tuple[fx.Node, ...]

    @property
    def name(self) -> str:
        """Of its layers, or of its operations where it has none."""
        return "+".join(node.name for node in self.layers or self.nodes)


def basic_units(
    graph: fx.GraphModule, layers: Sequence[fx.Node], *, alone: set[fx.Node], most_layers: int
) -> list[Unit]:
    """All operations in units, in order of execution.

    Args:
        graph: folded.
        layers: nodes with integer weights.
        alone: layers that are a unit by themselves: the first and the last.
        most_layers: of a unit.
    """
    weighted = set(layers)
    parts: list[list[fx.Node]] = []
    run: list[list[fx.Node]] = []
    for segment in _with_layers(_segments(operations(graph)), weighted):
        count = len(weighted & set(segment))
        if count == 1 and not alone & set(segment):
            run.append(segment)
            continue
        parts += _cut_run(run, most_layers)
        run = []
        parts += [segment] if count <= most_layers else _cut_long(segment, weighted, most_layers)
    return _made([*parts, *_cut_run(run, most_layers)], weighted)


def single_layers(graph: fx.GraphModule, layers: Sequence[fx.Node], *, with_functions: bool = True) -> list[Unit]:
    """All operations, with a unit for each layer, and units without layers between them.

    Args:
        graph: folded.
        layers: nodes with integer weights.
        with_functions: whether a layer's unit holds the function, as ReLU, that alone reads it.
    """
    weighted, parts = set(layers), list[list[fx.Node]]()
    for node in operations(graph):
        before = parts[-1] if parts else []
        follows = len(before) == 1 and before[0] in weighted and list(before[0].users) == [node]
        function = with_functions and follows and [n for n in node.all_input_nodes if n.op != "get_attr"] == before
        free = bool(before) and not weighted & set(before)
        if node not in weighted and (function or free):
            before.append(node)
        else:
            parts.append([node])
    return _made(parts, weighted)


def _segments(nodes: Sequence[fx.Node]) -> list[list[fx.Node]]:
    """Cut after every node whose result is all that later ones read."""
    order = {node: at for at, node in enumerate(nodes)}
    segments, current, open_until = list[list[fx.Node]](), list[fx.Node](), -1
    first = [source for node in nodes for source in node.all_input_nodes if source.op == "placeholder"]
    open_until = max((order[user] for node in first for user in node.users if user in order), default=-1)
    for at, node in enumerate(nodes):
        current.append(node)
        last = max((order[user] for user in node.users if user in order), default=at)
        if open_until <= at and is_activation(node):
            segments.append(current)
            current = []
        open_until = max(open_until, last) if is_tensor(node) else open_until
    return [*segments, current] if current else segments


def _with_layers(segments: list[list[fx.Node]], weighted: set[fx.Node]) -> list[list[fx.Node]]:
    """Segments without a layer go to the one before."""
    found: list[list[fx.Node]] = []
    for segment in segments:
        if found and not (weighted & set(segment) and weighted & set(found[-1])):
            found[-1] += segment
        else:
            found.append(list(segment))
    return found


def _cut_run(run: list[list[fx.Node]], most_layers: int) -> list[list[fx.Node]]:
    """A chain of single layers in as few units of about three as possible, cut where the fewest channels pass."""
    if not run:
        return []
    pieces = math.ceil(len(run) / min(_ALONE, most_layers))
    channels = [segment[-1].meta["val"].shape[1] for segment in run]
    best: dict[tuple[int, int], tuple[float, list[int]]] = {(0, 0): (0.0, [])}
    for end in range(1, len(run) + 1):
        for piece in range(1, pieces + 1):
            tried = [
                (best[start, piece - 1][0] + (channels[end - 1] if end < len(run) else 0), start)
                for start in range(max(0, end - most_layers), end)
                if (start, piece - 1) in best
            ]
            if tried:
                cost, start = min(tried)
                best[end, piece] = (cost, [*best[start, piece - 1][1], end])
    ends = best[len(run), pieces][1]
    starts = [0, *ends[:-1]]
    return [[node for segment in run[a:b] for node in segment] for a, b in zip(starts, ends, strict=True)]


def _cut_long(segment: list[fx.Node], weighted: set[fx.Node], most_layers: int) -> list[list[fx.Node]]:
    """Pieces of about equally many layers, in order of execution."""
    count = len(weighted & set(segment))
    each = math.ceil(count / math.ceil(count / most_layers))
    pieces, inside = [list[fx.Node]()], 0
    for node in segment:
        if node in weighted and inside == each:
            pieces.append([])
            inside = 0
        inside += node in weighted
        pieces[-1].append(node)
    return pieces


def _made(parts: list[list[fx.Node]], weighted: set[fx.Node]) -> list[Unit]:
    units = []
    for part in parts:
        inside = set(part)
        entries = [source for node in part for source in node.all_input_nodes if source not in inside]
        entries = [source for source in dict.fromkeys(entries) if source.op != "get_attr" and is_tensor(source)]
        exits = [node for node in part if is_tensor(node) and any(user not in inside for user in node.users)]
        units.append(Unit(tuple(part), tuple(entries), tuple(exits), tuple(n for n in part if n in weighted)))
    return units
