"""Residual blocks of ZenNAS (Lin et al. 2021, arXiv 2102.01063) and GENet (Lin et al. 2020, arXiv 2006.14090).

Shortcuts are projected by a 1x1 convolution with norm where stride or width change. ZenNAS always projects a block's
first shortcut, and its projections have a bias.
"""

from __future__ import annotations

from collections.abc import Callable

from search_spaces.arch import Block
from search_spaces.blocks.kind import (
    BlockKind,
    Expander,
    Unit,
    bottleneck_unit,
    close_residual,
    full_unit,
    round8,
)
from search_spaces.layer_list import LayerList
from search_spaces.layers import INPUT


def _residual(  # noqa: PLR0913 - where, what, and the kind of its shortcut
    x: LayerList, at: int, name: str, stride: int, unit: Unit, *, project: bool, bias: bool
) -> int:
    main = unit(x, at, name, stride)
    shortcut = at
    if project or stride != 1 or x.shape(main) != x.shape(at):
        shortcut = x.conv(at, f"{name}.shortcut.conv", x.shape(main)[0], stride=stride, bias=bias)
        shortcut = x.norm(shortcut, f"{name}.shortcut.norm")
    return close_residual(x, main, shortcut, name)


def _residual_units(units_of: Callable[[Block], tuple[Unit, ...]], *, zen: bool) -> Expander:
    """A sub-layer of one or two residual units, the first with the stride."""

    def expander(block: Block, x: LayerList, first: bool) -> None:
        at, stride = INPUT, block.stride
        for i, unit in enumerate(units_of(block)):
            at = _residual(x, at, f"u{i}", stride, unit, project=zen and first and i == 0, bias=zen)
            stride = 1

    return expander


def _gate_of(block: Block) -> Callable[[LayerList, int, str], int] | None:
    return LayerList.squeeze_excite if block.se else None


def _full(block: Block) -> tuple[Unit, ...]:
    return (full_unit(block.channels, block.inner, block.kernel),)


def _two_bottlenecks(block: Block) -> tuple[Unit, ...]:
    return (bottleneck_unit(block.channels, block.inner, block.kernel, gate=_gate_of(block)),) * 2


def _two_inverted(block: Block) -> tuple[Unit, ...]:
    return tuple(
        bottleneck_unit(out, round8(out * block.expansion), block.kernel, depthwise=True, gate=_gate_of(block))
        for out in (block.inner, block.channels)
    )


def _bottleneck(block: Block) -> tuple[Unit, ...]:
    return (bottleneck_unit(block.channels, block.inner, block.kernel),)


def _inverted(block: Block) -> tuple[Unit, ...]:
    return (bottleneck_unit(block.channels, block.inner, block.kernel, depthwise=True),)


_INNER = frozenset({"inner"})
BLOCKS = {
    "zen_xx": BlockKind(_residual_units(_full, zen=True), _INNER),  # SuperResKxKx: two full convolutions
    "zen_bl": BlockKind(_residual_units(_two_bottlenecks, zen=True), _INNER | {"se"}),  # SuperResK1KxK1
    "zen_idw": BlockKind(_residual_units(_two_inverted, zen=True), _INNER | {"se", "expansion"}),  # SuperResIDWEnKx
    "genet_xx": BlockKind(_residual_units(_full, zen=False), _INNER),  # SuperResKXKX
    "genet_bl": BlockKind(_residual_units(_bottleneck, zen=False), _INNER),  # SuperResK1KXK1
    "genet_dw": BlockKind(_residual_units(_inverted, zen=False), _INNER),  # SuperResK1DWK1
}
