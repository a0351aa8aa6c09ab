"""DeepMAD: entropy with map size, an effectiveness rho that bounds depth by width, and a penalty for uneven depth.

With d_s convolutions up to the end of stage s, S_s their sum of ln sqrt(in_channels k^2 / groups), and the
map (C_s, r_s, r_s) there:

    H_s = ln(r_s^2 C_s) S_s,  score = sum of weight_s H_s - beta exp(standard deviation of the block depths)
    rho = max over stages of d_s / w_s,  w_s = exp(2 S_s / d_s)

w_s is the geometric mean of the fan-ins, the average width. Too deep for its width (a large rho), a network
propagates noise and is hard to train: a search maximises the score under rho <= 0.3 (``RHO_FULL``) or 0.5
(``RHO_DEPTHWISE``). The closed form covers what that of MAE-DET does: shortcuts and gates are left out.

Source: Shen et al. 2023, DeepMAD, arXiv 2303.02165; formulas and settings are those of the authors' released code.
Deviations: r_s^2 is the true height times width. The code takes r_s = 1 behind any squeeze-and-excite gate, because
its gate reports the size of its own pooled map: ``compat=True``. rho is taken where the code has none (K1KX, KXKX).
Checked against: tests/golden/entropy_scores.json.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from predictors.proxies.entropy import Stage, block_terms, stages, stages_of_layers, weighted
from predictors.proxies.failure import ProxyFailed
from search_spaces.arch import Architecture
from search_spaces.expand import block_inputs
from search_spaces.layers import Layer, Shape

RHO_FULL = 0.3
"""The authors' bound on rho for bottlenecks of full convolutions."""
RHO_DEPTHWISE = 0.5
"""The authors' bound on rho for depthwise blocks."""
LAST_WEIGHT = 8.0
PENALTY = 10.0
_UNCOUNTED_FULL_BLOCKS = 2


def deepmad_score(
    arch: Architecture,
    input_shape: Shape,
    *,
    weights: Sequence[float] | None = None,
    penalty: float = PENALTY,
    compat: bool = False,
) -> float:
    """Compute the DeepMAD entropy of an architecture less its depth penalty.

    Args:
        arch: the design.
        input_shape: (channels, height, width) of one image.
        weights: of the last stages, the deepest last; None takes 1 for every stage and 8 for the last,
            the authors' (1, 1, 1, 1, 8) for five.
        penalty: beta, the weight of ``depth_unevenness``; 0 leaves it out.
        compat: the authors' map side of 1 behind a gate.
    Returns: squared nats; higher means more expressive. Read it beside ``effectiveness``.
    Raises: ProxyFailed: fewer stages than weights; not a chain of convolutions; a setting out of range.
    """
    if not 0 <= penalty < math.inf:
        raise ProxyFailed(f"DeepMAD: penalty={penalty}, expected a finite number of at least 0")
    entropy = deepmad_entropy(arch, input_shape, weights=weights, compat=compat)
    return entropy - penalty * depth_unevenness(super_block_depths(arch, input_shape)) if penalty else entropy


def deepmad_entropy(
    arch: Architecture, input_shape: Shape, *, weights: Sequence[float] | None = None, compat: bool = False
) -> float:
    """Compute the same without the penalty; settings, result and errors as in ``deepmad_score``."""
    return _weighted_entropy(stages(arch, input_shape), weights, compat)


def deepmad_entropy_of_layers(
    layers: Sequence[Layer], *, weights: Sequence[float] | None = None, compat: bool = False
) -> float:
    """Compute the same for a network given as layers, which have no block depths to penalise."""
    return _weighted_entropy(stages_of_layers(layers), weights, compat)


def _weighted_entropy(found: Sequence[Stage], weights: Sequence[float] | None, compat: bool) -> float:
    if weights is None:
        weights = (*(1.0,) * (len(found) - 1), LAST_WEIGHT)
    return weighted([_entropy(stage, compat) for stage in found], weights, "DeepMAD")


def _entropy(stage: Stage, compat: bool) -> float:
    channels, height, width = stage.shape
    area = 1 if compat and stage.gated else height * width
    return (math.log(channels) + math.log(area)) * stage.log_std


def effectiveness(arch: Architecture, input_shape: Shape) -> float:
    """Compute rho, the largest ratio of depth to average width over the stages of an architecture.

    Args:
        arch: the design.
        input_shape: (channels, height, width) of one image.
    Returns: convolutions a unit of width, > 0; lower means that information passes more easily.
    Raises: ProxyFailed: not a chain of convolutions.
    """
    return max(map(_depth_over_width, stages(arch, input_shape)))


def effectiveness_of_layers(layers: Sequence[Layer]) -> float:
    """Compute rho of a network given as layers; result and errors as in ``effectiveness``."""
    return max(map(_depth_over_width, stages_of_layers(layers)))


def _depth_over_width(stage: Stage) -> float:
    return stage.convs * math.exp(-2 * stage.log_std / stage.convs) if stage.convs else 0.0


def super_block_depths(arch: Architecture, input_shape: Shape) -> tuple[int, ...]:
    """Depths that ought to be even: of the blocks with an inner width, without the first two if those are full.

    The authors' search keeps the first full blocks short for their cost, so that they do not count. Stems and
    heads have no inner width.

    Args:
        arch: the design.
        input_shape: (channels, height, width) of one image.
    Returns: sub-layers of each block, >= 1.
    """
    depthwise = (block_terms(block, shape).depthwise for block, shape in block_inputs(arch, input_shape) if block.inner)
    uncounted = 0 if next(depthwise, True) else _UNCOUNTED_FULL_BLOCKS
    return tuple([block.depth for block in arch.blocks if block.inner][uncounted:])


def depth_unevenness(depths: Sequence[int]) -> float:
    """Exponential of the population standard deviation of block depths: 1 for equal depths or none.

    Raises: ProxyFailed: the deviation is so large that its exponential is no finite number.
    """
    if not depths:
        return 1.0
    mean = sum(depths) / len(depths)
    spread = math.sqrt(sum((depth - mean) ** 2 for depth in depths) / len(depths))
    try:
        return math.exp(spread)
    except OverflowError:
        raise ProxyFailed(
            f"DeepMAD: block depths {tuple(depths)}, standard deviation {spread:g}; "
            "expected at most 700; even them out or give penalty=0"
        ) from None
