"""Vision transformers (Dosovitskiy et al. 2020, arXiv 2010.11929; AutoFormer: Chen et al. 2021, arXiv 2107.00651).

Tokens are kept as a map (channels, height, width), so that a linear layer on tokens is a 1x1 convolution with bias.
An encoder layer is pre-norm: x + out(attention(norm x)), then x + down(gelu(up(norm x))); the attention is
heads * head_width wide, whatever the width of the map. Where a block changes the width, a linear layer comes first.

Deviations from AutoFormer: no class token (it trains with global pooling, too) and no relative positions.
"""

from __future__ import annotations

from search_spaces.arch import Block
from search_spaces.blocks.kind import BlockKind
from search_spaces.layer_list import LayerList
from search_spaces.layers import GELU, INPUT

MAX_POSITIONS = 256  # side of a position table
MAX_WIDTH = 65_536  # of all heads together


def _patches(block: Block, x: LayerList, first: bool) -> None:
    """Patches of kernel x kernel pixels as tokens, plus a learned table of inner x inner positions."""
    at = x.conv(INPUT, "patches", block.channels, block.kernel, stride=block.kernel, bias=True)
    x.position(at, "positions", block.inner)


def _encoder(block: Block, x: LayerList, first: bool) -> None:
    at = _at_width(x, block.channels)
    at = x.add(_attention(block, x, at), at, "attention.add")
    x.add(_mlp(block, x, at), at, "mlp.add")


def _norm(block: Block, x: LayerList, first: bool) -> None:
    x.layer_norm(_at_width(x, block.channels), "norm")


def _at_width(x: LayerList, channels: int) -> int:
    return INPUT if x.shape(INPUT)[0] == channels else x.conv(INPUT, "width", channels, bias=True)


def _attention(block: Block, x: LayerList, at: int) -> int:
    normed = x.layer_norm(at, "attention.norm")
    width = block.heads * block.head_width
    parts = [x.conv(normed, f"attention.{part}", width, bias=True) for part in ("queries", "keys", "values")]
    mixed = x.attention(parts[0], parts[1], parts[2], "attention.mixed", block.heads)
    return x.conv(mixed, "attention.out", block.channels, bias=True)


def _mlp(block: Block, x: LayerList, at: int) -> int:
    at = x.conv(x.layer_norm(at, "mlp.norm"), "mlp.up", block.inner, bias=True)
    return x.conv(x.activation(at, "mlp.gelu", GELU), "mlp.down", block.channels, bias=True)


def _refuse_patches(block: Block) -> str | None:
    if block.depth != 1:
        return f"depth={block.depth}, expected 1 for {block.kind}"
    if block.inner > MAX_POSITIONS:
        return f"inner={block.inner}, expected 1 to {MAX_POSITIONS}: the side of the position table of {block.kind}"
    return _refuse_stride(block, "patches tile the image: their side is the kernel")


def _refuse_encoder(block: Block) -> str | None:
    if block.heads * block.head_width > MAX_WIDTH:
        return f"heads={block.heads} of head_width={block.head_width}, expected at most {MAX_WIDTH:,} channels together"
    return _refuse_kernel(block)


def _refuse_kernel(block: Block) -> str | None:
    if block.kernel != 1:
        return f"kernel={block.kernel}, expected 1 for {block.kind}"
    return _refuse_stride(block, "tokens stay where they are")


def _refuse_stride(block: Block, why: str) -> str | None:
    return f"stride={block.stride}, expected 1 for {block.kind} ({why})" if block.stride != 1 else None


BLOCKS = {
    "vit_patches": BlockKind(_patches, frozenset({"inner"}), _refuse_patches, even_kernel=True),
    "vit_encoder": BlockKind(_encoder, frozenset({"inner", "heads", "head_width"}), _refuse_encoder),
    "vit_norm": BlockKind(_norm, refuse=_refuse_kernel),
}
