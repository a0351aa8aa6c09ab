"""Operations that work element by element, reductions and softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import fx

from nas.compress.errors import CannotCompress
from nas.compress.graph import argument, operation, place
from nas.compress.onnx_file.writer import Rule, Writer


def _unary(op: str) -> Rule:
    def rule(writer: Writer, node: fx.Node) -> str:
        return str(writer.step(op, [writer.value(node.args[0])], node.name))

    return rule


def _identity(writer: Writer, node: fx.Node) -> str:
    return writer.value(node.args[0])


def _binary(op: str) -> Rule:
    def rule(writer: Writer, node: fx.Node) -> str:
        first, second = writer.value(node.args[0]), writer.value(node.args[1])
        if node.kwargs.get("rounding_mode") is not None:
            raise CannotCompress(f"{place(node)}: a division that rounds cannot be written as ONNX")
        scale = node.kwargs.get("alpha", 1)
        if scale != 1:
            second = writer.step("Mul", [second, writer.value(scale)], f"{node.name}_scaled")
        order = [second, first] if operation(node) == "rsub" else [first, second]
        return str(writer.step(op, order, node.name))

    return rule


def _clip(writer: Writer, node: fx.Node) -> str:
    """hardtanh, relu6 and the clamps."""
    op = operation(node)
    bounds: dict[str, tuple[Any, Any]] = {
        "relu6": (0.0, 6.0),
        "hardtanh": (argument(node, 1, "min_val", -1.0), argument(node, 2, "max_val", 1.0)),
        "clamp": (argument(node, 1, "min"), argument(node, 2, "max")),
        "clamp_min": (argument(node, 1, "min"), None),
        "clamp_max": (None, argument(node, 1, "max")),
    }
    low, high = ("" if bound is None else writer.constant("bound", np.float32(bound)) for bound in bounds[op])
    inputs = [writer.value(node.args[0]), low, high]
    return str(writer.step("Clip", inputs if high else inputs[:2], node.name))


def _silu(writer: Writer, node: fx.Node) -> str:
    x = writer.value(node.args[0])
    gate = writer.step("Sigmoid", [x], f"{node.name}_gate")
    return str(writer.step("Mul", [x, gate], node.name))


def _gelu(writer: Writer, node: fx.Node) -> str:
    """Exact with erf, or approximate with tanh."""
    x, base = writer.value(node.args[0]), node.name
    half, one = writer.value(0.5), writer.value(1.0)
    if node.kwargs.get("approximate", "none") == "none":
        inner = writer.step(
            "Erf", [writer.step("Mul", [x, writer.value(math.sqrt(0.5))], f"{base}_scaled")], f"{base}_erf"
        )
    else:
        cube = writer.step("Mul", [writer.step("Mul", [x, x], f"{base}_square"), x], f"{base}_cube")
        bent = writer.step("Mul", [cube, writer.value(0.044715)], f"{base}_bent")
        total = writer.step("Add", [x, bent], f"{base}_sum")
        scaled = writer.step("Mul", [total, writer.value(math.sqrt(2 / math.pi))], f"{base}_scaled")
        inner = writer.step("Tanh", [scaled], f"{base}_tanh")
    gate = writer.step("Mul", [writer.step("Add", [inner, one], f"{base}_one"), half], f"{base}_gate")
    return str(writer.step("Mul", [x, gate], base))


def _mish(writer: Writer, node: fx.Node) -> str:
    x = writer.value(node.args[0])
    gate = writer.step("Tanh", [writer.step("Softplus", [x], f"{node.name}_plus")], f"{node.name}_gate")
    return str(writer.step("Mul", [x, gate], node.name))


def _hard_sigmoid(writer: Writer, node: fx.Node) -> str:
    return str(writer.step("HardSigmoid", [writer.value(node.args[0])], node.name, alpha=1 / 6, beta=0.5))


def _leaky_relu(writer: Writer, node: fx.Node) -> str:
    slope = float(argument(node, 1, "negative_slope", 0.01))
    return str(writer.step("LeakyRelu", [writer.value(node.args[0])], node.name, alpha=slope))


def _elu(writer: Writer, node: fx.Node) -> str:
    alpha = float(argument(node, 1, "alpha", 1.0))
    return str(writer.step("Elu", [writer.value(node.args[0])], node.name, alpha=alpha))


def _rsqrt(writer: Writer, node: fx.Node) -> str:
    root = writer.step("Sqrt", [writer.value(node.args[0])], f"{node.name}_root")
    return str(writer.step("Reciprocal", [root], node.name))


def _square(writer: Writer, node: fx.Node) -> str:
    x = writer.value(node.args[0])
    return str(writer.step("Mul", [x, x], node.name))


def _softmax(writer: Writer, node: fx.Node) -> str:
    op = "LogSoftmax" if operation(node) == "log_softmax" else "Softmax"
    return str(writer.step(op, [writer.value(node.args[0])], node.name, axis=int(argument(node, 1, "dim"))))


def _reduction(op: str) -> Rule:
    def rule(writer: Writer, node: fx.Node) -> str:
        source: Any = node.args[0]
        rank = source.meta["val"].ndim
        given = argument(node, 1, "dim")
        dims = sorted(d % rank for d in ([given] if isinstance(given, int) else given or range(rank)))
        keep = bool(argument(node, 2, "keepdim", False))
        if op == "ReduceMean" and rank == 4 and dims == [2, 3]:
            pooled = writer.step(
                "GlobalAveragePool", [writer.value(source)], node.name if keep else f"{node.name}_pool"
            )
            return str(pooled if keep else writer.step("Flatten", [pooled], node.name, axis=1))
        if op == "ReduceSum":
            inputs = [writer.value(source), writer.integers("axes", dims)]
            return str(writer.step(op, inputs, node.name, keepdims=int(keep)))
        return str(writer.step(op, [writer.value(source)], node.name, axes=dims, keepdims=int(keep)))

    return rule


def _power(writer: Writer, node: fx.Node) -> str:
    return str(writer.step("Pow", [writer.value(node.args[0]), writer.value(node.args[1])], node.name))


_IDENTITIES = (
    "dropout", "feature_dropout", "alias", "clone", "contiguous", "detach", "to", "_to_copy", "lift_fresh_copy",
)  # fmt: skip
_UNARY = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "exp": "Exp", "sqrt": "Sqrt", "abs": "Abs", "neg": "Neg",
    "erf": "Erf", "reciprocal": "Reciprocal", "softplus": "Softplus", "hardswish": "HardSwish", "selu": "Selu",
    "log": "Log", "floor": "Floor", "ceil": "Ceil", "round": "Round",
}  # fmt: skip
_BINARY = {"add": "Add", "sub": "Sub", "rsub": "Sub", "mul": "Mul", "div": "Div", "maximum": "Max", "minimum": "Min"}

POINTWISE_RULES: dict[str, Rule] = {
    **{name: _unary(op) for name, op in _UNARY.items()},
    **{name: _binary(op) for name, op in _BINARY.items()},
    **dict.fromkeys(_IDENTITIES, _identity),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "hardtanh", "relu6"), _clip),
    **dict.fromkeys(("softmax", "log_softmax", "_softmax"), _softmax),
    "mean": _reduction("ReduceMean"),
    "sum": _reduction("ReduceSum"),
    "amax": _reduction("ReduceMax"),
    "amin": _reduction("ReduceMin"),
    "silu": _silu,
    "gelu": _gelu,
    "mish": _mish,
    "hardsigmoid": _hard_sigmoid,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "rsqrt": _rsqrt,
    "square": _square,
    "pow": _power,
}
