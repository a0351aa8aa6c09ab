"""Zen-Score as its authors measure it: random weights, random images, forward passes.

Once the closed form says that the network has forgotten which image x + gamma e was made from, the distance
between its output and that of x is the distance between two images, and one pass does. Networks that are no chain
of convolution, norm and ReLU run layer by layer (``zen_any_forward``), always with both passes.

Source: Lin et al. 2021, Zen-NAS, arXiv 2102.01063, algorithm 1.
Deviations: the L1 norm of the authors' code, not the Frobenius norm of the paper. Batch variances are
averaged over both passes; the authors' moving average gives the second 10 parts in 19 (less than 0.001 nats).
Checked against: tests/golden/zen_scores.json.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch
from torch import Tensor

from predictors.proxies.failure import ProxyFailed
from predictors.proxies.zen import GAMMA, perturbation_left, plain_convolutions, update_fractions
from predictors.proxies.zen_any_forward import forward_any, scored_layers
from predictors.proxies.zen_forward import draw_weights, forward
from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.layers import NORM, RELU, Layer, Shape, main_path

FORGOTTEN = 1e-3  # nats of ln Delta
DEAD = 1e-6  # batch variance; N(0, 1) weights give a living map some 0.3 a tap


@dataclass(frozen=True, slots=True)
class ZenSampling:
    """How a Monte-Carlo score is taken.

    Attributes:
        batch: images; 6 are as precise as 16, because the weights make nearly all of the spread.
        repeat: draws of weights and images.
        gamma: standard deviation of the perturbation of the image, > 0.
        momentum: of the running variances, in (0, 1]; 1 reads the batch variance itself.
        always_perturb: pass x + gamma e through the network even where it ends like any other image.
        device: where to compute; the generator must live there.
        dtype: of weights and maps.
    """

    batch: int = 6
    repeat: int = 1
    gamma: float = GAMMA
    momentum: float = 1.0
    always_perturb: bool = False
    device: str = "cpu"
    dtype: torch.dtype = torch.float32


DEFAULT = ZenSampling()
COMPAT = ZenSampling(batch=16, momentum=0.1, always_perturb=True)
"""What the authors' code does with its default batch and one repeat."""


@dataclass(frozen=True, slots=True)
class ZenEstimate:
    """A Monte-Carlo score in nats; higher means more expressive.

    Attributes:
        mean: over the repeats.
        standard_error: of the mean; None for one repeat, which has no spread. With momentum < 1 the values
            drift upwards, as the running variances are never reset, and this says nothing about precision.
        values: one a repeat.
    """

    mean: float
    standard_error: float | None
    values: tuple[float, ...]


def zen_score_monte_carlo(
    arch: Architecture, input_shape: Shape, sampling: ZenSampling = DEFAULT, *, generator: torch.Generator
) -> ZenEstimate:
    """Measure the Zen-Score of an architecture with random weights.

    Args:
        arch: the design.
        input_shape: (channels, height, width) of one image.
        sampling: batch, repeats, perturbation, momentum, device.
        generator: the only source of randomness.
    Returns: nats; higher means more expressive.
    Raises: ProxyFailed: a setting out of range; no batch norm, or a transformer; a dead or overflowing map.
    """
    return zen_score_monte_carlo_of_layers(expand(arch, input_shape), sampling, generator=generator)


@torch.inference_mode()
def zen_score_monte_carlo_of_layers(
    layers: Sequence[Layer], sampling: ZenSampling = DEFAULT, *, generator: torch.Generator
) -> ZenEstimate:
    """Measure the same for a network given as layers; settings, result and errors as above."""
    if sampling.batch < 1:
        raise ProxyFailed(f"Zen-Score: batch={sampling.batch}, expected at least 1")
    share = update_fractions(sampling.gamma, sampling.momentum, sampling.repeat)[0]
    scored = _scored(layers)
    norms = [layer for layer in scored if layer.op == NORM] or scored
    running = torch.ones(len(norms), dtype=sampling.dtype, device=sampling.device)
    values = []
    for _ in range(sampling.repeat):
        if norms is scored:
            distance, variances = _draw(scored, sampling, _passes(layers, sampling), generator)
        else:
            distance, variances = _draw_any(scored, sampling, generator)
        running = running.lerp(variances, share)
        _check_alive(norms, variances, distance)
        values.append((distance.log() + 0.5 * running.log().sum()).item())
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return ZenEstimate(fmean(values), error, tuple(values))


def _scored(layers: Sequence[Layer]) -> Sequence[Layer]:
    """The convolutions alone of a chain of conv, norm, ReLU, which has a faster forward; else layers with norms."""
    try:
        found = plain_convolutions(main_path(layers))
    except ProxyFailed:
        found = []
    if found and all(activation == RELU for _, activation in found):
        return [conv for conv, _ in found]
    return scored_layers(layers)


def _passes(layers: Sequence[Layer], sampling: ZenSampling) -> int:
    """One pass where x + gamma e ends like any other image, unless two are asked for."""
    needless = sampling.batch > 1 and perturbation_left(layers, sampling.gamma) < FORGOTTEN
    return 1 if needless and not sampling.always_perturb else 2


def _draw_any(layers: Sequence[Layer], sampling: ZenSampling, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The same as ``_draw`` for layers that are no chain of conv, norm, ReLU; always two passes."""
    shape = (sampling.batch, *layers[0].in_shape)
    images = torch.randn((2, *shape), generator=generator, dtype=sampling.dtype, device=sampling.device)
    images[1].mul_(sampling.gamma).add_(images[0])
    outputs, variances = forward_any(layers, list(images), generator)
    return (outputs[0] - outputs[1]).abs().sum() / sampling.batch, variances


def _check_alive(layers: Sequence[Layer], variances: Tensor, distance: Tensor) -> None:
    for layer, variance in zip(layers, variances.tolist(), strict=True):
        if not DEAD < variance < math.inf:
            raise ProxyFailed(f"{layer.name}: batch variance {variance}, expected positive and finite")
    if not 0 < distance.item() < math.inf:
        raise ProxyFailed(f"{layers[-1].name}: output distance {distance.item()}, expected positive and finite")


def _draw(
    convs: Sequence[Layer], sampling: ZenSampling, passes: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One draw of weights and images: (L1 distance of both outputs, mean batch variance of each norm)."""
    weights = draw_weights(convs, generator, sampling.dtype, sampling.device)
    channels, height, width = convs[0].in_shape
    shape = (passes, sampling.batch * height * width, channels)
    images = torch.randn(shape, generator=generator, dtype=sampling.dtype, device=sampling.device)
    if passes == 2:
        images[1].mul_(sampling.gamma).add_(images[0])
    outputs, variances = forward(convs, weights, images)
    x = outputs[0].view(sampling.batch, -1)
    other = outputs[1].view(sampling.batch, -1) if passes == 2 else x.roll(1, 0)
    return (x - other).abs_().sum() / sampling.batch, variances
