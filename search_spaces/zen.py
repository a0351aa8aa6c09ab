"""The ZenNAS spaces, free in width and depth: XX/BL, of full convolutions or bottlenecks, and IDW.

IDW holds inverted residuals with depthwise convolutions, with or without squeeze-and-excite; its head is fixed.
Source: Lin et al. 2021, "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition" (arXiv 2102.01063), with
the released search space: a mutation redraws a whole block's kind, width (x 2.5 … 1/2.5, multiples of 8, 8..2048),
depth (-2..2) and bottleneck; a block of six or more sub-layers is split, which is how structures grow. Strides never
change. Deviations: kinds are drawn uniformly (an aliasing slip gives the released code 3:3:2 for kernels 3, 5, 7 of
XX/BL, and 12 to 2 between the types of IDW); IDW widths are bounded by 2048, too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.blocks.kind import round8
from search_spaces.chain_space import ChainSpace

WIDTH_FACTORS = (2.5, 2.0, 1.5, 1.25, 1.0, 1 / 1.25, 1 / 1.5, 1 / 2.0, 1 / 2.5)
DEPTH_STEPS = (-2, -1, 0, 1, 2)
MAX_CHANNELS = 2048
SPLIT_DEPTH = 6
FIRST_PART = 3

Type = tuple[str, int, int]  # block kind, kernel, expansion
XXBL: tuple[Type, ...] = tuple((kind, kernel, 0) for kind in ("zen_bl", "zen_xx") for kernel in (3, 5, 7))
IDW: tuple[Type, ...] = tuple(("zen_idw", kernel, expansion) for expansion in (1, 2, 4, 6) for kernel in (3, 5, 7))


_KEPT = 1 << 16  # blocks, which mutants have in common: making one takes longer than finding it


@dataclass(frozen=True)
class ZenSpace(ChainSpace):
    """A ZenNAS space.

    Attributes:
        name: of the space.
        seed: smallest network; stem, residual blocks, 1x1 head. Its strides are those of every member.
        types: what a residual block may be.
        se: whether every residual block has squeeze-and-excite.
        fixed_head: whether the head keeps the seed's width.
        replacements: blocks redrawn by one mutation (2 in the paper).
    """

    types: tuple[Type, ...] = XXBL
    se: bool = False
    fixed_head: bool = False
    replacements: int = 2

    def sample(self, rng: np.random.Generator) -> Architecture:
        """The seed's strides with widths between half and eight times the seed's, up to twice the blocks."""
        first, *body, last = self.seed.blocks
        blocks = [replace(first, channels=_scaled(first.channels, rng))]
        for block in body:
            blocks.append(self._draw(block, rng))
            if rng.random() < 0.3:
                blocks.append(replace(self._draw(block, rng), stride=1))
        blocks.append(last if self.fixed_head else replace(last, channels=_scaled(last.channels, rng)))
        return Architecture(tuple(blocks))

    def _draw(self, block: Block, rng: np.random.Generator) -> Block:
        kind, kernel, expansion = self.types[rng.integers(len(self.types))]
        return replace(
            block,
            kind=kind,
            kernel=kernel,
            expansion=expansion,
            channels=_scaled(block.channels, rng),
            inner=_scaled(block.inner, rng),
            depth=int(rng.integers(1, SPLIT_DEPTH)),
        )

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Redraw ``replacements`` blocks near what they are; never returns the parent itself."""
        while True:
            blocks = list(arch.blocks)
            for _ in range(self.replacements):
                at = int(rng.integers(len(blocks) - self.fixed_head))
                block = self._redraw(blocks[at], rng)
                blocks[at : at + 1] = _split(block) if block.depth >= SPLIT_DEPTH else (block,)
            child = Architecture(tuple(blocks))
            if child != arch:
                return child

    def _redraw(self, block: Block, rng: np.random.Generator) -> Block:
        draw, factors = rng.integers, len(WIDTH_FACTORS)
        if block.kind == "conv":
            return _widened(block, _times(block.channels, WIDTH_FACTORS[draw(factors)]))
        kind, kernel, expansion = self.types[draw(len(self.types))]
        channels = _times(block.channels, WIDTH_FACTORS[draw(factors)])
        depth = max(1, block.depth + DEPTH_STEPS[draw(len(DEPTH_STEPS))])
        inner = _times(block.inner, WIDTH_FACTORS[draw(factors)])
        return _block(kind, channels, kernel, block.stride, depth, inner, expansion, self.se)

    def validate_block(self, block: Block, where: str, *, edge: bool) -> None:
        """Raise InvalidArchitecture unless the block's type, gate and widths are those of the space."""
        if not edge and (block.kind, block.kernel, block.expansion) not in self.types:
            raise InvalidArchitecture(
                f"{where} is {block.kind} with kernel {block.kernel} and expansion {block.expansion}, "
                f"expected one of {self.types}"
            )
        if not edge and block.se != self.se:
            raise InvalidArchitecture(f"{where}.se={block.se}, expected {self.se}")
        if block.channels % 8 or block.inner % 8 or max(block.channels, block.inner) > self._widest:
            raise InvalidArchitecture(
                f"{where}: widths {block.channels} and {block.inner}, expected multiples of 8 up to {self._widest}"
            )

    @property
    def _widest(self) -> int:
        return max(MAX_CHANNELS, self.seed.blocks[-1].channels)

    def block_features(self, block: Block) -> tuple[float, ...]:
        """log2 width, log2 bottleneck, kernel, and whether it is of the first kind (of IDW: its expansion)."""
        kind = float(block.expansion or block.kind == self.types[0][0])
        return float(np.log2(block.channels)), float(np.log2(block.inner)), block.kernel, kind


@lru_cache(_KEPT)
def _times(width: int, factor: float) -> int:
    return min(MAX_CHANNELS, round8(width * factor))


_block = lru_cache(_KEPT)(Block)


@lru_cache(_KEPT)
def _widened(block: Block, channels: int) -> Block:
    return replace(block, channels=channels)


def _scaled(width: int, rng: np.random.Generator) -> int:
    return min(MAX_CHANNELS, round8(width * 2 ** rng.uniform(-1, 3)))


@lru_cache(_KEPT)
def _split(block: Block) -> tuple[Block, ...]:
    if block.kind == "conv":
        return (block,)
    return (replace(block, depth=FIRST_PART), replace(block, depth=block.depth - FIRST_PART, stride=1))


Row = tuple[int, int, int]  # channels, stride, bottleneck


def _seed(stem: Block, body: tuple[Row, ...], head: int) -> Architecture:
    """XX blocks with kernel 3 between a stem and a 1x1 head."""
    blocks = tuple(Block("zen_xx", c, 3, stride, 1, inner) for c, stride, inner in body)
    return Architecture((stem, *blocks, Block("conv", head, kernel=1)))


def _idw_seed(stem: Block, body: tuple[Row, ...], head: int, *, se: bool) -> Architecture:
    """Inverted residuals of expansion 6 and kernel 3 between a stem and a 1x1 head."""
    blocks = tuple(Block("zen_idw", c, 3, stride, 1, inner, 6, se) for c, stride, inner in body)
    return Architecture((stem, *blocks, Block("conv", head, kernel=1)))


_IDW_BODY: tuple[Row, ...] = ((32, 2, 8), (48, 2, 32), (96, 2, 48), (128, 2, 96))
_IDW_SMALL: tuple[Row, ...] = ((16, 1, 8), (32, 2, 16), (64, 2, 32))

ZEN = ZenSpace("zen", _seed(Block("conv", 8), ((16, 1, 8), (32, 2, 16), (64, 2, 32), (64, 2, 32)), 128))
ZEN_TINY = ZenSpace("zen-tiny", _seed(Block("conv", 8), ((16, 1, 8), (32, 2, 16), (64, 2, 32)), 64))
ZEN_IMAGENET = ZenSpace(
    "zen-imagenet",
    _seed(Block("conv", 32, stride=2), ((64, 2, 32), (128, 2, 64), (256, 2, 128), (512, 2, 256)), 512),
)
ZEN_IDW = ZenSpace("zen-idw", _idw_seed(Block("conv", 8, stride=2), _IDW_BODY, 2048, se=False), IDW, False, True)
ZEN_IDW_SE = ZenSpace("zen-idw-se", _idw_seed(Block("conv", 8, stride=2), _IDW_BODY, 2048, se=True), IDW, True, True)
ZEN_IDW_SMALL = ZenSpace("zen-idw-small", _idw_seed(Block("conv", 8), _IDW_SMALL, 128, se=False), IDW, False, True)
