"""Convolutions, linear layers, norms, pooling and attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import fx

from nas.compress.errors import CannotCompress
from nas.compress.graph import argument, operation, place, tensor_name
from nas.compress.onnx_file.writer import Rule, Writer


def _convolution(writer: Writer, node: fx.Node) -> str:
    transposed = operation(node).startswith("conv_transpose")
    spatial = node.meta["val"].ndim - 2
    stride = _each(argument(node, 3, "stride", 1), spatial)
    dilation = _each(argument(node, 7 if transposed else 5, "dilation", 1), spatial)
    shape = list(writer.array(node.args[1]).shape)
    pads = _pads(argument(node, 4, "padding", 0), shape[2:], dilation)
    extra = _each(argument(node, 5, "output_padding", 0), spatial) if transposed else None
    return str(
        writer.step(
            "ConvTranspose" if transposed else "Conv", [writer.value(node.args[0]), *weighted(writer, node)], node.name,
            kernel_shape=shape[2:], strides=stride, pads=pads, dilations=dilation,
            group=int(argument(node, 6, "groups", 1)), output_padding=extra,
        )
    )  # fmt: skip


def weighted(writer: Writer, node: fx.Node, *, transposed: bool = False) -> list[str]:
    """Names of weight and bias of a layer; a subclass of the writer may keep them as integers."""
    return writer.layer_tensors(node, transposed=transposed)


def _each(value: Any, count: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return [int(v) for v in (values * count if len(values) == 1 else values)]


def _pads(padding: Any, kernel: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """Before and after each side."""
    if padding == "valid":
        return [0] * (2 * len(kernel))
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [*(total // 2 for total in totals), *(total - total // 2 for total in totals)]
    return _each(padding, len(kernel)) * 2


def _linear(writer: Writer, node: fx.Node) -> str:
    source: Any = node.args[0]
    x = writer.value(source)
    if source.meta["val"].ndim == 2:
        return str(writer.step("Gemm", [x, *weighted(writer, node)], node.name, transB=1))
    weight, *bias = weighted(writer, node, transposed=True)
    if not bias:
        return str(writer.step("MatMul", [x, weight], node.name))
    product = writer.step("MatMul", [x, weight], f"{node.name}_product")
    return str(writer.step("Add", [product, *bias], node.name))


def _matmul(writer: Writer, node: fx.Node) -> str:
    return str(writer.step("MatMul", [writer.value(node.args[0]), writer.value(node.args[1])], node.name))


def _addmm(writer: Writer, node: fx.Node) -> str:
    bias, first, second = (writer.value(node.args[at]) for at in range(3))
    return str(writer.step("Gemm", [first, second, bias], node.name))


def _batch_norm(writer: Writer, node: fx.Node) -> str:
    if argument(node, 5, "training", False) or argument(node, 3, "running_mean") is None:
        raise CannotCompress(f"{place(node)}: a norm without running statistics cannot be written; train it with them")
    mean = writer.array(node.args[3])
    scale, shift = (argument(node, at, name) for at, name in ((1, "weight"), (2, "bias")))
    tensors = [
        writer.constant(f"{node.name}_scale", np.ones_like(mean)) if scale is None else writer.value(scale),
        writer.constant(f"{node.name}_shift", np.zeros_like(mean)) if shift is None else writer.value(shift),
        writer.value(node.args[3]),
        writer.value(node.args[4]),
    ]
    eps = float(argument(node, 7, "eps", 1e-5))
    return str(writer.step("BatchNormalization", [writer.value(node.args[0]), *tensors], node.name, epsilon=eps))


def _layer_norm(writer: Writer, node: fx.Node) -> str:
    shape = [int(size) for size in argument(node, 1, "normalized_shape")]
    weight, bias = argument(node, 2, "weight"), argument(node, 3, "bias")
    scale = (
        writer.constant(f"{node.name}_scale", np.ones(shape, np.float32)) if weight is None else writer.value(weight)
    )
    inputs = [writer.value(node.args[0]), scale, *([] if bias is None else [writer.value(bias)])]
    eps = float(argument(node, 4, "eps", 1e-5))
    return str(writer.step("LayerNormalization", inputs, node.name, axis=-len(shape), epsilon=eps))


def _group_norm(writer: Writer, node: fx.Node) -> str:
    """Each group of channels normalised as one row, then scaled and shifted for each channel."""
    groups = int(argument(node, 1, "num_groups"))
    sizes, base = writer.sizes(node), node.name
    length = math.prod(sizes[1:]) // groups
    rows = writer.step("Reshape", [writer.value(node.args[0]), writer.integers("rows", [0, groups, length])], base)
    one = writer.constant(f"{base}_one", np.ones(length, np.float32))
    eps = float(argument(node, 4, "eps", 1e-5))
    normal = writer.step("LayerNormalization", [rows, one], base, axis=-1, epsilon=eps)
    x = writer.step("Reshape", [normal, writer.integers("maps", [0, *sizes[1:]])], base)
    for op, at in (("Mul", 2), ("Add", 3)):
        if (tensor := argument(node, at, "")) is not None:
            column = writer.array(tensor).reshape(-1, *[1] * (len(sizes) - 2))
            x = writer.step(op, [x, writer.constant(f"{base}_{op.lower()}", column)], base)
    return str(x)


def _prelu(writer: Writer, node: fx.Node) -> str:
    slope = writer.array(node.args[1])
    shaped = slope.reshape(-1, *[1] * (node.meta["val"].ndim - 2))
    return str(
        writer.step("PRelu", [writer.value(node.args[0]), writer.constant(f"{node.name}_slope", shaped)], node.name)
    )


def _average_pool(writer: Writer, node: fx.Node) -> str:
    kernel = _each(argument(node, 1, "kernel_size"), node.meta["val"].ndim - 2)
    stride = argument(node, 2, "stride") or kernel
    pads = _each(argument(node, 3, "padding", 0), len(kernel)) * 2
    if argument(node, 6, "divisor_override") is not None:
        raise CannotCompress(f"{place(node)}: average pooling with a divisor of its own cannot be written as ONNX")
    return str(
        writer.step(
            "AveragePool", [writer.value(node.args[0])], node.name, kernel_shape=kernel,
            strides=_each(stride, len(kernel)), pads=pads, ceil_mode=int(argument(node, 4, "ceil_mode", False)),
            count_include_pad=int(argument(node, 5, "count_include_pad", True)),
        )
    )  # fmt: skip


def _max_pool(writer: Writer, node: fx.Node) -> str:
    kernel = _each(argument(node, 1, "kernel_size"), node.meta["val"].ndim - 2)
    stride = argument(node, 2, "stride") or kernel
    return str(
        writer.step(
            "MaxPool", [writer.value(node.args[0])], node.name, kernel_shape=kernel,
            strides=_each(stride, len(kernel)), pads=_each(argument(node, 3, "padding", 0), len(kernel)) * 2,
            dilations=_each(argument(node, 4, "dilation", 1), len(kernel)),
            ceil_mode=int(argument(node, 5, "ceil_mode", False)),
        )
    )  # fmt: skip


def _adaptive_pool(writer: Writer, node: fx.Node) -> str:
    source: Any = node.args[0]
    maximum = "max" in operation(node)
    before, after = (writer.sizes(each)[2:] for each in (source, node))
    if all(side == 1 for side in after):
        op = "GlobalMaxPool" if maximum else "GlobalAveragePool"
        return str(writer.step(op, [writer.value(source)], node.name))
    if any(b % a for b, a in zip(before, after, strict=True)):
        raise CannotCompress(
            f"{place(node)}: pooling {before} to {after} needs windows of unequal size; choose sizes that divide"
        )
    kernel = [b // a for b, a in zip(before, after, strict=True)]
    op = "MaxPool" if maximum else "AveragePool"
    return str(writer.step(op, [writer.value(source)], node.name, kernel_shape=kernel, strides=kernel))


def _attention(writer: Writer, node: fx.Node) -> str:
    mask, causal = argument(node, 3, "attn_mask"), argument(node, 5, "is_causal", False)
    if mask is not None or causal:
        raise CannotCompress(f"{place(node)}: attention with a mask cannot be written as ONNX")
    queries, keys, values = (writer.value(node.args[at]) for at in range(3))
    sizes = writer.sizes(node.args[0])  # type: ignore[arg-type]
    given: Any = argument(node, 6, "scale")
    scale = sizes[-1] ** -0.5 if given is None else given
    order = list(range(len(sizes)))
    order[-2:] = order[:-3:-1]
    turned = writer.step("Transpose", [keys], f"{node.name}_keys", perm=order)
    scaled = writer.step("Mul", [queries, writer.value(float(scale))], f"{node.name}_queries")
    products = writer.step("MatMul", [scaled, turned], f"{node.name}_products")
    weights = writer.step("Softmax", [products], f"{node.name}_weights", axis=-1)
    return str(writer.step("MatMul", [weights, values], node.name))


def float_tensors(writer: Writer, node: fx.Node, *, transposed: bool) -> list[str]:
    """Weight and bias of a layer in float32; of a linear layer as (in, out) if ``transposed``."""
    weight, bias = node.args[1], argument(node, 2, "bias")
    name = tensor_name(weight)
    if transposed:
        first = writer.constant(f"{name or node.name}_turned", writer.array(weight).T)
    else:
        first = writer.value(weight)
    return [first, *([] if bias is None else [writer.value(bias)])]


LAYER_RULES: dict[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"), _convolution),
    **dict.fromkeys(("matmul", "bmm"), _matmul),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d"), _average_pool),
    **dict.fromkeys(("max_pool1d", "max_pool2d"), _max_pool),
    **dict.fromkeys(("adaptive_avg_pool2d", "adaptive_avg_pool1d", "adaptive_max_pool2d"), _adaptive_pool),
    "linear": _linear,
    "addmm": _addmm,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "prelu": _prelu,
    "scaled_dot_product_attention": _attention,
}
