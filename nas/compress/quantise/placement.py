"""Which layers have integer weights, which tensors lie on a grid, and on how many bits.

A tensor has one grid, whoever reads it. Inputs of layers have the bits of the settings; all else that an integer kernel
reads or writes (outputs of layers, operands and results of additions, products, concatenations and pools) has 8 bits.
Between a layer or an addition and the ReLU that alone reads it no rounding is needed: kernels do both at once. Logits
stay in floating point. Operations that only move values (and those that pick some, as max pooling) share the grid of
their input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from torch import Tensor, fx

from nas.compress.errors import CannotCompress
from nas.compress.graph import argument, operation, place, tensor_name
from nas.compress.quantise.fold import LAYERS
from nas.compress.quantise.settings import MOST_BITS, QuantiseSettings

CLIPS = ("relu", "relu6", "hardtanh", "clamp", "clamp_min")
_MOVES = (
    *("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze", "permute", "transpose", "t", "clone"),
    *("slice", "select", "narrow", "split", "chunk", "unbind", "expand", "pad", "constant_pad_nd"),
    *("max_pool2d", "pixel_shuffle", "channel_shuffle"),
)
_JOINS = ("cat", "concat", "stack")
_KERNELS = (
    *("add", "sub", "mul", "avg_pool2d", "adaptive_avg_pool2d", "mean"),
    *("sigmoid", "hardsigmoid", "hardswish", "silu", "tanh", "gelu", "leaky_relu"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """What is quantised.

    Attributes:
        weights: bits by node, in order of execution.
        grids: nodes of tensors that share a grid, in order of execution, and its bits; the first makes the values.
        left_float: name of a node -> place and why it stays in floating point.
    """

    weights: Mapping[fx.Node, int]
    grids: tuple[tuple[tuple[fx.Node, ...], int], ...]
    left_float: Mapping[str, str]


def placed(graph: fx.GraphModule, settings: QuantiseSettings) -> Placement:
    """Decide it for a folded graph; raises CannotCompress for bits of a layer that it does not have."""
    layers, left_float = _layers(graph)
    names = [str(tensor_name(node.args[1])) for node in layers]
    for name in settings.layer_bits:
        if name not in names:
            near = ", ".join(get_close_matches(name, names, 3, 0) or names[:3])
            raise CannotCompress(f"quantise: layer_bits has {name!r}, which is no weight of a layer; near it: {near}")
    edges = edge_layers(graph, layers)
    weights = {}
    for node in layers:
        bits = max(settings.weight_bits, settings.edge_bits) if node in edges else settings.weight_bits
        weights[node] = settings.layer_bits.get(str(tensor_name(node.args[1])), bits)
    if settings.activation_bits is None:
        return Placement(weights, (), left_float)
    inputs: dict[fx.Node, int] = {}
    for node in layers:
        source = node.args[0]
        assert isinstance(source, fx.Node)
        bits = settings.activation_bits
        bits = max(bits, settings.edge_bits) if node in edges else bits
        inputs[source] = min(bits, inputs.get(source, MOST_BITS))
    return Placement(weights, _grids(graph, layers, inputs), left_float)


def left_in_float(graph: fx.GraphModule) -> Mapping[str, str]:
    """Operations of a folded graph that no setting quantises: node -> place and reason."""
    return _layers(graph)[1]


def edge_layers(graph: fx.GraphModule, layers: list[fx.Node]) -> set[fx.Node]:
    """Layers that no layer comes before, or none behind."""
    weighted, found = set(layers), set()
    for forwards in (True, False):
        start = [node for node in graph.graph.nodes if node.op == ("placeholder" if forwards else "output")]
        seen = set(start)
        while start:
            node = start.pop()
            if node in weighted:
                found.add(node)
                continue
            following = list(node.users) if forwards else [n for n in node.all_input_nodes if n.op != "get_attr"]
            start += [each for each in following if each not in seen]
            seen.update(following)
    return found


def is_activation(node: fx.Node) -> bool:
    """A floating-point tensor with a value for each image."""
    value = node.meta.get("val")
    return node.op in ("placeholder", "call_function") and isinstance(value, Tensor) and value.is_floating_point()


def clipped_only(node: fx.Node) -> bool:
    """Read by ReLUs and other clips alone."""
    return bool(node.users) and all(operation(user) in CLIPS for user in node.users)


def _layers(graph: fx.GraphModule) -> tuple[list[fx.Node], dict[str, str]]:
    kept, left = [], {}
    for node in graph.graph.nodes:
        if operation(node) not in LAYERS:
            if operation(node) in ("conv1d", "conv3d", "matmul", "bmm", "scaled_dot_product_attention"):
                left[node.name] = f"{place(node)}: {operation(node)} is left in floating point"
        elif tensor_name(node.args[1]) is None:
            left[node.name] = f"{place(node)}: its weight is computed from the image"
        elif operation(node) == "conv_transpose2d":
            left[node.name] = f"{place(node)}: runtimes have no integer kernel for transposed convolutions"
        else:
            kept.append(node)
    return kept, left


def _grids(
    graph: fx.GraphModule, layers: list[fx.Node], inputs: Mapping[fx.Node, int]
) -> tuple[tuple[tuple[fx.Node, ...], int], ...]:
    """Tensors that need a grid, joined where they share one."""
    order = {node: at for at, node in enumerate(graph.graph.nodes)}
    logits = _logits(graph)
    source = {node: _source(node) for node in order if is_activation(node)}
    wanted = dict[fx.Node, int]()  # bits by the node that makes the values
    for node, maker in source.items():
        if node in logits or not (node in inputs or _in_integer_kernel(node, set(layers))):
            continue
        wanted[maker] = min(inputs.get(node, MOST_BITS), wanted.get(maker, MOST_BITS))
    groups = {maker: [maker] for maker in wanted}
    for node, maker in source.items():
        if maker in wanted and node is not maker and node not in logits:
            groups[maker].append(node)
    root = {maker: maker for maker in wanted}
    for node in source:
        if operation(node) in _JOINS:
            _join(node, source, wanted, root)
    joined: dict[fx.Node, list[fx.Node]] = {}
    for maker, members in groups.items():
        joined.setdefault(_root(root, maker), []).extend(members)
    return tuple((tuple(sorted(found, key=order.__getitem__)), wanted[maker]) for maker, found in joined.items())


def _in_integer_kernel(node: fx.Node, layers: set[fx.Node]) -> bool:
    """Written or read by a kernel that works on integers, and not only on its way to a clip."""
    if clipped_only(node):
        return False
    writes = node in layers or operation(node) in (*_KERNELS, *_JOINS)
    return writes or any(user in layers or operation(user) in (*_KERNELS, *_JOINS) for user in node.users)


def _source(node: fx.Node) -> fx.Node:
    """The node that made the values which a node only moves."""
    while operation(node) in _MOVES and isinstance(node.args[0], fx.Node) and _pads_with_zeros(node):
        before = node.args[0]
        if not is_activation(before):
            break
        node = before
    return node


def _pads_with_zeros(node: fx.Node) -> bool:
    if operation(node) == "pad":
        return argument(node, 2, "mode", "constant") == "constant" and not argument(node, 3, "value", 0)
    return operation(node) != "constant_pad_nd" or not argument(node, 2, "value", 0)


def _logits(graph: fx.GraphModule) -> set[fx.Node]:
    """The output, and what only moves on its way there."""
    output = next(node for node in graph.graph.nodes if node.op == "output")
    found = list(output.all_input_nodes)
    for node in found:
        if operation(node) in _MOVES and isinstance(node.args[0], fx.Node) and len(node.args[0].users) == 1:
            found.append(node.args[0])
    return set(found)


def _root(root: Mapping[fx.Node, fx.Node], node: fx.Node) -> fx.Node:
    while root[node] is not node:
        node = root[node]
    return node


def _join(
    node: fx.Node, source: Mapping[fx.Node, fx.Node], wanted: Mapping[fx.Node, int], root: dict[fx.Node, fx.Node]
) -> None:
    """Concatenated tensors share a grid where all have 8 bits; with fewer, each keeps its own."""
    makers = [source[node], *(source[n] for n in node.all_input_nodes if n in source)]
    if all(wanted.get(maker) == MOST_BITS for maker in makers):
        for maker in makers[1:]:
            root[_root(root, maker)] = _root(root, makers[0])
