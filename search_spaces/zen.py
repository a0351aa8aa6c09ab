"""The ZenNAS XX/BL space: residual blocks of full convolutions (XX) or bottlenecks (BL), free in width and depth.

Source: Lin et al. 2021, "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition" (arXiv 2102.01063), with
the released search space: a mutation redraws a whole block's kind, width (x 2.5 … 1/2.5, multiples of 8, 8..2048),
depth (-2..2) and bottleneck; a block of six or more sub-layers is split, which is how structures grow. Strides never
change. Deviation: kinds are drawn uniformly (an aliasing slip gives the released code 3:3:2 for kernels 3, 5, 7).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.block_limits import check_block
from search_spaces.blocks.kind import round8

WIDTH_FACTORS = (2.5, 2.0, 1.5, 1.25, 1.0, 1 / 1.25, 1 / 1.5, 1 / 2.0, 1 / 2.5)
DEPTH_STEPS = (-2, -1, 0, 1, 2)
MAX_CHANNELS = 2048
SPLIT_DEPTH = 6
FIRST_PART = 3

XXBL = tuple((kind, kernel) for kind in ("zen_bl", "zen_xx") for kernel in (3, 5, 7))


@dataclass(frozen=True)
class ZenSpace:
    """Networks that mutation reaches from a small seed network.

    Attributes:
        name: of the space.
        seed: smallest network; stem, residual blocks, 1x1 head. Its strides are those of every member.
        kinds: (block kind, kernel) that a residual block may take.
        replacements: blocks redrawn by one mutation (2 in the paper).
    """

    name: str
    seed: Architecture
    kinds: tuple[tuple[str, int], ...] = XXBL
    replacements: int = 2

    @property
    def stages(self) -> int:
        """Number of resolutions, the stem's included."""
        return 1 + sum(block.stride > 1 for block in self.seed.blocks[1:])

    def sample(self, rng: np.random.Generator) -> Architecture:
        """The seed's strides with widths between half and eight times the seed's, up to twice the blocks."""
        first, *body, last = self.seed.blocks
        blocks = [replace(first, channels=_scaled(first.channels, rng))]
        for block in body:
            blocks.append(self._draw(block, rng))
            if rng.random() < 0.3:
                blocks.append(replace(self._draw(block, rng), stride=1))
        blocks.append(replace(last, channels=_scaled(last.channels, rng)))
        return Architecture(tuple(blocks))

    def _draw(self, block: Block, rng: np.random.Generator) -> Block:
        kind, kernel = self.kinds[rng.integers(len(self.kinds))]
        return replace(
            block,
            kind=kind,
            kernel=kernel,
            channels=_scaled(block.channels, rng),
            inner=_scaled(block.inner, rng),
            depth=int(rng.integers(1, SPLIT_DEPTH)),
        )

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Redraw ``replacements`` blocks near what they are; never returns the parent itself."""
        while True:
            blocks = list(arch.blocks)
            for _ in range(self.replacements):
                at = int(rng.integers(len(blocks)))
                blocks[at : at + 1] = _split(self._redraw(blocks[at], rng))
            child = Architecture(tuple(blocks))
            if child != arch:
                return child

    def _redraw(self, block: Block, rng: np.random.Generator) -> Block:
        if block.kind == "conv":
            return replace(block, channels=_near(block.channels, rng))
        kind, kernel = self.kinds[rng.integers(len(self.kinds))]
        return Block(
            kind,
            _near(block.channels, rng),
            kernel,
            block.stride,
            max(1, block.depth + DEPTH_STEPS[rng.integers(len(DEPTH_STEPS))]),
            _near(block.inner, rng),
        )

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """The first resolutions of one parent, the others of the other."""
        cut = int(rng.integers(1, self.stages)) if self.stages > 1 else 0
        return Architecture(a.blocks[: _stage_start(a, cut)] + b.blocks[_stage_start(b, cut) :])

    def validate(self, arch: Architecture) -> None:
        """Raise InvalidArchitecture unless the architecture is a member of this space."""
        first, *body, last = self.seed.blocks
        blocks = arch.blocks
        if len(blocks) < len(self.seed.blocks):
            raise InvalidArchitecture(f"{self.name}: {len(blocks)} blocks, expected at least {len(self.seed.blocks)}")
        for at, fixed in ((0, first), (-1, last)):
            if replace(blocks[at], channels=fixed.channels) != fixed:
                raise InvalidArchitecture(
                    f"{self.name}: blocks[{at}] is {blocks[at]}, expected {fixed} but for its width"
                )
        for i, block in enumerate(blocks):
            self._validate_block(i, block, edge=i in (0, len(blocks) - 1))
        strides, expected = ([b.stride for b in bs if b.stride > 1] for bs in (blocks[1:-1], body))
        if strides != expected:
            raise InvalidArchitecture(
                f"{self.name}: {len(strides)} blocks halve the resolution, expected {len(expected)}"
            )

    def _validate_block(self, i: int, block: Block, *, edge: bool) -> None:
        where = f"{self.name}: blocks[{i}]"
        check_block(block, where)
        if not edge and (block.kind, block.kernel) not in self.kinds:
            raise InvalidArchitecture(
                f"{where} is {block.kind} with kernel {block.kernel}, expected one of {self.kinds}"
            )
        if block.se or block.expansion:
            raise InvalidArchitecture(f"{where} is {block}, expected no squeeze-and-excite and no expansion")
        if block.channels % 8 or block.inner % 8 or max(block.channels, block.inner) > MAX_CHANNELS:
            raise InvalidArchitecture(
                f"{where}: widths {block.channels} and {block.inner}, expected multiples of 8 up to {MAX_CHANNELS}"
            )

    def encode(self, arch: Architecture) -> NDArray[np.float64]:
        """(2 + 6 * stages,) log2 widths of stem and head; per resolution: blocks, depth, mean widths, kernel, kind."""
        features = [np.log2(arch.blocks[0].channels), np.log2(arch.blocks[-1].channels)]
        for stage in range(self.stages):
            body = arch.blocks[_stage_start(arch, stage) : _stage_start(arch, stage + 1)]
            blocks = [block for block in body if block.kind != "conv"]
            if not blocks:
                features += [0.0] * 6
                continue
            weights = np.array([block.depth for block in blocks], dtype=np.float64)
            rows = [(np.log2(b.channels), np.log2(b.inner), b.kernel, b.kind == self.kinds[0][0]) for b in blocks]
            features += [
                len(blocks),
                weights.sum(),
                *np.average(np.array(rows, dtype=np.float64), axis=0, weights=weights),
            ]
        return np.array(features, dtype=np.float64)


def _near(width: int, rng: np.random.Generator) -> int:
    return min(MAX_CHANNELS, round8(width * WIDTH_FACTORS[rng.integers(len(WIDTH_FACTORS))]))


def _scaled(width: int, rng: np.random.Generator) -> int:
    return min(MAX_CHANNELS, round8(width * 2 ** rng.uniform(-1, 3)))


def _split(block: Block) -> tuple[Block, ...]:
    if block.depth < SPLIT_DEPTH or block.kind == "conv":
        return (block,)
    return (replace(block, depth=FIRST_PART), replace(block, depth=block.depth - FIRST_PART, stride=1))


def _stage_start(arch: Architecture, stage: int) -> int:
    """Position of the block that opens a resolution; the stem opens stage 0."""
    starts = [0] + [i for i, block in enumerate(arch.blocks) if i > 0 and block.stride > 1]
    return starts[stage] if stage < len(starts) else len(arch.blocks)


def _seed(stem: Block, body: tuple[tuple[int, int, int], ...], head: int) -> Architecture:
    """(channels, stride, bottleneck) of XX blocks with kernel 3 between a stem and a 1x1 head."""
    blocks = tuple(Block("zen_xx", c, 3, stride, 1, inner) for c, stride, inner in body)
    return Architecture((stem, *blocks, Block("conv", head, kernel=1)))


ZEN = ZenSpace("zen", _seed(Block("conv", 8), ((16, 1, 8), (32, 2, 16), (64, 2, 32), (64, 2, 32)), 128))
ZEN_TINY = ZenSpace("zen-tiny", _seed(Block("conv", 8), ((16, 1, 8), (32, 2, 16), (64, 2, 32)), 64))
ZEN_IMAGENET = ZenSpace(
    "zen-imagenet",
    _seed(Block("conv", 32, stride=2), ((64, 2, 32), (128, 2, 64), (256, 2, 128), (512, 2, 256)), 512),
)
