"""The TinyNAS spaces: K1KXK1, KXKX, K1KX, K1DWK1, K1DWSEK1 and K1DWK1 with the bits of every convolution.

Source: Sun et al. 2022 (MAE-DET, arXiv 2111.13336; QE-Score, NeurIPS), Shen et al. 2023 (DeepMAD, arXiv 2303.02165)
and DAMO-YOLO (arXiv 2211.15444), with the released search spaces: a mutation changes one of width, kernel, bottleneck,
depth (or bits) of a block, two blocks a child; widths are multiples of 8 that never fall from block to block; the
first residual block has at most 3 sub-layers (2 in the DAMO-YOLO spaces); the head is fixed; strides never change.
Bits move one step within 3 to 6, all convolutions of a sub-layer together.

Deviations: every block can be mutated (an upper bound of the released code leaves out the last); the kernel does not
shrink with the map and the depth of a block has no bound of its own (the space knows neither the image nor the limits
on depth); the head's bits change one at a time. Published networks that the released rules could not produce (falling
widths, widths beside multiples of 8) are members all the same: ``validate`` checks kinds, kernels, widths and strides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.block_limits import MAX_DEPTH
from search_spaces.blocks.kind import round8
from search_spaces.chain_space import ChainSpace

DEPTH_STEPS = (-2, -1, 1, 2)
BITS = (3, 4, 5, 6)
LEAST_SHARE = 10  # a bottleneck of K1KXK1, KXKX and K1KX has at least a tenth of the width
WIDEST = 4096  # published networks reach 2896
STEM_WIDEST = 128
MUTATION_TRIES = 1_000


@dataclass(frozen=True)
class TinyNasSpace(ChainSpace):
    """A TinyNAS space.

    Attributes:
        name: of the space.
        seed: smallest network; its strides are those of every member.
        kernels: sides of the kernel.
        factors: by which a mutation scales a width.
        ratios: bottleneck over width of the depthwise kinds; () scales the bottleneck like a width.
        most: width that a mutation does not exceed.
        first_depth: most sub-layers of the first residual block after a mutation.
        growth: most times that a block widens; infinite but for K1KXK1.
        bits: whether convolutions have bits.
    """

    kernels: tuple[int, ...] = (3, 5)
    factors: tuple[float, ...] = (2.0, 1.5, 1.25, 0.8, 0.6, 0.5)
    ratios: tuple[float, ...] = ()
    most: int = 2048
    first_depth: int = 3
    growth: float = float("inf")
    bits: bool = False

    @property
    def kind(self) -> str:
        """Kind of every residual block."""
        return self.seed.blocks[1].kind

    def sample(self, rng: np.random.Generator) -> Architecture:
        """The seed scaled in width by 1/2 to 4 as a whole and each block on its own, with random kernels and depths."""
        overall = 2 ** rng.uniform(-1, 2)
        width = self._stem_width(overall * self.seed.blocks[0].channels)
        blocks = [replace(self.seed.blocks[0], channels=width)]
        for i, block in enumerate(self.body(self.seed)):
            width = max(width, min(self.most, round8(block.channels * overall * 2 ** rng.uniform(-0.7, 0.7))))
            depth = int(rng.integers(1, (self.first_depth if i == 0 else 6) + 1))
            kernel = self.kernels[rng.integers(len(self.kernels))]
            drawn = replace(block, channels=width, kernel=kernel, inner=self._inner(block, width, rng))
            blocks.append(self._with_depth(drawn, depth))
        return Architecture((*blocks, *self.seed.blocks[len(blocks) :]))

    def _inner(self, block: Block, width: int, rng: np.random.Generator) -> int:
        if self.ratios:
            return round8(width * self.ratios[rng.integers(len(self.ratios))])
        return self._bottleneck(block.inner / block.channels * 2 ** rng.uniform(-1, 1) * width, width)

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Change one choice of each of two blocks; never returns the parent itself."""
        for _ in range(MUTATION_TRIES):
            blocks = list(arch.blocks)
            for _ in range(2):
                at = int(rng.integers(len(blocks)))
                blocks[at] = self._mutated(blocks, at, rng)
            child = Architecture(tuple(blocks))
            if child != arch:
                return child
        raise InvalidArchitecture(f"{self.name}: found no second architecture near {arch.blocks}")

    def _mutated(self, blocks: list[Block], at: int, rng: np.random.Generator) -> Block:
        block = blocks[at]
        if at == 0:
            width = self._stem_width(block.channels * self._factor(rng))
            return replace(block, channels=min(width, blocks[1].channels))
        if block.kind == "conv":
            return self._step_bits(block, rng) if self.bits else block
        return self._redrawn(blocks, at, rng)

    def _redrawn(self, blocks: list[Block], at: int, rng: np.random.Generator) -> Block:
        """One choice of a residual block changed."""
        block = blocks[at]
        choice = rng.integers(4 + self.bits)
        if choice == 0:
            return self._rewidened(blocks, at, rng)
        if choice == 1:
            most = self.first_depth if at == 1 else MAX_DEPTH
            step = DEPTH_STEPS[rng.integers(len(DEPTH_STEPS))]
            return self._with_depth(block, max(1, min(most, block.depth + step)))
        if choice == 2:
            return replace(block, inner=self._new_inner(block, rng))
        if choice == 3:
            return replace(block, kernel=self.kernels[rng.integers(len(self.kernels))])
        return self._step_bits(block, rng)

    def _rewidened(self, blocks: list[Block], at: int, rng: np.random.Generator) -> Block:
        """Scale the width, between that of the block before and of the block behind."""
        block, before = blocks[at], blocks[at - 1].channels
        behind = blocks[at + 1].channels if at + 1 < len(blocks) else self.most
        width = min(self.most, round8(block.channels * self._factor(rng)))
        width = min(max(width, before), max(behind, before), round8(before * min(self.growth, self.most)))
        if self.growth < self.most and at + 1 < len(blocks):
            width = max(width, round8(behind / self.growth))
        if self.ratios:
            return replace(block, channels=width, inner=round8(width * self._ratio(block)))
        return replace(block, channels=width, inner=self._bottleneck(block.inner, width))

    def _new_inner(self, block: Block, rng: np.random.Generator) -> int:
        if self.ratios:
            return round8(block.channels * self.ratios[rng.integers(len(self.ratios))])
        return self._bottleneck(block.inner * self._factor(rng), block.channels)

    def _ratio(self, block: Block) -> float:
        """The ratio of the space that is nearest to the block's."""
        return min(self.ratios, key=lambda ratio: abs(ratio - block.inner / block.channels))

    def _bottleneck(self, inner: float, width: int) -> int:
        """A bottleneck no wider than the block and no narrower than a tenth of it."""
        return max(min(width, round8(inner)), round8(width / LEAST_SHARE))

    def _factor(self, rng: np.random.Generator) -> float:
        return self.factors[rng.integers(len(self.factors))]

    def _stem_width(self, width: float) -> int:
        return min(32, round8(width))

    def _with_depth(self, block: Block, depth: int) -> Block:
        """Another number of sub-layers; new ones take the bits of the last."""
        if not self.bits:
            return replace(block, depth=depth)
        return replace(
            block,
            depth=depth,
            weight_bits=_resized(block.weight_bits, depth),
            activation_bits=_resized(block.activation_bits, depth),
        )

    def _step_bits(self, block: Block, rng: np.random.Generator) -> Block:
        return replace(
            block,
            weight_bits=_stepped(block.weight_bits, block.depth, rng),
            activation_bits=_stepped(block.activation_bits, block.depth, rng),
        )

    def validate_block(self, block: Block, where: str, *, edge: bool) -> None:
        """Raise InvalidArchitecture unless kind, kernel, widths and bits are those of the space."""
        if not edge and (block.kind != self.kind or block.kernel not in self.kernels):
            raise InvalidArchitecture(
                f"{where} is {block.kind} with kernel {block.kernel}, expected {self.kind} with one of {self.kernels}"
            )
        widest = max(STEM_WIDEST, self.seed.blocks[0].channels) if edge and block.stride > 1 else WIDEST
        if block.channels > widest or block.inner > 8 * WIDEST:
            raise InvalidArchitecture(f"{where}.channels={block.channels}, expected at most {widest}")
        if bool(block.weight_bits) != self.bits:
            raise InvalidArchitecture(
                f"{where}.weight_bits={block.weight_bits}, expected {'bits' if self.bits else 'none'}"
            )

    def block_features(self, block: Block) -> tuple[float, ...]:
        """log2 width, log2 bottleneck, kernel, and where there are bits the means of both."""
        features = (float(np.log2(block.channels)), float(np.log2(block.inner)), float(block.kernel))
        if not self.bits:
            return features
        return *features, float(np.mean(block.weight_bits)), float(np.mean(block.activation_bits))


def _resized(bits: tuple[int, ...], depth: int) -> tuple[int, ...]:
    """Bits of ``depth`` sub-layers of three convolutions: cut, or the last three repeated."""
    return (bits + bits[-3:] * depth)[: 3 * depth]


def _stepped(bits: tuple[int, ...], depth: int, rng: np.random.Generator) -> tuple[int, ...]:
    """One sub-layer's bits (all, where a sub-layer has one convolution) moved by one step within 3 to 6."""
    convs = len(bits) // depth
    at = int(rng.integers(depth)) * convs
    new = min(max(bits[at] + (1 if rng.random() < 0.5 else -1), BITS[0]), BITS[-1])
    return bits[:at] + (new,) * convs + bits[at + convs :]


Row = tuple[int, int, int]  # channels, stride, bottleneck


def _seed(kind: str, stem: tuple[int, int], rows: tuple[Row, ...], head: int = 0, bits: int = 0) -> Architecture:
    """One sub-layer a block, kernel 3; the stem is (channels, stride); a head of 0 channels is none."""

    def bitted(block: Block, convs: int, of: int) -> Block:
        return replace(block, weight_bits=(of,) * convs, activation_bits=(of,) * convs) if bits else block

    blocks = [bitted(Block("conv", stem[0], stride=stem[1]), 1, 8)]
    blocks += [bitted(Block(kind, out, 3, stride, 1, inner), 3, bits) for out, stride, inner in rows]
    if head:
        blocks.append(bitted(Block("conv", head, kernel=1), 1, bits))
    return Architecture(tuple(blocks))


_RESNET: tuple[Row, ...] = ((256, 2, 64), (512, 2, 128), (768, 2, 256), (1024, 1, 256), (2048, 2, 512))
_DAMO_YOLO: tuple[Row, ...] = ((48, 2, 32), (96, 2, 48), (96, 2, 96), (192, 1, 96), (384, 2, 192))
_MOBILE: tuple[Row, ...] = ((24, 2, 48), (48, 2, 96), (64, 2, 128), (96, 1, 192), (192, 2, 384))
_DEEPMAD: tuple[Row, ...] = ((72, 2, 432), (128, 2, 768), (192, 2, 1152), (288, 2, 1728), (448, 1, 2688))
_SMALL: tuple[Row, ...] = ((16, 1, 8), (32, 2, 16), (64, 2, 32))
_SMALL_MOBILE: tuple[Row, ...] = ((8, 1, 16), (16, 2, 32), (32, 2, 64))
_MOBILE_RATIOS = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
_QUANT_RATIOS = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
_STEPS = tuple(round(0.1 * i, 1) for i in range(5, 21))
_DEEPMAD_RATIOS = tuple(round(0.1 * i, 1) for i in range(15, 61))
_K1KXK1_FACTORS = (1.5, 1.25, 0.8, 0.6, 0.5)

TINYNAS: tuple[TinyNasSpace, ...] = (
    TinyNasSpace("tinynas-k1kxk1", _seed("tinynas_k1kxk1", (32, 2), _RESNET), factors=_K1KXK1_FACTORS, growth=4.0),
    TinyNasSpace("tinynas-kxkx", _seed("tinynas_kxkx", (32, 1), _DAMO_YOLO), kernels=(3,), first_depth=2),
    TinyNasSpace("tinynas-k1kx", _seed("tinynas_k1kx", (32, 1), _DAMO_YOLO), kernels=(3,), first_depth=2),
    TinyNasSpace("tinynas-k1dwk1", _seed("tinynas_k1dwk1", (16, 2), _MOBILE, 1280), ratios=_MOBILE_RATIOS, most=1280),
    TinyNasSpace(
        "tinynas-k1dwsek1",
        _seed("tinynas_k1dwsek1", (32, 2), _DEEPMAD, 1792),
        kernels=(3, 5, 7),
        factors=_STEPS,
        ratios=_DEEPMAD_RATIOS,
        most=1280,
    ),
    TinyNasSpace(
        "tinynas-quant",
        _seed("tinynas_k1dwk1", (16, 2), _MOBILE, 1280, bits=4),
        ratios=_QUANT_RATIOS,
        most=1280,
        bits=True,
    ),
    TinyNasSpace("tinynas-k1kxk1-small", _seed("tinynas_k1kxk1", (8, 1), _SMALL), factors=_K1KXK1_FACTORS, growth=4.0),
    TinyNasSpace("tinynas-k1kx-small", _seed("tinynas_k1kx", (8, 1), _SMALL), kernels=(3,), first_depth=2),
    TinyNasSpace(
        "tinynas-k1dwk1-small", _seed("tinynas_k1dwk1", (8, 1), _SMALL_MOBILE, 64), ratios=_MOBILE_RATIOS, most=1280
    ),
    TinyNasSpace(
        "tinynas-quant-small",
        _seed("tinynas_k1dwk1", (8, 1), _SMALL_MOBILE, 64, bits=4),
        ratios=_QUANT_RATIOS,
        most=1280,
        bits=True,
    ),
)
