"""Block kinds: the single place that says what each consists of.

Adding a kind is one function in a family's file and one row of its table. Everything else (counts, modules, ONNX,
scores, latency, drawings) follows from the layers.
"""

from __future__ import annotations

from search_spaces.blocks import basic, cells, conv, mobile, residual, resnet, tinynas, vit
from search_spaces.blocks.kind import BlockKind

BLOCKS: dict[str, BlockKind] = {
    **conv.BLOCKS,
    **residual.BLOCKS,
    **tinynas.BLOCKS,
    **mobile.BLOCKS,
    **basic.BLOCKS,
    **resnet.BLOCKS,
    **vit.BLOCKS,
    **cells.BLOCKS,
}
