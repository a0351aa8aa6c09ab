"""Cells of NAS-Bench-201 (Dong, Yang 2020, arXiv 2001.00326) and what its networks have around them.

A cell is a graph of four nodes: node 0 is its input, and every later node is the sum of an operation on each earlier
one. ``Block.ops`` names the six operations as the benchmark does: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``. A
convolution is ReLU, convolution, norm. On edges from node 0 that change the width or halve the map, a skip is ReLU,
1x1 convolution, norm; an average pooling that widens comes after ReLU, 1x1 convolution, norm.

Source: the structure as read in the authors' released code (D-X-Y/AutoDL-Projects), as used by TransNAS-Bench-101
(Duan et al. 2021, arXiv 2105.11871) for cells with a stride. Deviations: a skip with a stride takes all channels
from the even positions, the authors' half of them from the odd ones (same parameters and MACs); the sum starts with
the deepest input. In the reduction, a pooling of an odd side keeps the last row.
Checked against: the benchmark's parameters of all 15,625 networks and FLOPs of 725.
"""

from __future__ import annotations

from functools import lru_cache

from search_spaces.arch import Block
from search_spaces.blocks.kind import BlockKind
from search_spaces.layer_list import LayerList
from search_spaces.layers import INPUT, RELU

NONE, SKIP, POOL, CONV_1, CONV_3 = "none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3"
OPERATIONS = (NONE, SKIP, POOL, CONV_1, CONV_3)
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (node, what it reads), in the order of the text
NODES = 4
_KERNELS = {CONV_1: 1, CONV_3: 3}
_ANY = ""  # stands for an operation
_PATTERN = ("|", _ANY, "~0|+|", _ANY, "~0|", _ANY, "~1|+|", _ANY, "~0|", _ANY, "~1|", _ANY, "~2|")


def write_cell(operations: tuple[str, ...]) -> str:
    """The text of six operations in the order of ``EDGES``."""
    given = iter(operations)
    return "".join(piece or next(given) for piece in _PATTERN)


def read_cell(text: str) -> tuple[str, ...]:
    """The six operations in the order of ``EDGES``; raises ValueError with the column of the first mistake."""
    found: list[str] = []
    at = 0
    for piece in _PATTERN:
        if piece == _ANY:
            end = min((i for i in (text.find(mark, at) for mark in "~|+") if i >= 0), default=len(text))
            if text[at:end] not in OPERATIONS:
                raise ValueError(f"column {at + 1}: {text[at:end][:40]!r}, expected one of {', '.join(OPERATIONS)}")
            found.append(text[at:end])
            at = end
        elif text.startswith(piece, at):
            at += len(piece)
        else:
            raise ValueError(f"column {at + 1}: {text[at : at + len(piece)]!r}, expected {piece!r}")
    if at < len(text):
        raise ValueError(f"column {at + 1}: {text[at:][:40]!r}, expected the end")
    return tuple(found)


@lru_cache(maxsize=20_000)
def _cell_problem(ops: str) -> str | None:
    try:
        read_cell(ops)
    except ValueError as error:
        return f"ops={ops[:120]!r}, {error}"
    return None


def _refuse_cell(block: Block) -> str | None:
    return _refuse_kernel(block) or _cell_problem(block.ops)


def _refuse_kernel(block: Block) -> str | None:
    return None if block.kernel == 3 else f"kernel={block.kernel}, expected 3 for {block.kind}"


def _cell(block: Block, x: LayerList, first: bool) -> None:
    operations = dict(zip(EDGES, read_cell(block.ops), strict=True))
    nodes, depths = [INPUT], [0]  # depth: convolutions on the longest way from the input; -1: a map of zeros
    for node in range(1, NODES):
        inputs = []
        for source in range(node):
            stride = block.stride if source == 0 else 1
            operation = operations[node, source]
            at = _operate(x, nodes[source], f"n{node}.e{source}", operation, block.channels, stride)
            inputs.append((_depth_after(depths[source], operation), at))
        inputs.sort(key=lambda found: -found[0])
        depths.append(inputs[0][0])
        nodes.append(inputs[0][1] if node == 1 else x.sum([at for _, at in inputs], f"n{node}.sum"))


def _depth_after(depth: int, operation: str) -> int:
    if depth < 0 or operation == NONE:
        return -1
    return depth + (operation in _KERNELS)


def _operate(x: LayerList, at: int, name: str, operation: str, channels: int, stride: int) -> int:
    widens = x.shape(at)[0] != channels
    if operation == NONE:
        return x.zero(at, f"{name}.zero", channels, stride)
    if operation in _KERNELS:
        return _rectified(x, at, name, channels, _KERNELS[operation], stride)
    if operation == SKIP:
        return _rectified(x, at, name, channels, 1, stride) if widens or stride != 1 else at
    if widens:
        at = _rectified(x, at, name, channels)
    return x.average_pool(at, f"{name}.pool", 3, stride)


def _rectified(x: LayerList, at: int, name: str, channels: int, kernel: int = 1, stride: int = 1) -> int:
    """ReLU, convolution, norm."""
    return x.conv_norm(x.activation(at, f"{name}.relu", RELU), name, channels, kernel, stride=stride, act=None)


def _reduction(block: Block, x: LayerList, first: bool) -> None:
    """Two rectified convolutions, the first with the stride; the shortcut is pooled, then projected without norm."""
    main = _rectified(x, INPUT, "u0.a", block.channels, block.kernel, block.stride)
    main = _rectified(x, main, "u0.b", block.channels, block.kernel)
    shortcut = INPUT
    if block.stride != 1:
        pooled = x.average_pool(INPUT, "u0.shortcut.pool", block.stride, block.stride)
        shortcut = x.conv(pooled, "u0.shortcut.conv", block.channels)
    elif x.shape(INPUT)[0] != block.channels:
        shortcut = _rectified(x, INPUT, "u0.shortcut", block.channels)
    x.add(main, shortcut, "u0.add")


def _conv_norm(block: Block, x: LayerList, first: bool) -> None:
    """The stem: no activation."""
    x.conv_norm(INPUT, "u0", block.channels, block.kernel, stride=block.stride, act=None)


def _norm_act(block: Block, x: LayerList, first: bool) -> None:
    """Norm and activation before the classifier; a 1x1 convolution before them where the shape changes."""
    at = INPUT
    if block.stride != 1 or x.shape(at)[0] != block.channels:
        at = x.conv(at, "u0.conv", block.channels, stride=block.stride)
    x.activation(x.norm(at, "u0.norm"), f"u0.{block.act}", block.act)


BLOCKS = {
    "nb201_cell": BlockKind(_cell, frozenset({"ops"}), _refuse_cell),
    "nb201_reduction": BlockKind(_reduction),
    "conv_norm": BlockKind(_conv_norm),
    "norm_act": BlockKind(_norm_act, frozenset({"act"}), _refuse_kernel),
}
