"""Which layer each operation of an exported graph becomes, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, fx

from search_spaces.layers import (
    ADD,
    AVG_POOL,
    CONCAT,
    CONV,
    GELU,
    GLOBAL_POOL,
    HARD_SIGMOID,
    HARD_SWISH,
    INPUT,
    LINEAR,
    MAX_POOL,
    MUL,
    NORM,
    RELU,
    RELU6,
    SIGMOID,
    SILU,
    Layer,
    Shape,
    padding_of,
)


class TraceRefused(ValueError):
    """The module has something that layers cannot express; the message names the place and what was expected."""


class Traced:
    """Layers under construction from an exported graph.

    Args:
        input_shape: (channels, height, width) of one image.
        state: the module's tensors by name.
        tensor_names: name of the state's tensor that an input of the graph stands for.
    """

    def __init__(self, input_shape: Shape, state: Mapping[str, Any], tensor_names: Mapping[str, str]) -> None:
        self.input_shape = input_shape
        self.state = state
        self.tensor_names = tensor_names
        self.layers: list[Layer] = []
        self.at: dict[Any, int] = {}  # node -> position of the layer that computes its value
        self._names: set[str] = set()

    def tensor(self, node: fx.Node, argument: int) -> tuple[str, Tensor] | None:
        """Name and value of an argument that is a parameter or buffer; None where it is absent."""
        given = node.args[argument] if argument < len(node.args) else None
        if given is None:
            return None
        name = self.tensor_names.get(given.name) if isinstance(given, fx.Node) else None
        if name is None:
            raise self.refusal(node, "its weights are computed, expected a parameter")
        return name, self.state[name]

    def source(self, node: fx.Node, argument: int = 0) -> int:
        """Position of the layer whose value an argument is."""
        given = node.args[argument] if argument < len(node.args) else None
        if given not in self.at:
            raise self.refusal(node, f"operand {argument + 1} is {_shown(given)}, expected a map that layers computed")
        return self.at[given]

    def shape(self, at: int) -> Shape:
        """(C, H, W) of the value at a position."""
        return self.input_shape if at == INPUT else self.layers[at].shape

    def append(self, node: fx.Node, op: str, inputs: tuple[int, ...], **facts: Any) -> None:
        """Add a layer whose output has the shape that the graph states."""
        shape = shape_of(node)
        if shape is None:
            raise self.refusal(node, f"its output is {tuple(node.meta['val'].shape)}, expected (1, C, H, W) or (1, C)")
        name = self._unique(facts.pop("name", None) or _place(node))
        layer = Layer(name, op, inputs, self.shape(inputs[0]), shape, **facts)
        expected = _window_output(layer)
        if expected != shape:
            raise self.refusal(node, f"its output is {shape}, with the padding of layers it would be {expected}")
        self.layers.append(layer)
        self.at[node] = len(self.layers) - 1

    def refusal(self, node: fx.Node, why: str) -> TraceRefused:
        """An error that says where."""
        return TraceRefused(f"{_place(node)}: {why}")

    def _unique(self, name: str) -> str:
        """The name, or with a number where another layer has it: a module may be called twice."""
        found, count = name, 1
        while found in self._names:
            count += 1
            found = f"{name}_{count}"
        self._names.add(found)
        return found


def shape_of(node: fx.Node) -> Shape | None:
    """(C, H, W) of a node's value for one image; None where it is no map."""
    sizes = tuple(node.meta["val"].shape)
    if len(sizes) == 4:
        return sizes[1:]
    return (sizes[1], 1, 1) if len(sizes) == 2 else None


def _conv(traced: Traced, node: fx.Node) -> None:
    """aten.conv2d(input, weight, bias, stride, padding, dilation, groups)."""
    given = traced.tensor(node, 1)
    assert given is not None
    name, weight = given
    stride, padding, dilation, groups = (_argument(node, i, default) for i, default in ((3, 1), (4, 0), (5, 1), (6, 1)))
    side, step = _square(traced, node, weight.shape[2:]), _square(traced, node, stride)
    if _square(traced, node, dilation) != 1:
        raise traced.refusal(node, f"dilation {dilation}, expected 1")
    pad = (side - 1) // 2 if padding == "same" else 0 if padding == "valid" else _square(traced, node, padding)
    _check_padding(traced, node, side, step, pad)
    facts = {"kernel": side, "stride": step, "groups": groups, "bias": traced.tensor(node, 2) is not None}
    traced.append(node, CONV, (traced.source(node),), name=name.removesuffix(".weight"), **facts)


def _linear(traced: Traced, node: fx.Node) -> None:
    """aten.linear(input, weight, bias) on one vector an image; without bias it is a 1x1 convolution."""
    given, at = traced.tensor(node, 1), traced.source(node)
    assert given is not None
    name, has_bias = given[0].removesuffix(".weight"), traced.tensor(node, 2) is not None
    shape, features = traced.shape(at), given[1].shape[1]
    if shape[0] == features and shape[1:] == (1, 1):
        op, side = (LINEAR if has_bias else CONV), 1
    elif shape[0] * shape[1] * shape[2] == features and shape[1] == shape[2]:
        op, side = CONV, shape[1]  # one patch: the whole map
    else:
        raise traced.refusal(node, f"a linear layer of {features} features on a map {shape}, expected one vector")
    traced.append(node, op, (at,), name=name, kernel=side, stride=side, bias=has_bias)


def _norm(traced: Traced, node: fx.Node) -> None:
    """aten.batch_norm(input, weight, bias, mean, variance, ...)."""
    given = traced.tensor(node, 1)
    if given is None or traced.tensor(node, 3) is None:
        raise traced.refusal(node, "a norm without scale or without running statistics, expected both")
    traced.append(node, NORM, (traced.source(node),), name=given[0].removesuffix(".weight"))


def _activation(op: str) -> Callable[[Traced, fx.Node], None]:
    def handler(traced: Traced, node: fx.Node) -> None:
        traced.append(node, op, (traced.source(node),))

    return handler


def _gelu(traced: Traced, node: fx.Node) -> None:
    if node.kwargs.get("approximate", "none") != "none":
        raise traced.refusal(node, "GELU by tanh, expected the exact one (approximate='none')")
    _activation(GELU)(traced, node)


def _clamp(traced: Traced, node: fx.Node) -> None:
    """aten.hardtanh(input, least, most): ReLU6 where the bounds are 0 and 6."""
    bounds = (_argument(node, 1, -1.0), _argument(node, 2, 1.0))
    if bounds != (0, 6):
        raise traced.refusal(node, f"values are clamped to {bounds}, expected ReLU6")
    _activation(RELU6)(traced, node)


def _add(traced: Traced, node: fx.Node) -> None:
    """aten.add: the operand with more convolutions behind it is the main path."""
    operands = (traced.source(node, 0), traced.source(node, 1))
    if traced.shape(operands[0]) != traced.shape(operands[1]):
        shapes = " and ".join(str(traced.shape(at)) for at in operands)
        raise traced.refusal(node, f"adds maps of {shapes}, expected equal shapes")
    traced.append(node, ADD, tuple(sorted(operands, key=lambda at: -_convs_behind(traced, at))))


def _mul(traced: Traced, node: fx.Node) -> None:
    """aten.mul of a map and a gate, in either order."""
    at = sorted((traced.source(node, 0), traced.source(node, 1)), key=lambda i: -sum(traced.shape(i)[1:]))
    channels = traced.shape(at[0])[0]
    if traced.shape(at[1]) != (channels, 1, 1):
        raise traced.refusal(node, f"multiplies by {traced.shape(at[1])}, expected a gate ({channels}, 1, 1)")
    traced.append(node, MUL, (at[0], at[1]))


def _concat(traced: Traced, node: fx.Node) -> None:
    """aten.cat(maps, axis)."""
    maps: Any = node.args[0]
    if _argument(node, 1, 0) not in (1, -3) or any(given not in traced.at for given in maps):
        raise traced.refusal(node, "joins along another axis than channels, or what no layer computed")
    traced.append(node, CONCAT, tuple(traced.at[given] for given in maps))


def _pool(op: str) -> Callable[[Traced, fx.Node], None]:
    """aten.max_pool2d and aten.avg_pool2d(input, window, stride, padding, ...)."""

    def handler(traced: Traced, node: fx.Node) -> None:
        side = _square(traced, node, node.args[1])
        step = _square(traced, node, _argument(node, 2, None) or side)
        pad = _square(traced, node, _argument(node, 3, 0))
        _check_padding(traced, node, side, step, pad)
        if op == AVG_POOL and pad and _argument(node, 5, True):
            raise traced.refusal(node, "counts padding in its mean, expected count_include_pad=False")
        traced.append(node, op, (traced.source(node),), kernel=side, stride=step)

    return handler


def _global_pool(traced: Traced, node: fx.Node) -> None:
    """aten.adaptive_avg_pool2d and aten.mean.dim over height and width; on a single position nothing happens."""
    at, shape = traced.source(node), shape_of(node)
    axes = _argument(node, 1, None)
    is_mean = "mean" in str(node.target)
    if is_mean and sorted(axis % 4 for axis in axes or ()) != [2, 3]:
        raise traced.refusal(node, f"a mean over axes {axes}, expected height and width")
    if shape == traced.shape(at):
        traced.at[node] = at
    elif shape is None or shape[1:] != (1, 1):
        raise traced.refusal(node, f"pools {traced.shape(at)} to {shape}, expected one position")
    else:
        traced.append(node, GLOBAL_POOL, (at,))


def _reshape(traced: Traced, node: fx.Node) -> None:
    """aten.flatten, view and others that keep all values of an image in one map or one vector."""
    at, sizes = traced.source(node), tuple(node.meta["val"].shape)
    shape = traced.shape(at)
    same = sizes == (1, *shape)
    flat = len(sizes) == 2 and sizes == (1, shape[0] * shape[1] * shape[2])
    unflattened = shape[1:] == (1, 1) and sizes == (1, shape[0], 1, 1)
    if not (same or flat or unflattened):
        raise traced.refusal(node, f"reshapes {shape} to {sizes[1:]}, expected one vector an image")
    traced.at[node] = at


def _convs_behind(traced: Traced, at: int) -> int:
    """Convolutions met on the main path back to the input."""
    count = 0
    while at != INPUT:
        count += traced.layers[at].op == CONV
        at = traced.layers[at].inputs[0]
    return count


def _check_padding(traced: Traced, node: fx.Node, side: int, step: int, pad: int) -> None:
    if pad != padding_of(side, step):
        raise traced.refusal(
            node, f"a {side}x{side} window with stride {step} padded by {pad}, expected {padding_of(side, step)}"
        )


def _window_output(layer: Layer) -> Shape:
    """The output shape of a layer with a window; of others that which it states."""
    if layer.op not in (CONV, MAX_POOL, AVG_POOL):
        return layer.shape
    grow = 2 * layer.padding - layer.kernel
    height, width = ((size + grow) // layer.stride + 1 for size in layer.in_shape[1:])
    return layer.channels, height, width


def _square(traced: Traced, node: fx.Node, sides: Any) -> int:
    """The side of a square, given as one number or two equal ones."""
    values = tuple(sides) if isinstance(sides, list | tuple) else (sides,)
    if len(set(values)) != 1:
        raise traced.refusal(node, f"sides {values}, expected a square")
    return int(values[0])


def _argument(node: fx.Node, index: int, default: Any) -> Any:
    return node.args[index] if index < len(node.args) else default


def _place(node: fx.Node) -> str:
    """Dotted path of the module that computes a node, or the node's own name."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return paths[-1] or str(node.name) if paths else str(node.name)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, int | float) or value is None else "computed elsewhere"


Handler = Callable[[Traced, fx.Node], None]
_ACTIVATIONS = {
    "relu": RELU,
    "relu6": RELU6,
    "hardswish": HARD_SWISH,
    "silu": SILU,
    "sigmoid": SIGMOID,
    "hardsigmoid": HARD_SIGMOID,
}
HANDLERS: dict[str, Handler] = {
    "aten.conv2d.default": _conv,
    "aten.conv2d.padding": _conv,
    "aten.linear.default": _linear,
    "aten.batch_norm.default": _norm,
    **{f"aten.{name}{ending}.default": _activation(op) for name, op in _ACTIVATIONS.items() for ending in ("", "_")},
    **{f"aten.hardtanh{ending}.default": _clamp for ending in ("", "_")},
    "aten.gelu.default": _gelu,
    **{f"aten.{name}.Tensor": _add for name in ("add", "add_")},
    **{f"aten.{name}.Tensor": _mul for name in ("mul", "mul_")},
    "aten.cat.default": _concat,
    "aten.max_pool2d.default": _pool(MAX_POOL),
    "aten.avg_pool2d.default": _pool(AVG_POOL),
    "aten.adaptive_avg_pool2d.default": _global_pool,
    "aten.mean.dim": _global_pool,
    **{
        f"aten.{name}": _reshape
        for name in ("flatten.using_ints", "view.default", "reshape.default", "squeeze.dims", "unsqueeze.default")
    },
}
IGNORED = frozenset(
    f"aten.{name}" for name in ("dropout.default", "dropout_.default", "alias.default", "detach.default")
) | {"aten.contiguous.default", "aten.clone.default", "aten.feature_dropout.default"}
