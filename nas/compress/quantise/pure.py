"""A graph whose every value is written once: no operation in place, no dropout, nothing computed from constants."""

from __future__ import annotations

import torch
from torch import Tensor, fx

from nas.compress.graph import argument, operation, tensor_of

_IDENTITIES = ("dropout", "alpha_dropout", "feature_dropout", "alias", "detach")  # a copy may be what a view needs
_RANDOM = ("rand", "randn", "randint", "bernoulli", "normal", "empty")


def make_pure_(graph: fx.GraphModule) -> None:
    """Replace operations in place by their like, drop identities, compute once what depends on no image.

    Args:
        graph: of ``executed_graph``, in evaluation mode; changed.
    """
    for node in list(graph.graph.nodes):
        _without_in_place(node)
        _without_identity(graph, node)
    _fold_constants(graph)
    remove_dead_(graph)


def remove_dead_(graph: fx.GraphModule) -> None:
    """Drop nodes that nobody reads, and the tensors that no node reads."""
    for node in reversed(list(graph.graph.nodes)):
        if node.op in ("get_attr", "call_function") and not node.users:
            graph.graph.erase_node(node)
    used = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    for name in {*dict(graph.named_parameters()), *dict(graph.named_buffers())} - used:
        *path, leaf = name.split(".")
        delattr(graph.get_submodule(".".join(path)), leaf)
    graph.graph.lint()
    graph.recompile()


def add_tensor(graph: fx.GraphModule, name: str, value: Tensor) -> str:
    """Keep a tensor as a buffer of the graph under a free name near ``name``; returns that name."""
    *path, leaf = name.split(".")
    owner = graph.get_submodule(".".join(path))
    free, count = leaf, 1
    while hasattr(owner, free):
        count += 1
        free = f"{leaf}_{count}"
    owner.register_buffer(free, value.detach().clone())
    return ".".join([*path, free])


def read_tensor(graph: fx.GraphModule, name: str, before: fx.Node) -> fx.Node:
    """A node that reads a tensor of the graph, in front of the node that needs it."""
    with graph.graph.inserting_before(before):
        node = graph.graph.get_attr(name)
    node.meta["val"] = tensor_of(graph, node)
    return node


def _without_in_place(node: fx.Node) -> None:
    """The written tensor's later readers read the result instead."""
    packet = getattr(node.target, "overloadpacket", None)
    name = str(packet).rpartition(".")[2] if packet is not None else ""
    if not name.endswith("_") or name.startswith("_") or not hasattr(torch.ops.aten, name[:-1]):
        return
    overload = node.target._overloadname  # type: ignore[union-attr]
    node.target = getattr(getattr(torch.ops.aten, name[:-1]), overload)
    written = node.args[0]
    if isinstance(written, fx.Node):
        later = set(_after(node))
        written.replace_all_uses_with(node, delete_user_cb=lambda user: user in later)


def _after(node: fx.Node) -> list[fx.Node]:
    nodes = list(node.graph.nodes)
    return nodes[nodes.index(node) + 1 :]


def _without_identity(graph: fx.GraphModule, node: fx.Node) -> None:
    training = argument(node, 2, "train", False) if operation(node).endswith("dropout") else False
    if operation(node) in _IDENTITIES and not training:
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
        graph.graph.erase_node(node)


def _fold_constants(graph: fx.GraphModule) -> None:
    """Standardised weights, tables of positions: computed once, kept as tensors."""
    values: dict[fx.Node, Tensor] = {}
    for node in list(graph.graph.nodes):
        tensor = tensor_of(graph, node)
        if tensor is not None:
            values[node] = tensor
        elif _is_constant(node, values):
            with torch.no_grad():
                result = node.target(
                    *fx.node.map_arg(node.args, values.__getitem__), **fx.node.map_arg(node.kwargs, values.__getitem__)
                )
            if isinstance(result, Tensor):
                values[node] = result
    for node, value in values.items():
        if node.op == "call_function" and any(user not in values for user in node.users):
            name = add_tensor(graph, f"constant_{node.name}", value)
            node.replace_all_uses_with(read_tensor(graph, name, node))


def _is_constant(node: fx.Node, values: dict[fx.Node, Tensor]) -> bool:
    if node.op != "call_function" or operation(node) in _RANDOM:
        return False
    return bool(node.all_input_nodes) and all(source in values for source in node.all_input_nodes)
