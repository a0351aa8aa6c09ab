"""A network while it is being quantised: float tensors, codes and grids as they are by now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from nas.compress.graph import argument, tensor_of
from nas.compress.quantise.execution import constants, operations, run
from nas.compress.quantise.placement import Placement, is_activation
from nas.compress.quantise.quantised import Grid, Quantised, WeightCodes
from nas.compress.quantise.ranges import grid_of, on_grid, searched_grid, weight_scale, with_room_for_bias
from nas.compress.quantise.rounding import nearest, value_of
from nas.compress.quantise.settings import MOST_BITS
from search_spaces.layers import Shape

_SAMPLE = 16_384  # values of a tensor that the search for a clip looks at


@dataclass(eq=False)
class Draft:
    """What is decided so far.

    Attributes:
        graph: folded.
        placement: what is quantised.
        tensors: of the float network, on the device of the calibration, by the node that reads them.
        codes: of the layers in ``placement``.
        grids: as many as ``placement.grids``.
    """

    graph: fx.GraphModule
    placement: Placement
    tensors: dict[fx.Node, Tensor]
    codes: dict[fx.Node, WeightCodes]
    grids: list[Grid]

    def __post_init__(self) -> None:
        self.group = {node: at for at, (nodes, _) in enumerate(self.placement.grids) for node in nodes}
        self.makers = {node for node in self.group if not self._moves(node)}

    def _moves(self, node: fx.Node) -> bool:
        """Whether a node passes on values of its own grid."""
        sources = [source for source in node.all_input_nodes if is_activation(source)]
        return bool(sources) and all(self.group.get(source) == self.group[node] for source in sources)

    @property
    def device(self) -> torch.device:
        """Of the tensors."""
        return next(iter(self.tensors.values())).device

    def rounded(self, node: fx.Node, value: Tensor) -> Tensor:
        """A result on its grid, if it has one that its inputs are not on already."""
        return on_grid(value, self.grids[self.group[node]]) if node in self.makers else value

    def with_codes(self, layers: Sequence[fx.Node]) -> dict[fx.Node, Tensor]:
        """Rounded weights of these layers, by the node that reads them."""
        return {weight_node(node): value_of(self.codes[node]).to(self.device) for node in layers}

    def weight(self, layer: fx.Node) -> Tensor:
        """Float weight of a layer."""
        return self.tensors[weight_node(layer)]

    def result(self, input_shape: Shape) -> Quantised:
        """The finished network."""
        order = {node.name: node for node in self.graph.graph.nodes}
        grids = {name: self.grids[self.group[node]] for name, node in order.items() if node in self.group}
        return Quantised(self.graph, {node.name: codes for node, codes in self.codes.items()}, grids, input_shape)


def drafted(
    graph: fx.GraphModule, placement: Placement, images: Tensor, *, search: bool, batch_size: int, seed: int
) -> Draft:
    """Ranges of all tensors on the calibration images, weights rounded to nearest.

    Args:
        graph: folded.
        placement: what is quantised.
        images: (N, C, H, W), on the device to compute on.
        search: for the clips of least error; else, and on 8 bits, grids span all values seen. On 8 bits a clip of
            least squared error was worse for the outputs: what it cuts off are the strongest features.
        batch_size: images at a time.
        seed: of the sample of values.
    """
    draft = Draft(graph, placement, constants(graph, images.device), {}, [])
    makers = [nodes for nodes, _ in placement.grids]
    ranges = _observed(draft, {node for nodes in makers for node in nodes}, images, batch_size, seed)
    for nodes, bits in placement.grids:
        low, high = min(ranges[n].low for n in nodes), max(ranges[n].high for n in nodes)
        if search and bits < MOST_BITS:
            values = torch.cat([ranges[n].sample for n in nodes])
            draft.grids.append(searched_grid(values, low, high, bits))
        else:
            draft.grids.append(grid_of(low, high, bits))
    for node, bits in placement.weights.items():
        weight = draft.weight(node)
        scale = weight_scale(weight, bits, search=search and bits < MOST_BITS)
        at = draft.group.get(node.args[0])  # type: ignore[arg-type]
        if at is not None:
            scale = with_room_for_bias(scale, _bias(draft, node), draft.grids[at].scale)
        draft.codes[node] = nearest(weight, scale, bits)
    return draft


def shift_bias_(draft: Draft, layer: fx.Node, shift: Tensor) -> None:
    """Add to a layer's bias, in the graph and in the copy to compute with."""
    node = argument(layer, 2, "bias")
    stored = tensor_of(draft.graph, node)
    assert stored is not None
    stored.data = stored.data + shift.to(stored.device)
    draft.tensors[node] = stored.to(draft.device)


def _bias(draft: Draft, layer: fx.Node) -> Tensor | None:
    return draft.tensors.get(argument(layer, 2, "bias"))


def weight_node(layer: fx.Node) -> fx.Node:
    """The node that reads a layer's weight."""
    node = layer.args[1]
    assert isinstance(node, fx.Node)
    return node


@dataclass(frozen=True, slots=True, eq=False)
class _Range:
    low: float
    high: float
    sample: Tensor

    def joined(self, other: _Range) -> _Range:
        sample = torch.cat([self.sample, other.sample])
        return replace(self, low=min(self.low, other.low), high=max(self.high, other.high), sample=sample)


def _observed(draft: Draft, wanted: set[fx.Node], images: Tensor, batch_size: int, seed: int) -> dict[fx.Node, _Range]:
    """Ranges of tensors of the float network, and a sample of each."""
    found: dict[fx.Node, _Range] = {}
    generator = torch.Generator().manual_seed(seed)
    share = max(1, _SAMPLE * batch_size // len(images))

    def look(node: fx.Node, value: Tensor) -> Tensor:
        if node in wanted:
            flat = value.reshape(-1)
            picked = torch.randint(len(flat), (min(share, len(flat)),), generator=generator).to(flat.device)
            low, high = torch.aminmax(flat)
            seen = _Range(float(low), float(high), flat[picked])
            found[node] = found[node].joined(seen) if node in found else seen
        return value

    nodes = operations(draft.graph)
    placeholder = next(node for node in draft.graph.graph.nodes if node.op == "placeholder")
    with torch.no_grad():
        for batch in torch.split(images, batch_size):
            look(placeholder, batch)
            run(nodes, {**draft.tensors, placeholder: batch}, look)
    return found
