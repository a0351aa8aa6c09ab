"""Inverted residuals of MobileNetV2 and V3, and the head of MobileNetV3, which convolves the pooled map.

Source: Sandler et al. 2018 (arXiv 1801.04381), Howard et al. 2019 (arXiv 1905.02244), as built by Once-for-all (Cai et
al. 2020, arXiv 1908.09791) and BINAS (Nayman et al. 2021, arXiv 2110.12399).
Checked against: tests/golden/mobilenetv3_networks.json, nas_bench_macro.json.
"""

from __future__ import annotations

from search_spaces.arch import Block
from search_spaces.blocks.kind import BlockKind, Expander, divisible_by_8
from search_spaces.layer_list import LayerList
from search_spaces.layers import INPUT


def _inverted(block: Block, x: LayerList, first: bool) -> None:
    """1x1 to ``expansion`` times the input width (none for 1), depthwise, perhaps a gate, 1x1 out without activation.

    The input is added where neither resolution nor width change.
    """
    width = x.shape(INPUT)[0]
    at = INPUT
    if block.expansion > 1:
        at = x.conv_norm(at, "u0.a", divisible_by_8(width * block.expansion), act=block.act)
    hidden = x.shape(at)[0]
    at = x.conv_norm(at, "u0.b", hidden, block.kernel, stride=block.stride, depthwise=True, act=block.act)
    if block.se:
        at = x.hard_squeeze_excite(at, "u0.se", divisible_by_8(hidden // 4))
    at = x.conv_norm(at, "u0.c", block.channels, act=None)
    if block.stride == 1 and block.channels == width:
        x.add(at, INPUT, "u0.add")


def _pooled(*, bias: bool) -> Expander:
    """Mean over the map, then a 1x1 convolution and an activation, no norm."""

    def expander(block: Block, x: LayerList, first: bool) -> None:
        at = x.conv(x.global_pool(INPUT, "u0.pool"), "u0.conv", block.channels, bias=bias)
        x.activation(at, f"u0.{block.act}", block.act)

    return expander


def _refuse_pooled(block: Block) -> str | None:
    for name in ("kernel", "stride", "depth"):
        if getattr(block, name) != 1:
            return f"{name}={getattr(block, name)}, expected 1 for {block.kind}"
    return None


def _projection(block: Block, x: LayerList, first: bool) -> None:
    x.conv_norm(INPUT, "u0", block.channels, block.kernel, stride=block.stride, act=None)


_ACT = frozenset({"act"})
BLOCKS = {
    "mbconv": BlockKind(_inverted, _ACT | {"expansion", "se"}),
    "projection": BlockKind(
        _projection
    ),  # convolution and norm: what NAS-Bench-Macro's identity is where widths change
    "pooled_conv": BlockKind(_pooled(bias=False), _ACT, _refuse_pooled),  # of Once-for-all
    "pooled_conv_bias": BlockKind(_pooled(bias=True), _ACT, _refuse_pooled),  # of BINAS and the original
}
