"""The GENet space: a kind (XX, BL or DW), a width, a kernel and a depth for every stage.

Source: Lin, Chen, Sun, Li, Jin 2020, "Neural Architecture Design for GPU-Efficient Networks" (arXiv 2006.14090):
stem, five super-blocks, 1x1 head; bottleneck ratio 1/4 and depthwise expansion 3. Deviation: every stage may take
every kind (the authors fix XX XX BL DW DW, which is a member), so that the device decides.
"""

from __future__ import annotations

from search_spaces.space import Stage, StageSpace, Variant

KINDS = (Variant("genet_xx", 1.0), Variant("genet_bl", 0.25), Variant("genet_dw", 3.0))
CONV = (Variant("conv"),)


def _widths(low: int, high: int, step: int) -> tuple[int, ...]:
    return tuple(range(low, high + 1, step))


def genet_space(name: str, stem_stride: int, strides: tuple[int, ...], scale: int) -> StageSpace:
    """A GENet space.

    Args:
        name: of the space.
        stem_stride: 2 for large images, 1 for small ones.
        strides: of the super-blocks.
        scale: width unit in channels; stage i offers about 2..10 times ``scale * 2**i``.
    """
    stages = [Stage(CONV, _widths(8, 32, 8), stride=stem_stride)]
    for i, stride in enumerate(strides):
        unit = scale * 2 ** min(i, 3)
        stages.append(Stage(KINDS, _widths(2 * unit, 10 * unit, unit), (3, 5), stride, tuple(range(1, 8))))
    head = 16 * scale * 2 ** min(len(strides) - 1, 3)
    stages.append(Stage(CONV, tuple(head * i // 4 for i in range(1, 6)), (1,)))
    return StageSpace(name, tuple(stages))


GENET = genet_space("genet", 2, (2, 2, 2, 2, 1), 16)
GENET_SMALL = genet_space("genet-small", 1, (1, 2, 2, 1), 8)
GENET_TINY = genet_space("genet-tiny", 1, (1, 2, 2), 8)
