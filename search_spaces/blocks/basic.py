"""The residual block of the ResNet-20 of the CVPR 2021 NAS competition: every shortcut is projected, without bias."""

from __future__ import annotations

from search_spaces.arch import Block
from search_spaces.blocks.kind import BlockKind, close_residual, full_unit
from search_spaces.layer_list import LayerList
from search_spaces.layers import INPUT


def _projected(block: Block, x: LayerList, first: bool) -> None:
    main = full_unit(block.channels, block.inner, block.kernel)(x, INPUT, "u0", block.stride)
    shortcut = x.conv_norm(INPUT, "u0.shortcut", block.channels, stride=block.stride, act=None)
    close_residual(x, main, shortcut, "u0")


BLOCKS = {"projected_basic": BlockKind(_projected, frozenset({"inner"}))}
