"""What each operation says about the labels of its inputs, weights and output: one rule for each kind of operation."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx

from nas.compress.coupling_labels import Labels, varies
from nas.compress.coupling_shapes import SHAPE_RULES
from nas.compress.coupling_tracer import Rule, Tracer, constant, shape_of, tensors_in
from nas.compress.graph import argument, operation, place, tensor_name, tensor_of
from nas.compress.groups import Role

_SAME = (
    "relu relu6 hardtanh hardswish hardsigmoid sigmoid silu gelu tanh clamp neg abs exp sqrt rsqrt square elu "
    "leaky_relu softplus mish erf reciprocal dropout feature_dropout contiguous clone alias detach to _to_copy "
    "log_sigmoid selu celu threshold clamp_min clamp_max lift_fresh_copy _assert_tensor_metadata"
)
_SPATIAL = (
    "max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d upsample_nearest2d upsample_bilinear2d "
    "upsample_bicubic2d max_pool1d avg_pool1d adaptive_avg_pool1d"
)
_CREATED = "zeros ones full new_zeros new_ones new_full empty"
_NORMS_OVER_CHANNELS = "layer_norm group_norm instance_norm rms_norm"


def _created(tracer: Tracer, node: fx.Node) -> Labels:
    """Zeros or another constant of a given shape: whatever meets it decides."""
    return tracer.book.fresh(*shape_of(node))


def _same(tracer: Tracer, node: fx.Node) -> Labels:
    return tracer.of(node.args[0])


def _like(tracer: Tracer, node: fx.Node) -> Labels:
    return np.broadcast_to(tracer.of(node.args[0]), shape_of(node))


def _elementwise(tracer: Tracer, node: fx.Node) -> Labels:
    """Two tensors that broadcast: along a dimension that both have, channels are one."""
    reads = tensors_in(node)
    if len(reads) == 1:
        return np.broadcast_to(tracer.of(reads[0]), shape_of(node))
    rank = len(shape_of(node))
    first, second = (_aligned(tracer.of(read), rank) for read in (node.args[0], node.args[1]))
    for narrow, wide in ((first, second), (second, first)):
        spread = [d for d in range(rank) if narrow.shape[d] == 1 < wide.shape[d]]
        if any(varies(wide, d) for d in spread):
            tracer.book.fix(narrow, f"{place(node)}: one channel meets many")
            return np.broadcast_to(wide, shape_of(node))
    tracer.book.join(first, second)
    return np.broadcast_to(first if first.size >= second.size else second, shape_of(node))


def _aligned(labels: Labels, rank: int) -> Labels:
    return labels.reshape((1,) * (rank - labels.ndim) + labels.shape)


def _convolution(tracer: Tracer, node: fx.Node) -> Labels:
    """A maker and reader of channels; with groups, the same position of every group goes together."""
    transposed = operation(node).startswith("conv_transpose")
    groups = int(argument(node, 6, "groups", 1))
    name, tensor = tensor_name(node.args[1]), tensor_of(tracer.graph, node.args[1])
    if name is None or tensor is None or (transposed and groups > 1):
        return _closed(tracer, node, "its weight is computed" if name is None else "a transposed one with groups")
    rank, book = len(shape_of(node)), tracer.book
    x = book.uniform(tracer.of(node.args[0]), tuple(range(2, rank))).reshape(groups, -1)
    axis = 1 if transposed else 0
    depthwise = groups > 1 and tensor.shape[1] == 1
    made = book.slice_labels(name, axis, tensor.shape[axis], "follower" if depthwise else "maker")
    if depthwise:
        book.join(x, made.reshape(groups, -1))  # each input channel has outputs of its own
    else:
        book.join(x, book.slice_labels(name, 1 - axis, tensor.shape[1 - axis], "reader")[None, :])
        book.join(made.reshape(groups, -1), made.reshape(groups, -1)[:1])
    _bias(tracer, argument(node, 2, "bias"), made, "follower" if depthwise else "maker")
    return np.broadcast_to(made.reshape(1, -1, *(1,) * (rank - 2)), shape_of(node))


def _closed(tracer: Tracer, node: fx.Node, why: str) -> Labels:
    """A weighted layer whose channels, read and made, stay."""
    reason = f"{place(node)}: {why}"
    for read in tensors_in(node):
        tracer.fix_all(read, reason)
    made = constant(tracer, node, reason)
    assert isinstance(made, np.ndarray)
    return made


def _bias(tracer: Tracer, bias: Any, made: Labels, role: Role) -> None:
    name = tensor_name(bias)
    if name is not None:
        tracer.book.join(tracer.book.slice_labels(name, 0, len(made), role), made)


def _linear(tracer: Tracer, node: fx.Node) -> Labels:
    name, tensor = tensor_name(node.args[1]), tensor_of(tracer.graph, node.args[1])
    x = tracer.of(node.args[0])
    features = tracer.book.uniform(x, tuple(range(x.ndim - 1))).reshape(-1)
    if name is None or tensor is None:
        return _closed(tracer, node, "its weight is computed")
    made = tracer.book.slice_labels(name, 0, tensor.shape[0], "maker")
    tracer.book.join(features, tracer.book.slice_labels(name, 1, tensor.shape[1], "reader"))
    _bias(tracer, argument(node, 2, "bias"), made, "maker")
    return np.broadcast_to(made, shape_of(node))


def _per_channel(tracer: Tracer, node: fx.Node) -> Labels:
    """Batch norm and PReLU: tensors with one value for each channel of dimension 1."""
    x = tracer.of(node.args[0])
    channels = tracer.book.uniform(x, tuple(range(2, x.ndim)))[0].reshape(-1)
    for read in tensors_in(node)[1:]:
        name, tensor = tensor_name(read), tensor_of(tracer.graph, read)
        if name is not None and tensor is not None and tensor.numel() > 1:
            tracer.book.join(tracer.book.slice_labels(name, 0, len(channels), "follower"), channels)
    return x


def _mixes_all(tracer: Tracer, node: fx.Node) -> Labels:
    """Layer and group norms: statistics over channels, so that none can go without changing the others."""
    reason = f"{place(node)}: {operation(node)} takes statistics over channels"
    for read in tensors_in(node):
        tracer.fix_all(read, reason)
    return tracer.of(node.args[0])


def _softmax(tracer: Tracer, node: fx.Node) -> Labels:
    x = tracer.of(node.args[0])
    dim = int(argument(node, 1, "dim")) % x.ndim
    if varies(x, dim):
        tracer.book.fix(x, f"{place(node)}: {operation(node)} runs over channels")
    return x


def _spatial(tracer: Tracer, node: fx.Node) -> Labels:
    """Pooling and resizing of maps: channels stay what they are."""
    x = tracer.of(node.args[0])
    shape = shape_of(node)
    maps = tuple(range(x.ndim - (2 if operation(node).endswith(("2d", "vec")) else x.ndim - 2), x.ndim))
    return np.broadcast_to(tracer.book.uniform(x, maps), shape)


def _reduce(tracer: Tracer, node: fx.Node) -> Labels:
    """Means and other reductions: dimensions that they run over hold no channels of their own afterwards."""
    x = tracer.of(node.args[0])
    given = argument(node, 1, "dim")
    dims = tuple(d % x.ndim for d in ([given] if isinstance(given, int) else given or range(x.ndim)))
    if any(varies(x, d) for d in dims):
        tracer.book.fix(x, f"{place(node)}: {operation(node)} runs over channels")
    kept = tracer.book.uniform(x, dims)
    shape = shape_of(node)
    return np.broadcast_to(kept, shape) if len(shape) == x.ndim else kept.reshape(shape)


def _matmul(tracer: Tracer, node: fx.Node) -> Labels:
    """A product of two activations: only whole matrices (heads of an attention) may go."""
    if tensor_name(node.args[0]) is not None or tensor_name(node.args[1]) is not None:
        return _closed(tracer, node, "a product with a tensor of the network")
    shape = shape_of(node)
    first, second = (_heads(tracer, read) for read in (node.args[0], node.args[1]))
    rank = len(shape)
    first, second = _aligned(first, rank), _aligned(second, rank)
    tracer.book.join(first, second)
    return np.broadcast_to(first if first.size >= second.size else second, shape)


def _attention(tracer: Tracer, node: fx.Node) -> Labels:
    queries, keys, values = (_heads(tracer, node.args[at]) for at in range(3))
    tracer.book.join(queries, keys)
    tracer.book.join(keys, values)
    return np.broadcast_to(values, shape_of(node))


def _heads(tracer: Tracer, read: Any) -> Labels:
    labels = tracer.of(read)
    return tracer.book.uniform(labels, (labels.ndim - 2, labels.ndim - 1))


RULES: dict[str, Rule] = {
    **SHAPE_RULES,
    **dict.fromkeys(_SAME.split(), _same),
    **dict.fromkeys(_SPATIAL.split(), _spatial),
    **dict.fromkeys(_CREATED.split(), _created),
    **dict.fromkeys(_NORMS_OVER_CHANNELS.split(), _mixes_all),
    **dict.fromkeys(("add", "sub", "mul", "div", "maximum", "minimum", "pow", "rsub"), _elementwise),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"), _convolution),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "var", "std"), _reduce),
    **dict.fromkeys(("batch_norm", "prelu"), _per_channel),
    **dict.fromkeys(("softmax", "log_softmax", "_softmax", "cumsum"), _softmax),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like"), _like),
    **dict.fromkeys(("matmul", "bmm"), _matmul),
    "linear": _linear,
    "scaled_dot_product_attention": _attention,
}
