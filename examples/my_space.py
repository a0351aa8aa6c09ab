"""A search space of your own: ``netwright search --space examples.my_space:SPACE --data digits --params 200k``."""

from search_spaces.space import Stage, StageSpace, Variant

CONV = Variant("conv")
RESIDUAL = Variant("genet_xx", 1.0)  # two full convolutions
BOTTLENECK = Variant("genet_bl", 0.25)  # 1x1, 3x3, 1x1 at a quarter of the width
INVERTED = Variant("genet_dw", 3.0)  # 1x1 up, depthwise, 1x1 down

SPACE = StageSpace(
    "my-space",
    (
        Stage((CONV,), channels=(8, 16, 24)),
        Stage((RESIDUAL, BOTTLENECK, INVERTED), channels=(16, 24, 32), depths=(1, 2, 3)),
        Stage((RESIDUAL, BOTTLENECK, INVERTED), channels=(32, 48, 64), kernels=(3, 5), stride=2, depths=(1, 2, 3)),
    ),
)
