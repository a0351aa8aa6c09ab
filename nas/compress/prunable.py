"""Which weights of a network single-weight pruning may set to zero, and which of them each other tensor follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

from torch import fx, nn

from nas.compress.coupling_tracer import number
from nas.compress.errors import CannotCompress
from nas.compress.graph import argument, executed_graph, operation, tensor_name
from search_spaces.layers import Shape


@dataclass(frozen=True, slots=True)
class PrunableLayer:
    """The weight of one convolution or linear layer.

    Attributes:
        name: of the tensor in the state dict.
        weights: its entries.
        positions: multiply-accumulates of one image for each entry, padded taps included; layers that read one tensor
            add up.
    """

    name: str
    weights: int
    positions: int


@dataclass(frozen=True, slots=True, eq=False)
class Prunable:
    """The prunable part of a network.

    Attributes:
        layers: in order of execution.
        other_macs: multiply-accumulates of one image in the other convolutions and linear layers.
        follows: name of every parameter and buffer -> name of the prunable weight that it goes with: the last one
            executed before its first reader on any path to it, the first layer's before all of them. A prunable weight
            goes with itself, what the graph does not read with its module.
    """

    layers: tuple[PrunableLayer, ...]
    other_macs: int
    follows: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the prunable tensors, in order of execution."""
        return tuple(layer.name for layer in self.layers)

    @property
    def sizes(self) -> dict[str, int]:
        """Name -> entries."""
        return {layer.name: layer.weights for layer in self.layers}

    @property
    def dense_macs(self) -> int:
        """Of one image with all weights."""
        return self.other_macs + sum(layer.weights * layer.positions for layer in self.layers)

    def macs(self, kept: Mapping[str, int]) -> int:
        """Multiply-accumulates of one image when products with pruned weights are not counted.

        Args:
            kept: name -> remaining weights; a layer that is not named has all.
        """
        return self.other_macs + sum(kept.get(each.name, each.weights) * each.positions for each in self.layers)


def find_prunable(model: nn.Module, input_shape: Shape, *, stem: bool = False, classifier: bool = False) -> Prunable:
    """Weights of convolutions and linear layers, read off the executed graph; never norms, biases and tables.

    Args:
        model: (N, C, H, W) -> one tensor; not changed.
        input_shape: (channels, height, width) of one image.
        stem: also layers that no other convolution or linear layer comes before.
        classifier: also layers that none comes after.
    Raises: Untraceable; CannotCompress: nothing is left to prune.
    """
    nodes = list(executed_graph(model, input_shape).graph.nodes)
    names = _Names(model)
    weighted = {node: name for node in nodes if (name := _weight(node, names)) is not None}
    edges = set() if stem else _without(weighted, nodes, "all_input_nodes")
    edges |= set() if classifier else _without(weighted, reversed(nodes), "users")
    fixed = {weighted[node] for node in edges}
    chosen = {node: name for node, name in weighted.items() if name not in fixed}
    if not chosen:
        raise CannotCompress(
            f"{type(model).__name__}: {len(weighted)} convolutions and linear layers, none of them between stem and "
            "classifier; allow these with stem=True or classifier=True"
        )
    layers: dict[str, PrunableLayer] = {}
    for node, name in chosen.items():
        before = layers[name].positions if name in layers else 0
        layers[name] = PrunableLayer(name, names.size[name], before + _positions(node))
    others = (names.size[name] * _positions(node) for node, name in weighted.items() if node not in chosen)
    return Prunable(tuple(layers.values()), sum(others), _follows(nodes, chosen, names))


class _Names:
    """One name for every tensor, though tied parameters have several."""

    def __init__(self, model: nn.Module) -> None:
        first = {id(parameter): name for name, parameter in model.named_parameters()}
        self.of = {name: first[id(p)] for name, p in model.named_parameters(remove_duplicate=False)}
        self.size = {name: parameter.numel() for name, parameter in model.named_parameters()}
        self.all = list(dict.fromkeys([*self.of, *(name for name, _ in model.named_buffers(remove_duplicate=False))]))

    def parameter(self, node: object) -> str | None:
        """The first name of the parameter that a node reads."""
        return self.of.get(tensor_name(node) or "")


def _weight(node: fx.Node, names: _Names) -> str | None:
    op = operation(node)
    if op != "linear" and not op.startswith("conv"):
        return None
    return names.parameter(argument(node, 1, "weight"))


def _positions(node: fx.Node) -> int:
    """How often one image uses each weight."""
    op = operation(node)
    read = node.args[0] if op.startswith("conv_transpose") else node
    assert isinstance(read, fx.Node)
    sizes = [number(size) for size in read.meta["val"].shape]
    return prod(sizes[:-1] if op == "linear" else [sizes[0], *sizes[2:]])


def _without(weighted: Mapping[fx.Node, str], nodes: Iterator[fx.Node] | list[fx.Node], near: str) -> set[fx.Node]:
    """Weighted nodes that no weighted node comes before (``near`` is "all_input_nodes") or after ("users")."""
    beyond: set[fx.Node] = set()
    for node in nodes:
        if any(other in beyond or other in weighted for other in getattr(node, near)):
            beyond.add(node)
    return set(weighted) - beyond


def _follows(nodes: list[fx.Node], chosen: Mapping[fx.Node, str], names: _Names) -> dict[str, str]:
    order = {name: at for at, name in enumerate(dict.fromkeys(chosen.values()))}
    first = next(iter(order))
    at: dict[fx.Node, str] = {}
    found: dict[str, str] = {}
    for node in nodes:
        near = [at[read] for read in node.all_input_nodes if read in at]
        if node in chosen:
            at[node] = chosen[node]
        elif near:
            at[node] = max(near, key=order.__getitem__)
        for read in node.all_input_nodes:
            name = tensor_name(read)
            if name is not None:
                found.setdefault(names.of.get(name, name), at.get(node, first))
    found |= {name: name for name in order}
    return {name: found.get(names.of.get(name, name)) or _of_module(name, found, first) for name in names.all}


def _of_module(name: str, found: Mapping[str, str], first: str) -> str:
    """What a tensor that the graph does not read goes with: that of the tensor whose path agrees longest."""
    shared = {other: _agreement(name.split("."), other.split(".")) for other in found}
    best = max(shared, key=shared.__getitem__)
    return found[best] if shared[best] else first


def _agreement(path: list[str], other: list[str]) -> int:
    """Parts from the left that are equal."""
    return next((at for at, (a, b) in enumerate(zip(path, other, strict=False)) if a != b), min(len(path), len(other)))
