"""Run a part of a graph, with other weights and with something done to each result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from nas.compress.errors import CannotCompress
from nas.compress.graph import argument, operation, tensor_of
from nas.compress.quantise.placement import is_activation

After = Callable[[fx.Node, Tensor], Tensor]


def run(nodes: Sequence[fx.Node], values: Mapping[fx.Node, Any], after: After | None = None) -> dict[fx.Node, Any]:
    """Execute nodes in order.

    Args:
        nodes: ATen operations.
        values: of what they read from outside: activations of one batch, and tensors of the graph.
        after: applied to each floating-point result; what it returns is what readers read.
    Returns: the values given and those of the nodes.
    """
    found = dict(values)
    for node in nodes:
        if operation(node) == "sym_size" and node.args[0] not in found:
            found[node] = _batch(node, values)
            continue
        arguments = fx.node.map_arg(node.args, found.__getitem__)
        keywords = fx.node.map_arg(node.kwargs, found.__getitem__)
        result = node.target(*arguments, **keywords)  # type: ignore[operator]
        found[node] = after(node, result) if after is not None and is_activation(node) else result
    return found


def constants(graph: fx.GraphModule, device: torch.device) -> dict[fx.Node, Tensor]:
    """Copies of the tensors that nodes read, on a device."""
    found = {}
    for node in graph.graph.nodes:
        tensor = tensor_of(graph, node)
        if tensor is not None:
            found[node] = tensor.detach().to(device).clone()
    return found


def operations(graph: fx.GraphModule) -> list[fx.Node]:
    """All operations, in order of execution."""
    return [node for node in graph.graph.nodes if node.op == "call_function"]


def with_sizes(nodes: Iterable[fx.Node]) -> list[fx.Node]:
    """Nodes, and before them those that compute the sizes which they read from outside."""
    asked = list(nodes)
    inside, before = set(asked), list[fx.Node]()

    def add(node: fx.Node) -> None:
        for source in node.all_input_nodes:
            if source.op == "call_function" and source not in inside and not is_tensor(source):
                inside.add(source)
                add(source)
                before.append(source)

    for node in asked:
        add(node)
    return [*before, *asked]


def is_tensor(node: fx.Node) -> bool:
    """Whether a node gives a tensor, and not a size."""
    return isinstance(node.meta.get("val"), Tensor)


def _batch(node: fx.Node, values: Mapping[fx.Node, Any]) -> int:
    """A size of a tensor that is not at hand: that of the batch, the only one that is not fixed."""
    if argument(node, 1, "dim") != 0:
        raise CannotCompress(f"{node.name}: reads a size other than the number of images; export fixes all others")
    return next(len(value) for source, value in values.items() if source.op != "get_attr" and is_tensor(source))
