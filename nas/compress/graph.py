"""What a network really executes: its graph of ATen operations, with the names that its own state dict uses.

Everything that must know how layers meet (coupled channels, folding, units of quantisation, ONNX) reads this graph,
never the order in which modules were registered.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from nas.compress.errors import CannotCompress, Untraceable
from search_spaces.layers import Shape


def executed_graph(model: nn.Module, input_shape: Shape) -> fx.GraphModule:
    """The operations of a network in evaluation mode, for any number of images, as a module that runs them.

    Nodes that read a tensor have ``op == "get_attr"`` and the tensor's name in the state dict as target; all others
    are ATen operations such as ``aten.conv2d.default``, with shapes in ``node.meta["val"]``.

    Args:
        model: (N, C, H, W) float32 -> one tensor. It is copied, not changed.
        input_shape: (channels, height, width) of one image.
    Raises: Untraceable: the message names the module and what PyTorch says.
    """
    original = copied(model).cpu().eval()
    example = torch.zeros(2, *input_shape)
    try:
        with torch.no_grad():
            dynamic = ({0: torch.export.Dim("batch")},)
            program = torch.export.export(original, (example,), dynamic_shapes=dynamic, strict=False)
        graph = program.module()
    except Exception as error:  # noqa: BLE001 - a user's module may raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        shape = "x".join(map(str, input_shape))
        raise Untraceable(
            f"{type(model).__name__}: PyTorch cannot export it for images of {shape} "
            f"({type(error).__name__}: {reason}); expected a module from one batch of images to one tensor, without "
            "branches on values and for any number of images (x.shape[0], not len(x))"
        ) from None
    assert isinstance(graph, fx.GraphModule)
    _remove_guards(graph)
    return graph


def copied(model: nn.Module) -> nn.Module:
    """A copy, so that a method never changes what it was given. Raises CannotCompress: it cannot be copied."""
    try:
        return copy.deepcopy(model)
    except Exception as error:  # noqa: BLE001 - a user's module may raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise CannotCompress(
            f"{type(model).__name__}: cannot be copied ({reason}); make masks and parametrisations permanent first, "
            "with torch.nn.utils.prune.remove or torch.nn.utils.parametrize.remove_parametrizations"
        ) from None


def operation(node: fx.Node) -> str:
    """Name of an ATen operation without overload and trailing underscore, as "conv2d" or "add"; "" for other nodes."""
    if node.op != "call_function":
        return ""
    parts = str(node.target).split(".")
    return parts[1].rstrip("_") if parts[0] == "aten" and len(parts) > 1 else str(node.target)


def argument(node: fx.Node, index: int, name: str, default: Any = None) -> Any:
    """A positional argument that may be given by name or not at all."""
    if index < len(node.args):
        return node.args[index]
    return node.kwargs.get(name, default)


def place(node: fx.Node) -> str:
    """Dotted path of the module that computes a node, or the node's own name."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path]
    return paths[-1] if paths else node.name


def tensor_name(node: object) -> str | None:
    """Name in the state dict of the tensor that a node reads; None for everything else."""
    return str(node.target) if isinstance(node, fx.Node) and node.op == "get_attr" else None


def tensor_of(graph: fx.GraphModule, node: object) -> Tensor | None:
    """The tensor that a node reads."""
    name = tensor_name(node)
    if name is None:
        return None
    *path, leaf = name.split(".")
    found = getattr(graph.get_submodule(".".join(path)), leaf)
    return found if isinstance(found, Tensor) else None


def _remove_guards(graph: fx.GraphModule) -> None:
    """Drop the check of shapes that torch.export adds; nobody reads its result."""
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and node.target == "_guards_fn":
            graph.graph.erase_node(node)
    graph.graph.lint()
    graph.recompile()
