"""A quantised network in floating point that computes what integer kernels compute."""

from __future__ import annotations

from torch import Tensor, fx, nn

from nas.compress.graph import argument, tensor_of
from nas.compress.quantise.pure import add_tensor, read_tensor, remove_dead_
from nas.compress.quantise.quantised import Grid, Quantised, WeightCodes
from nas.compress.quantise.ranges import on_grid
from nas.compress.quantise.rounding import value_of

_INT32 = 2**31 - 1


class Rounding(nn.Module):
    """Puts a tensor on a grid."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, values: Tensor) -> Tensor:
        """Of any shape -> the same shape."""
        return on_grid(values, self.grid)

    def extra_repr(self) -> str:
        """The grid."""
        return str(self.grid)


def simulated(quantised: Quantised) -> nn.Module:
    """The network with rounded weights, biases and activations; equal to integer arithmetic up to float rounding.

    Args:
        quantised: not changed.
    Returns: (N, C, H, W) float32 -> one tensor, on the CPU, in evaluation mode; ``to`` moves it as any module. It has
        no gradients for training.
    """
    graph = _copied(quantised.graph)
    for node in list(graph.graph.nodes):
        codes = quantised.weights.get(node.name)
        if codes is not None:
            _replace(graph, node, 1, value_of(codes))
            source = node.args[0]
            grid = quantised.activations.get(source.name) if isinstance(source, fx.Node) else None
            bias = tensor_of(graph, argument(node, 2, "bias"))
            if bias is not None and grid is not None:
                _replace(graph, node, 2, _rounded_bias(bias, codes, grid))
    for node in list(graph.graph.nodes):
        grid = quantised.activations.get(node.name)
        if grid is not None:
            name = f"rounded_{node.name}"
            graph.add_submodule(name, Rounding(grid))
            with graph.graph.inserting_after(node):
                inserted = graph.graph.call_module(name, (node,))
            node.replace_all_uses_with(inserted, delete_user_cb=lambda user, kept=inserted: user is not kept)
    remove_dead_(graph)
    return graph.eval()


def float_network(quantised: Quantised) -> nn.Module:
    """The folded network before rounding, as a plain module of its own."""
    return _copied(quantised.graph).eval()


def _copied(graph: fx.GraphModule) -> fx.GraphModule:
    """The same operations on copies of the tensors, from one tensor to one tensor."""
    new = fx.Graph()
    results = new.graph_copy(graph.graph, {})
    while isinstance(results, (tuple, list)):
        results = results[0]
    new.output(results)
    names = {node.target for node in graph.graph.nodes if node.op == "get_attr"}
    copied = fx.GraphModule(nn.Module(), fx.Graph())
    for name in names:
        *path, leaf = str(name).split(".")
        owner: nn.Module = copied
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        source = getattr(graph.get_submodule(".".join(path)), leaf)
        owner.register_buffer(leaf, source.detach().clone())
    copied.graph = new
    return copied


def _replace(graph: fx.GraphModule, node: fx.Node, at: int, value: Tensor) -> None:
    name = add_tensor(graph, str(node.args[at].target), value)  # type: ignore[union-attr]
    node.update_arg(at, read_tensor(graph, name, node))


def _rounded_bias(bias: Tensor, codes: WeightCodes, grid: Grid) -> Tensor:
    """On the grid of the 32-bit sums: step of the input times step of the weight."""
    step = codes.scale.double() * grid.scale
    return ((bias.double() / step).round().clamp(-_INT32, _INT32) * step).float()
