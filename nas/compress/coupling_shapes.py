"""Rules for operations that only move elements: reshapes, slices, concatenations, padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, fx

from nas.compress.coupling_labels import Labels, varies
from nas.compress.coupling_tracer import Rule, Tracer, concrete, number, shape_of
from nas.compress.graph import argument, operation, place


def _reshape(tracer: Tracer, node: fx.Node) -> Labels:
    return np.reshape(tracer.of(node.args[0]), shape_of(node))


def _permute(tracer: Tracer, node: fx.Node) -> Labels:
    return np.transpose(tracer.of(node.args[0]), [int(d) for d in argument(node, 1, "dims")])


def _transpose(tracer: Tracer, node: fx.Node) -> Labels:
    if operation(node) == "t":
        return np.transpose(tracer.of(node.args[0]))
    return np.swapaxes(tracer.of(node.args[0]), int(argument(node, 1, "dim0")), int(argument(node, 2, "dim1")))


def _expand(tracer: Tracer, node: fx.Node) -> Labels:
    return np.broadcast_to(tracer.of(node.args[0]), shape_of(node))


def _concat(tracer: Tracer, node: fx.Node) -> Labels:
    parts: Sequence[fx.Node] = node.args[0]  # type: ignore[assignment]
    labels = [tracer.of(part) for part in parts]
    dim = int(argument(node, 1, "dim", 0)) % labels[0].ndim
    others = [d for d in range(labels[0].ndim) if d != dim]
    if operation(node) == "cat" and any(varies(part, d) for part in labels for d in others):
        start = labels[0][(slice(None),) * dim + (slice(0, 1),)]
        for part in labels:  # tokens after each other: their features are one
            tracer.book.join(start, part)
    return np.stack(labels, dim) if operation(node) == "stack" else np.concatenate(labels, dim)


def _slice(tracer: Tracer, node: fx.Node) -> Labels:
    x = tracer.of(node.args[0])
    dim = int(argument(node, 1, "dim", 0)) % x.ndim
    if shape_of(node) == x.shape:
        return x
    if varies(x, dim):
        return _cut(tracer, node, x, dim)
    start = x[(slice(None),) * dim + (slice(0, 1),)]
    return np.broadcast_to(np.squeeze(start, dim) if operation(node) == "select" else start, shape_of(node))


def _cut(tracer: Tracer, node: fx.Node, x: Labels, dim: int) -> Labels:
    """Channels picked by their number, which must not change; queries picked from queries, keys and values may."""
    if operation(node) != "select" or not any(varies(x, d) for d in range(x.ndim) if d != dim):
        tracer.book.fix(x, f"{place(node)}: it picks channels by number")
    if operation(node) == "select":
        picked: Labels = np.take(x, int(argument(node, 2, "index")), dim)
        return picked
    whole = [slice(None)] * x.ndim
    end = argument(node, 3, "end")
    stop = None if end is None or number(end) >= x.shape[dim] else number(end)
    whole[dim] = slice(argument(node, 2, "start", 0), stop, argument(node, 4, "step", 1))
    return x[tuple(whole)]


def _parts(tracer: Tracer, node: fx.Node) -> list[Labels]:
    """Split, chunk and unbind: parts of equal size lose the same positions."""
    x = tracer.of(node.args[0])
    values: Sequence[Tensor] = node.meta["val"]
    if operation(node) == "unbind":
        dim = int(argument(node, 1, "dim", 0)) % x.ndim
        return [np.take(x, at, dim) for at in range(x.shape[dim])]
    dim = int(argument(node, 2, "dim", 0)) % x.ndim
    sizes = [concrete(value)[dim] for value in values]
    parts = np.split(x, np.cumsum(sizes)[:-1], dim)
    if varies(x, dim):
        if len(set(sizes)) > 1:
            tracer.book.fix(x, f"{place(node)}: it splits channels by number")
        else:
            for part in parts[1:]:
                tracer.book.join(parts[0], part)
    return parts


def _item(tracer: Tracer, node: fx.Node) -> Labels:
    source: Any = node.args[0]
    found = tracer.labels[source]
    index: Any = node.args[1]
    return found[index] if isinstance(found, list) else found


def _pad(tracer: Tracer, node: fx.Node) -> Labels:
    """Zeros around maps, or before and after channels; zeros in place of channels cannot be removed."""
    x = tracer.of(node.args[0])
    widths: Sequence[int] = argument(node, 1, "pad")
    for at in range(len(widths) // 2):
        dim, before, after = x.ndim - 1 - at, int(widths[2 * at]), int(widths[2 * at + 1])
        if not varies(x, dim) and not (dim == 1 and x.ndim == 4):
            shape = list(x.shape)
            shape[dim] += before + after
            x = np.broadcast_to(x[(slice(None),) * dim + (slice(0, 1),)], shape)
        elif before or after:
            x = _widened(tracer, node, x, (dim, before, after))
    return x


def _widened(tracer: Tracer, node: fx.Node, x: Labels, where: tuple[int, int, int]) -> Labels:
    dim, before, after = where
    pads = []
    for width in (before, after):
        shape = list(x.shape)
        shape[dim] = width
        zeros = tracer.book.fresh(1)
        tracer.book.fix(zeros, f"{place(node)}: zeros take the place of channels")
        pads.append(np.broadcast_to(zeros, shape))
    return np.concatenate([pads[0], x, pads[1]], dim)


SHAPE_RULES: dict[str, Rule] = {
    **dict.fromkeys(("view", "reshape", "flatten", "unflatten", "_unsafe_view", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("expand", "expand_as"), _expand),
    **dict.fromkeys(("cat", "stack"), _concat),
    **dict.fromkeys(("slice", "select"), _slice),
    **dict.fromkeys(("split", "chunk", "unbind", "split_with_sizes"), _parts),
    **dict.fromkeys(("transpose", "t", "swapaxes"), _transpose),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    "permute": _permute,
    "<built-in function getitem>": _item,
}
