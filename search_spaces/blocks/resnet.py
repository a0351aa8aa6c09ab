"""Residual blocks of ResNet (He et al. 2016, arXiv 1512.03385) and, with groups, of ResNeXt and RegNetX.

ResNeXt: Xie et al. 2017, arXiv 1611.05431; RegNetX: Radosavovic et al. 2020, arXiv 2003.13678. The stride is on the
k x k convolution; shortcuts are projected by a 1x1 convolution with norm where stride or width change.
"""

from __future__ import annotations

from collections.abc import Callable

from search_spaces.arch import Block
from search_spaces.blocks.kind import BlockKind, Expander, Unit, bottleneck_unit, close_residual, full_unit
from search_spaces.layer_list import LayerList
from search_spaces.layers import INPUT


def _residual(unit_of: Callable[[Block], Unit]) -> Expander:
    def expander(block: Block, x: LayerList, first: bool) -> None:
        main = unit_of(block)(x, INPUT, "u0", block.stride)
        shortcut = INPUT
        if block.stride != 1 or x.shape(main) != x.shape(INPUT):
            shortcut = x.conv_norm(INPUT, "u0.shortcut", block.channels, stride=block.stride, act=None)
        close_residual(x, main, shortcut, "u0")

    return expander


def _basic(block: Block) -> Unit:
    return full_unit(block.channels, block.inner, block.kernel)


def _bottleneck(block: Block) -> Unit:
    return bottleneck_unit(block.channels, block.inner, block.kernel)


def _grouped(block: Block) -> Unit:
    return bottleneck_unit(block.channels, block.inner, block.kernel, groups=block.inner // block.group_width)


def _undivided(block: Block) -> str | None:
    if block.inner % block.group_width:
        return f"group_width={block.group_width}, expected a divisor of inner={block.inner}"
    return None


BLOCKS = {
    "resnet_basic": BlockKind(_residual(_basic), frozenset({"inner"})),
    "resnet_bottleneck": BlockKind(_residual(_bottleneck), frozenset({"inner"})),
    "resnext": BlockKind(_residual(_grouped), frozenset({"inner", "group_width"}), _undivided),
}
