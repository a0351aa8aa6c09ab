"""What a block kind is: how to write its layers, and which of a block's fields it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from search_spaces.arch import Block
from search_spaces.layer_list import LayerList
from search_spaces.layers import RELU

Expander = Callable[[Block, LayerList, bool], None]  # (block, layers, whether this is the first sub-layer)


@dataclass(frozen=True, slots=True)
class BlockKind:
    """One row of ``BLOCKS``.

    Attributes:
        expand: writes the layers of one sub-layer.
        uses: fields beyond kind, channels, kernel, stride and depth that the kind has; the others keep their default.
        refuse: says what is wrong with a block whose fields are in range one by one; None accepts all.
        even_kernel: whether the kernel may be even.
        quantised: convolutions of a sub-layer that can have bits.
    """

    expand: Expander
    uses: frozenset[str] = frozenset()
    refuse: Callable[[Block], str | None] | None = None
    even_kernel: bool = False
    quantised: int = 0


def round8(width: float) -> int:
    """Nearest multiple of 8, halves to even, at least 8 (the rounding of ZenNAS and GENet)."""
    return max(8, round(width / 8) * 8)


def divisible_by_8(width: float) -> int:
    """Nearest multiple of 8, halves upwards, at least 8 and at least 90 % of the width (the rounding of MobileNets)."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


Unit = Callable[[LayerList, int, str, int], int]  # (layers, at, name, stride) -> position before the addition


def full_unit(out: int, inner: int, kernel: int) -> Unit:
    """Two full convolutions: to the inner width with the stride, then out."""

    def unit(x: LayerList, at: int, name: str, stride: int) -> int:
        at = x.conv_norm(at, f"{name}.a", inner, kernel, stride=stride)
        return x.conv_norm(at, f"{name}.b", out, kernel, act=None)

    return unit


def bottleneck_unit(  # noqa: PLR0913 - its widths, and what may stand in the middle
    out: int,
    inner: int,
    kernel: int,
    *,
    depthwise: bool = False,
    groups: int = 1,
    gate: Callable[[LayerList, int, str], int] | None = None,
    act: str = RELU,
) -> Unit:
    """1x1 to the inner width, a full, grouped or depthwise convolution with the stride, perhaps a gate, 1x1 out."""

    def unit(x: LayerList, at: int, name: str, stride: int) -> int:
        at = x.conv_norm(at, f"{name}.a", inner, act=act)
        middle = inner if depthwise else groups
        at = x.conv_norm(at, f"{name}.b", inner, kernel, stride=stride, groups=middle, act=act)
        if gate is not None:
            at = gate(x, at, f"{name}.se")
        return x.conv_norm(at, f"{name}.c", out, act=None)

    return unit


def close_residual(x: LayerList, main: int, shortcut: int, name: str, act: str = RELU) -> int:
    """Addition and activation."""
    return x.activation(x.add(main, shortcut, f"{name}.add"), f"{name}.{act}", act)
