"""MAE-DET entropy as its authors first measured it: noise images through a linear network of noise weights.

Every map is divided by its standard deviation over all its elements, and the logarithms of these are summed; the
rest is as in the closed form (``entropy``). Dividing a map and dividing the next convolution's weights is the same,
so no map is touched twice.

Source: Sun et al. 2022, MAE-DET, arXiv 2111.13336; settings of the first release of the authors' code.
Deviations: a standard error over repeats instead of a population deviation; sigma of images and weights is 1, as
the authors ship it (others only add constants).
Checked against: tests/golden/entropy_forward.json.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean, stdev

import torch
from torch import Tensor
from torch.nn import functional as F

from predictors.proxies.entropy import SINGLE_SCALE, Stage, chain_convolutions, stages_of_layers, weighted
from predictors.proxies.failure import ProxyFailed
from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.layers import Layer, Shape, main_path


@dataclass(frozen=True, slots=True)
class NoiseSampling:
    """How a measured entropy is taken; the defaults are the authors'.

    Attributes:
        batch: images, >= 1.
        repeat: draws of weights and images, >= 1.
        device: where to compute; the generator must live there.
        dtype: of weights and maps.
    """

    batch: int = 32
    repeat: int = 4
    device: str = "cpu"
    dtype: torch.dtype = torch.float32


DEFAULT = NoiseSampling()


@dataclass(frozen=True, slots=True)
class EntropyEstimate:
    """A measured entropy in nats; higher means more expressive.

    Attributes:
        mean: over the repeats.
        standard_error: of the mean; None for one repeat, which has no spread.
        values: one a repeat.
    """

    mean: float
    standard_error: float | None
    values: tuple[float, ...]


def mad_score_measured(
    arch: Architecture,
    input_shape: Shape,
    sampling: NoiseSampling = DEFAULT,
    *,
    weights: Sequence[float] = SINGLE_SCALE,
    generator: torch.Generator,
) -> EntropyEstimate:
    """Measure the weighted entropy of an architecture with noise.

    Args:
        arch: the design.
        input_shape: (channels, height, width) of one image.
        sampling: batch, repeats, device.
        weights: of the last stages, the deepest last.
        generator: the only source of randomness.
    Returns: nats; higher means more expressive.
    Raises: ProxyFailed: a setting out of range; not a chain of convolutions; a dead or overflowing map, named.
    """
    return mad_score_measured_of_layers(expand(arch, input_shape), sampling, weights=weights, generator=generator)


@torch.inference_mode()
def mad_score_measured_of_layers(
    layers: Sequence[Layer],
    sampling: NoiseSampling = DEFAULT,
    *,
    weights: Sequence[float] = SINGLE_SCALE,
    generator: torch.Generator,
) -> EntropyEstimate:
    """Measure the same for a network given as layers; settings, result and errors as above."""
    if sampling.batch < 1 or sampling.repeat < 1:
        raise ProxyFailed(f"entropy: batch={sampling.batch}, repeat={sampling.repeat}; expected at least 1 each")
    found = stages_of_layers(layers)
    weighted([0.0] * len(found), weights, "MAD")
    convs = chain_convolutions(main_path(layers))
    values = []
    for _ in range(sampling.repeat):
        summed = list(accumulate(_log_stds(convs, sampling, generator), initial=0.0))
        values.append(weighted([_entropy(stage, summed) for stage in found], weights, "MAD"))
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return EntropyEstimate(fmean(values), error, tuple(values))


def _entropy(stage: Stage, summed: Sequence[float]) -> float:
    return math.log(stage.shape[0]) + summed[stage.convs]


def _log_stds(convs: Sequence[Layer], sampling: NoiseSampling, generator: torch.Generator) -> list[float]:
    """Pass noise through the chain once: ln of the standard deviation of every map, its input brought to 1."""
    x = _noise((sampling.batch, *convs[0].in_shape), sampling, generator)
    scale, log_stds = 1.0, []
    for conv in convs:
        shape = (conv.channels, conv.in_channels // conv.groups, conv.kernel, conv.kernel)
        weight = _noise(shape, sampling, generator).mul_(scale)
        x = F.conv2d(x, weight, None, conv.stride, conv.padding, 1, conv.groups)
        std = x.std().item() if x.numel() > 1 else 0.0
        if not 0 < std < math.inf:
            raise ProxyFailed(
                f"{conv.name}: standard deviation {std} of {x.numel()} elements, expected positive and finite"
            )
        scale = 1 / std
        log_stds.append(math.log(std))
    return log_stds


def _noise(shape: tuple[int, ...], sampling: NoiseSampling, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=sampling.dtype, device=sampling.device)
