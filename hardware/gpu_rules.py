"""Which block suits which stage of a network on a device: GENet's principles computed, not assumed.

Source: Lin, Chen, Sun, Li, Jin 2020, arXiv 2006.14090: full convolutions (XX) where maps are large, bottlenecks (BL)
and depthwise blocks (DW) where they are small. Two facts stand behind it, and both are inputs here. A GPU runs full
convolutions near its peak and depthwise ones at the pace of its memory, so multiply-adds are not the cost; and BL and
DW are low-rank forms of a full convolution, which late stages of trained networks need no more than
(``hardware.intrinsic_rank`` measures how much they need).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import NamedTuple

import numpy as np

from hardware.analytic_latency import KernelModel
from hardware.kernels import FLOAT_BYTES, Kernel, kernels_of
from search_spaces.arch import Block
from search_spaces.blocks.kind import round8
from search_spaces.expand import block_output, expand_block
from search_spaces.layers import Shape
from search_spaces.space import Stage, StageSpace

FULL, BOTTLENECK, DEPTHWISE = "genet_xx", "genet_bl", "genet_dw"
SHORT = {FULL: "XX", BOTTLENECK: "BL", DEPTHWISE: "DW"}
_INNER = {FULL: 1.0, BOTTLENECK: 0.25, DEPTHWISE: 3.0}
EARLY_NEED, LATE_NEED = 1.0, 0.25  # of stages at up to an eighth of the resolution, and of later ones
WIDEST = 4  # times the stage's width; no kind is widened further


class StageFacts(NamedTuple):
    """A stage to choose a block for: its repeated unit, with stride 1.

    Attributes:
        side: of its square maps.
        channels: of its maps.
        need: rank that its convolutions need, as a share of the full rank, in 0..1.
        kernel: side of the window.
    """

    side: int
    channels: int
    need: float
    kernel: int = 3


@dataclass(frozen=True, slots=True)
class Option:
    """One kind of block at the width at which it has the rank that the stage needs.

    Attributes:
        kind: ``FULL``, ``BOTTLENECK`` or ``DEPTHWISE``.
        width: channels of its maps; more than the stage's where the kind alone has too little rank.
        capacity: its rank as a share of that of a full convolution of the same width.
        image_us: predicted microseconds of one image, the batch shared out.
        macs: of one image.
        teraflops: reached, two operations a multiply-add.
        bytes_per_mac: moved to and from memory, float32.
    """

    kind: str
    width: int
    capacity: float
    image_us: float
    macs: int
    teraflops: float
    bytes_per_mac: float

    def __str__(self) -> str:
        return (
            f"{SHORT[self.kind]} {self.width}: {self.image_us:.1f} us, {self.teraflops:.1f} TFLOP/s, "
            f"{self.bytes_per_mac:.2g} bytes/MAC, rank {self.capacity:.2f}"
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """The fastest option of a stage, and all of them as evidence.

    Attributes:
        stage: what was asked.
        options: fastest first.
    """

    stage: StageFacts
    options: tuple[Option, ...]

    @property
    def chosen(self) -> Option:
        """The fastest."""
        return self.options[0]

    def __str__(self) -> str:
        stage = self.stage
        evidence = "; ".join(map(str, self.options))
        return f"{stage.side}x{stage.side}, {stage.channels} channels, needs rank {stage.need:.2f}: {evidence}"


def capacity(kind: str, kernel: int) -> float:
    """Rank of a block as a share of that of a full convolution of its width.

    A bottleneck passes a quarter of the channels. A depthwise block sums three products (a column, one window and a
    row) a channel, where a full convolution has as many as its window has taps.
    """
    return {FULL: 1.0, BOTTLENECK: _INNER[BOTTLENECK], DEPTHWISE: min(1.0, _INNER[DEPTHWISE] / kernel**2)}[kind]


def default_need(side: int, resolution: int) -> float:
    """GENet's principle, for want of ranks of a trained network: full rank to an eighth of the resolution."""
    return EARLY_NEED if side * 8 >= resolution else LATE_NEED


def choose_blocks(stages: Sequence[StageFacts], model: KernelModel, batch: int = 1) -> tuple[Choice, ...]:
    """The block kind of every stage, by predicted latency at the rank that the stage needs.

    Args:
        stages: what to choose for.
        model: anything with ``predict_ms(kernels)``: a device table's model, a roofline.
        batch: images per call; at batch 1 a GPU is bound by launches, and fewer kernels win.
    """
    return tuple(_choice(stage, model, batch) for stage in stages)


def _choice(stage: StageFacts, model: KernelModel, batch: int) -> Choice:
    options = [_option(stage, kind, model, batch) for kind in SHORT]
    return Choice(stage, tuple(sorted((o for o in options if o is not None), key=lambda option: option.image_us)))


def _option(stage: StageFacts, kind: str, model: KernelModel, batch: int) -> Option | None:
    share = capacity(kind, stage.kernel)
    width = max(stage.channels, 8 * ceil(stage.channels * stage.need / share / 8 - 1e-9))
    if width > WIDEST * stage.channels:
        return None
    kernels = unit_kernels(kind, width, stage.side, stage.kernel, batch)
    latency_ms = float(np.sum(model.predict_ms(kernels)))
    macs = sum(kernel.macs for kernel in kernels)
    moved = FLOAT_BYTES * sum(kernel.traffic for kernel in kernels)
    return Option(kind, width, share, 1e3 * latency_ms / batch, macs // batch, 2e-9 * macs / latency_ms, moved / macs)


@lru_cache(maxsize=10_000)
def unit_kernels(kind: str, width: int, side: int, kernel: int, batch: int) -> tuple[Kernel, ...]:
    """The kernels of one residual unit with stride 1."""
    return kernels_of(expand_block(_unit(kind, width, kernel), (width, side, side)), batch)


def _unit(kind: str, width: int, kernel: int) -> Block:
    return Block(kind, width, kernel, inner=round8(width * _INNER[kind]))


def stages_of(space: StageSpace, input_shape: Shape, needs: Sequence[float] = ()) -> tuple[tuple[int, StageFacts], ...]:
    """The stages of a space that may choose between kinds, with their positions.

    Args:
        space: of GENet blocks; widths and windows in the middle of their choices stand for all.
        input_shape: (channels, height, width) of one image.
        needs: rank of each such stage, 0..1; by default GENet's principle.
    """
    found: list[tuple[int, StageFacts]] = []
    shape = input_shape
    for at, stage in enumerate(space.stages):
        channels, kernel = _middle(stage.channels), _middle(stage.kernels)
        shape = block_output(stage.variants[0].block(channels, kernel, stage.stride, 1), shape)
        if _chooses(stage):
            given = needs[len(found)] if len(found) < len(needs) else default_need(shape[1], input_shape[1])
            found.append((at, StageFacts(shape[1], channels, given, kernel)))
    return tuple(found)


def restricted(space: StageSpace, choices: Sequence[tuple[int, Choice]]) -> StageSpace:
    """The space with one kind a stage: what a search on this device need not look at is left out.

    Args:
        space: of GENet blocks.
        choices: position of each stage that chooses, and what was chosen.
    """
    stages = list(space.stages)
    for at, choice in choices:
        kept = tuple(variant for variant in stages[at].variants if variant.kind == choice.chosen.kind)
        stages[at] = replace(stages[at], variants=kept or stages[at].variants)
    return StageSpace(f"{space.name}-ruled", tuple(stages))


def _chooses(stage: Stage) -> bool:
    return len({variant.kind for variant in stage.variants} & set(SHORT)) > 1


def _middle(choices: tuple[int, ...]) -> int:
    return choices[(len(choices) - 1) // 2]
