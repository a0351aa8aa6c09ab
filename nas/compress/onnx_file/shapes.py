"""Operations that only move elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import fx

from nas.compress.coupling_tracer import concrete, number
from nas.compress.errors import CannotCompress
from nas.compress.graph import argument, operation, place
from nas.compress.onnx_file.writer import Rule, Writer

_END = np.iinfo(np.int64).max
_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


def _reshape(writer: Writer, node: fx.Node) -> str:
    source: Any = node.args[0]
    shape = writer.open_shape(node, source)
    x = writer.value(source)
    if shape[:1] == [0] and len(shape) == 2:
        return str(writer.step("Flatten", [x], node.name, axis=1))
    return str(writer.step("Reshape", [x, writer.integers(f"{node.name}_shape", shape)], node.name))


def _permute(writer: Writer, node: fx.Node) -> str:
    rank = node.meta["val"].ndim
    order = [int(d) % rank for d in argument(node, 1, "dims")]
    return str(writer.step("Transpose", [writer.value(node.args[0])], node.name, perm=order))


def _transpose(writer: Writer, node: fx.Node) -> str:
    rank = node.meta["val"].ndim
    first, second = (0, rank - 1) if operation(node) == "t" else (int(node.args[1]), int(node.args[2]))  # type: ignore[arg-type]
    order = list(range(rank))
    order[first % rank], order[second % rank] = order[second % rank], order[first % rank]
    return str(writer.step("Transpose", [writer.value(node.args[0])], node.name, perm=order))


def _expand(writer: Writer, node: fx.Node) -> str:
    return str(writer.step("Expand", [writer.value(node.args[0]), writer.full_shape(node.name, node)], node.name))


def _zeros(writer: Writer, node: fx.Node) -> str:
    """A constant map, as many times as there are images."""
    fills = {"zeros": 0.0, "ones": 1.0, "new_zeros": 0.0, "new_ones": 1.0, "zeros_like": 0.0, "ones_like": 1.0}
    fill = fills.get(operation(node))
    if fill is None:
        fill = float(argument(node, 1 if operation(node) != "new_full" else 2, "fill_value"))
    value = writer.constant("fill", np.float32(fill))
    return str(writer.step("Expand", [value, writer.full_shape(node.name, node)], node.name))


def _concat(writer: Writer, node: fx.Node) -> str:
    parts: Sequence[fx.Node] = node.args[0]  # type: ignore[assignment]
    dim = int(argument(node, 1, "dim", 0)) % node.meta["val"].ndim
    values = [writer.value(part) for part in parts]
    if operation(node) == "stack":
        axes = writer.integers("axes", [dim])
        values = [writer.step("Unsqueeze", [value, axes], f"{node.name}_part") for value in values]
    return str(writer.step("Concat", values, node.name, axis=dim))


def _slice(writer: Writer, node: fx.Node) -> str:
    dim, start, end, step = (
        argument(node, at, name, default) for at, name, default in
        ((1, "dim", 0), (2, "start", 0), (3, "end", None), (4, "step", 1))
    )  # fmt: skip
    source: Any = node.args[0]
    x = writer.value(source)
    if concrete(source.meta["val"]) == concrete(node.meta["val"]):
        return x
    last = _END if end is None else number(end)
    bounds = [
        writer.integers(name, [int(v)])
        for name, v in (("start", start or 0), ("end", last), ("axis", dim), ("step", step))
    ]
    return str(writer.step("Slice", [x, *bounds], node.name))


def _select(writer: Writer, node: fx.Node) -> str:
    dim, index = int(argument(node, 1, "dim")), int(argument(node, 2, "index"))
    at = writer.constant("index", np.int64(index))
    rank = node.meta["val"].ndim + 1
    return str(writer.step("Gather", [writer.value(node.args[0]), at], node.name, axis=dim % rank))


def _parts(writer: Writer, node: fx.Node) -> list[str]:
    """Split, chunk and unbind."""
    source: Any = node.args[0]
    rank, x = source.meta["val"].ndim, writer.value(source)
    values = node.meta["val"]
    dim = int(argument(node, 1 if operation(node) == "unbind" else 2, "dim", 0)) % rank
    if operation(node) == "unbind":
        picks = [writer.constant("index", np.int64(at)) for at in range(len(values))]
        return [str(writer.step("Gather", [x, at], node.name, axis=dim)) for at in picks]
    sizes = writer.integers(f"{node.name}_sizes", [concrete(value)[dim] for value in values])
    found = writer.step("Split", [x, sizes], node.name, outputs=len(values), axis=dim)
    return [found] if isinstance(found, str) else list(found)


def _item(writer: Writer, node: fx.Node) -> str:
    source: Any = node.args[0]
    found, at = writer.names[source], node.args[1]
    return found[int(at)] if isinstance(found, list) else found  # type: ignore[arg-type]


def _pad(writer: Writer, node: fx.Node) -> str:
    widths = [int(width) for width in argument(node, 1, "pad")]
    constant = operation(node) == "constant_pad_nd"
    mode = "constant" if constant else argument(node, 2, "mode", "constant")
    fill = argument(node, 2 if constant else 3, "value", 0.0)
    if mode not in _PAD_MODES:
        raise CannotCompress(f"{place(node)}: padding of mode {mode!r} cannot be written as ONNX")
    rank = node.meta["val"].ndim
    before, after = [0] * rank, [0] * rank
    for at in range(len(widths) // 2):
        before[rank - 1 - at], after[rank - 1 - at] = widths[2 * at], widths[2 * at + 1]
    inputs = [writer.value(node.args[0]), writer.integers(f"{node.name}_widths", [*before, *after])]
    if mode == "constant" and fill:
        inputs.append(writer.constant("fill", np.float32(fill)))
    return str(writer.step("Pad", inputs, node.name, mode=_PAD_MODES[mode]))


def _resize(writer: Writer, node: fx.Node) -> str:
    nearest = operation(node) == "upsample_nearest2d"
    corners = not nearest and bool(argument(node, 2, "align_corners", False))
    height, width = (number(size) for size in node.meta["val"].shape[-2:])
    source: Any = node.args[0]
    before = [number(size) for size in source.meta["val"].shape[-2:]]
    scales = writer.constant(f"{node.name}_scales", np.array([1, 1, height / before[0], width / before[1]], np.float32))
    where = "asymmetric" if nearest else ("align_corners" if corners else "half_pixel")
    facts: dict[str, Any] = {"mode": "nearest" if nearest else "linear", "coordinate_transformation_mode": where}
    if nearest:
        facts["nearest_mode"] = "floor"
    return str(writer.step("Resize", [writer.value(source), "", scales], node.name, **facts))


SHAPE_RULES: dict[str, Rule] = {
    **dict.fromkeys(("view", "reshape", "flatten", "unflatten", "_unsafe_view", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("transpose", "t", "swapaxes"), _transpose),
    **dict.fromkeys(("expand", "expand_as"), _expand),
    **dict.fromkeys(("zeros", "ones", "full", "new_zeros", "new_ones", "new_full", "zeros_like", "ones_like"), _zeros),
    **dict.fromkeys(("cat", "stack"), _concat),
    **dict.fromkeys(("split", "chunk", "unbind", "split_with_sizes"), _parts),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("upsample_nearest2d", "upsample_bilinear2d"), _resize),
    "permute": _permute,
    "slice": _slice,
    "select": _select,
    "<built-in function getitem>": _item,
}
