"""Tensors between units, of the float network and of the one quantised so far, for all calibration images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from nas.compress.quantise.draft import Draft
from nas.compress.quantise.execution import After, run, with_sizes
from nas.compress.quantise.units import Unit

_BATCH = 64


class Caches:
    """Values of the tensors that units still to come read.

    Attributes:
        exact: of the float network, by node, (N, ...).
        rounded: of the network with all units before quantised.
    """

    def __init__(self, draft: Draft, units: Sequence[Unit], images: Tensor) -> None:
        placeholder = next(node for node in draft.graph.graph.nodes if node.op == "placeholder")
        self._draft, self._units, self._at = draft, units, 0
        self._float = dict(draft.tensors)
        self.exact = {placeholder: images}
        self.rounded = {placeholder: draft.rounded(placeholder, images)}

    def targets(self, unit: Unit) -> dict[fx.Node, Tensor]:
        """What the float network gives at a unit's exits."""
        return through(unit, self._float, self.exact)

    def advance(self, unit: Unit) -> None:
        """Past the next unit, with its weights and grids as they are now."""
        self.exact |= self.targets(unit)
        self.rounded |= self.quantised(unit)
        self._at += 1
        later = {entry for each in self._units[self._at :] for entry in each.entries}
        for values in (self.exact, self.rounded):
            for node in [node for node in values if node not in later]:
                del values[node]

    def quantised(self, unit: Unit, *, rounded: bool = True) -> dict[fx.Node, Tensor]:
        """What the quantised network gives at a unit's exits.

        Args:
            unit: the next one.
            rounded: whether the results of its operations are put on their grids.
        """
        tensors = {**self._draft.tensors, **self._draft.with_codes(unit.layers)}
        return through(unit, tensors, self.rounded, self._draft.rounded if rounded else None)


def through(
    unit: Unit, tensors: dict[fx.Node, Tensor], values: dict[fx.Node, Tensor], after: After | None = None
) -> dict[fx.Node, Tensor]:
    """A unit's exits for all images, in batches, without gradients."""
    nodes, found = with_sizes(unit.nodes), dict[fx.Node, list[Tensor]]()
    count = len(values[unit.entries[0]])
    with torch.no_grad():
        for start in range(0, count, _BATCH):
            entries = {node: values[node][start : start + _BATCH] for node in unit.entries}
            results = run(nodes, {**tensors, **entries}, after)
            for node in unit.exits:
                found.setdefault(node, []).append(results[node])
    return {node: torch.cat(parts) for node, parts in found.items()}
