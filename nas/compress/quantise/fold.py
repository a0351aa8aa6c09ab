"""Batch norms folded into the layers beside them, on the executed graph."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from nas.compress.errors import CannotCompress
from nas.compress.graph import argument, executed_graph, operation, tensor_name, tensor_of
from nas.compress.quantise.pure import add_tensor, make_pure_, read_tensor, remove_dead_
from search_spaces.layers import Shape

LAYERS = ("conv2d", "conv_transpose2d", "linear")
_AGREE = 1e-4  # of the largest output, between the network given and the folded one


def folded(model: nn.Module, input_shape: Shape) -> fx.GraphModule:
    """The network as a graph without the batch norms that a neighbouring layer can hold.

    A norm after a convolution, transposed convolution or linear layer is folded where the layer has no other reader;
    a norm before one where that is exact: without padding, and the layer its only reader. Layers that share a weight
    get a copy each. Every layer has a bias afterwards. Tensors keep their names of the state dict.

    Args:
        model: (N, C, H, W) float32 -> one tensor, in whatever mode; not changed.
        input_shape: (channels, height, width) of one image.
    Returns: the graph in evaluation mode, on the CPU, without gradients; its operations write no tensor in place.
    Raises: Untraceable; CannotCompress: the folded network computes something else, as with weights that overflow.
    Source: w' = a w, b' = beta + a (b - mean), a = gamma / sqrt(variance + eps), for each output channel.
    """
    graph = executed_graph(model, input_shape)
    graph.requires_grad_(False)
    images = torch.randn(3, *input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = graph(images)
    make_pure_(graph)
    _separate_weights(graph)
    for node in _layers(graph):
        _give_bias(graph, node)
    for node in list(graph.graph.nodes):
        if _is_norm(graph, node):
            _fold_backwards(graph, node)
    for node in list(graph.graph.nodes):
        if _is_norm(graph, node):
            _fold_forwards(graph, node)
    remove_dead_(graph)
    with torch.no_grad():
        _check(type(model).__name__, wanted, graph(images))
    return graph


def _layers(graph: fx.GraphModule) -> list[fx.Node]:
    """Layers whose weight is a tensor of the graph."""
    return [n for n in graph.graph.nodes if operation(n) in LAYERS and tensor_name(n.args[1]) is not None]


def _separate_weights(graph: fx.GraphModule) -> None:
    """A weight or bias that several nodes read becomes one tensor for each."""
    seen: set[str] = set()
    for node in _layers(graph):
        for at, source in list(enumerate(node.args[1:3], start=1)):
            name = tensor_name(source)
            if name is None:
                continue
            assert isinstance(source, fx.Node)
            if name in seen or any(operation(user) not in LAYERS for user in source.users):
                value = tensor_of(graph, source)
                assert value is not None
                node.update_arg(at, read_tensor(graph, add_tensor(graph, name, value), node))
            seen.add(name)


def _give_bias(graph: fx.GraphModule, node: fx.Node) -> None:
    if argument(node, 2, "bias") is not None:
        return
    weight, name = tensor_of(graph, node.args[1]), tensor_name(node.args[1])
    assert weight is not None
    assert name is not None
    groups = argument(node, 6, "groups", 1) if operation(node) == "conv_transpose2d" else 1
    channels = weight.shape[1] * groups if operation(node) == "conv_transpose2d" else len(weight)
    near = name.removesuffix("weight") + "bias" if name.endswith("weight") else f"{name}_bias"
    bias = read_tensor(graph, add_tensor(graph, near, torch.zeros(channels)), node)
    node.args = (*node.args[:2], bias, *node.args[3:])


def _is_norm(graph: fx.GraphModule, node: fx.Node) -> bool:
    """A batch norm with running statistics."""
    return (
        operation(node) == "batch_norm"
        and not argument(node, 5, "training", False)
        and tensor_of(graph, argument(node, 3, "running_mean")) is not None
    )


def _scale_and_shift(graph: fx.GraphModule, norm: fx.Node) -> tuple[Tensor, Tensor]:
    """Of each channel, float64: the norm computes scale * x + shift."""
    gamma, beta, mean, variance = (tensor_of(graph, argument(norm, at, "")) for at in (1, 2, 3, 4))
    assert mean is not None
    assert variance is not None
    scale = (variance.double() + argument(norm, 7, "eps", 1e-5)).rsqrt()
    scale = scale if gamma is None else scale * gamma.double()
    shift = -mean.double() * scale
    return scale, shift if beta is None else shift + beta.double()


def _set(graph: fx.GraphModule, node: object, value: Tensor) -> None:
    found = tensor_of(graph, node)
    assert found is not None
    found.data = value.float()


def _foldable(graph: fx.GraphModule, layer: object) -> bool:
    """A layer with a weight of its own; of linear layers those whose channels are the second dimension."""
    if not isinstance(layer, fx.Node) or operation(layer) not in LAYERS or tensor_of(graph, layer.args[1]) is None:
        return False
    return operation(layer) != "linear" or layer.meta["val"].ndim == 2


def _fold_backwards(graph: fx.GraphModule, norm: fx.Node) -> None:
    """Into the layer that makes the norm's input."""
    layer = norm.args[0]
    if not _foldable(graph, layer):
        return
    assert isinstance(layer, fx.Node)
    if len(layer.users) > 1:
        return
    scale, shift = _scale_and_shift(graph, norm)
    weight, bias = tensor_of(graph, layer.args[1]), tensor_of(graph, layer.args[2])
    assert weight is not None
    assert bias is not None
    if operation(layer) == "conv_transpose2d":  # (in, out / groups, ...): inputs of group g make its outputs
        groups = argument(layer, 6, "groups", 1)
        factor = scale.reshape(groups, 1, -1).expand(-1, len(weight) // groups, -1).reshape(weight.shape[:2])
        new = weight.double() * factor[:, :, None, None]
    else:
        new = weight.double() * scale.reshape(-1, *[1] * (weight.ndim - 1))
    _set(graph, layer.args[1], new)
    _set(graph, layer.args[2], bias.double() * scale + shift)
    norm.replace_all_uses_with(layer)
    graph.graph.erase_node(norm)


def _fold_forwards(graph: fx.GraphModule, norm: fx.Node) -> None:
    """Into the one layer that reads the norm, where no padding sees the shift."""
    readers = list(norm.users)
    if len(readers) != 1 or readers[0].args[0] is not norm or not _foldable(graph, readers[0]):
        return
    layer = readers[0]
    if operation(layer) == "conv_transpose2d" or (operation(layer) == "conv2d" and _padded(layer)):
        return
    scale, shift = _scale_and_shift(graph, norm)
    weight, bias = tensor_of(graph, layer.args[1]), tensor_of(graph, layer.args[2])
    assert weight is not None
    assert bias is not None
    groups = argument(layer, 6, "groups", 1) if operation(layer) == "conv2d" else 1
    of_output = len(weight) // groups
    per_input = [
        part.repeat_interleave(of_output, 0) for part in (scale.reshape(groups, -1), shift.reshape(groups, -1))
    ]
    scales, shifts = (part.reshape(*weight.shape[:2], *[1] * (weight.ndim - 2)) for part in per_input)
    _set(graph, layer.args[2], bias.double() + (weight.double() * shifts).flatten(1).sum(1))
    _set(graph, layer.args[1], weight.double() * scales)
    norm.replace_all_uses_with(norm.args[0])  # type: ignore[arg-type]
    graph.graph.erase_node(norm)


def _padded(layer: fx.Node) -> bool:
    padding = argument(layer, 4, "padding", 0)
    if isinstance(padding, str):
        return padding != "valid"
    return any(padding) if isinstance(padding, (list, tuple)) else bool(padding)


def _check(name: str, wanted: object, found: Tensor) -> None:
    if not isinstance(wanted, Tensor):
        raise CannotCompress(f"{name}: gives {type(wanted).__name__}, expected one tensor; wrap it in such a module")
    error = float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))
    if not error <= _AGREE:
        raise CannotCompress(
            f"{name}: with norms folded its outputs differ by {error:.2g} of the largest, expected at most {_AGREE:g}; "
            "weights or running statistics are not finite, or span too many orders of magnitude"
        )
