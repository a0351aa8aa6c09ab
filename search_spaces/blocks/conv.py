"""A plain convolution with norm and activation: stems and heads of every family."""

from __future__ import annotations

from search_spaces.arch import Block
from search_spaces.blocks.kind import BlockKind
from search_spaces.layer_list import LayerList
from search_spaces.layers import INPUT


def _conv(block: Block, x: LayerList, first: bool) -> None:
    x.conv_norm(INPUT, "u0", block.channels, block.kernel, stride=block.stride, act=block.act)


BLOCKS = {"conv": BlockKind(_conv, frozenset({"act"}), quantised=1)}
