"""Residual blocks of TinyNAS: MAE-DET (arXiv 2111.13336), DeepMAD (arXiv 2303.02165), QE-Score (NeurIPS 2022).

A shortcut is halved by a 2x2 average pooling, then projected by a 1x1 convolution with norm where the width changes.
K1KXK1 projects every block's first shortcut; depthwise blocks have no shortcut where the width changes. K1DWSEK1 uses
SiLU throughout, and a gate of a quarter of the width, rounded down to multiples of 8.

Source: the structure as read in the authors' released code. Deviation: a pooling of an odd side keeps the last row
(the authors' would not fit the main path there).
Checked against: tests/golden/tinynas_networks.json.
"""

from __future__ import annotations

from collections.abc import Callable

from search_spaces.arch import Block
from search_spaces.blocks.kind import BlockKind, Expander, Unit, bottleneck_unit, close_residual
from search_spaces.layer_list import LayerList
from search_spaces.layers import INPUT, RELU, SILU


def _k1kx_unit(block: Block) -> Unit:
    def unit(x: LayerList, at: int, name: str, stride: int) -> int:
        at = x.conv_norm(at, f"{name}.a", block.inner)
        return x.conv_norm(at, f"{name}.b", block.channels, block.kernel, stride=stride, act=None)

    return unit


def _kxkx_unit(block: Block) -> Unit:
    def unit(x: LayerList, at: int, name: str, stride: int) -> int:
        at = x.conv_norm(at, f"{name}.a", block.inner, block.kernel)
        return x.conv_norm(at, f"{name}.b", block.channels, block.kernel, stride=stride, act=None)

    return unit


def _k1kxk1_unit(block: Block) -> Unit:
    return bottleneck_unit(block.channels, block.inner, block.kernel)


def _k1dwk1_unit(block: Block) -> Unit:
    return bottleneck_unit(block.channels, block.inner, block.kernel, depthwise=True)


def _k1dwsek1_unit(block: Block) -> Unit:
    def gate(x: LayerList, at: int, name: str) -> int:
        return x.squeeze_excite(at, name, reduced=max(8, round(0.25 * block.inner) // 8 * 8), act=SILU)

    return bottleneck_unit(block.channels, block.inner, block.kernel, depthwise=True, gate=gate, act=SILU)


def _residual(
    unit_of: Callable[[Block], Unit], *, always_project: bool = False, drop: bool = False, act: str = RELU
) -> Expander:
    """One unit with its shortcut; ``drop`` leaves the shortcut out where the width changes."""

    def expander(block: Block, x: LayerList, first: bool) -> None:
        main = unit_of(block)(x, INPUT, "u0", block.stride)
        widens = x.shape(INPUT)[0] != block.channels
        if drop and widens:
            x.activation(main, f"u0.{act}", act)
            return
        shortcut = INPUT
        if block.stride != 1:
            shortcut = x.average_pool(shortcut, "u0.shortcut.pool", block.stride, block.stride)
        if widens or (first and always_project):
            shortcut = x.conv_norm(shortcut, "u0.shortcut", block.channels, act=None)
        close_residual(x, main, shortcut, "u0", act)

    return expander


_INNER = frozenset({"inner"})
BLOCKS = {
    "tinynas_k1kxk1": BlockKind(_residual(_k1kxk1_unit, always_project=True), _INNER),
    "tinynas_kxkx": BlockKind(_residual(_kxkx_unit), _INNER),
    "tinynas_k1kx": BlockKind(_residual(_k1kx_unit), _INNER),
    "tinynas_k1dwk1": BlockKind(_residual(_k1dwk1_unit, drop=True), _INNER, quantised=3),
    "tinynas_k1dwsek1": BlockKind(_residual(_k1dwsek1_unit, drop=True, act=SILU), _INNER),
}
