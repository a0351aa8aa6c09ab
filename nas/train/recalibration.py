"""Running statistics of norms, estimated anew for one network on training images.

A supernet's stored statistics mix those of all its networks, so every network that is taken from it needs its own.
Source: Yu and Huang 2019, "Universally Slimmable Networks" (arXiv 1903.05134), post-statistics of batch normalisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from search_spaces.arch import Architecture
from search_spaces.execute import execute
from search_spaces.layers import NORM, Layer
from search_spaces.sharing import STATISTICS
from search_spaces.supernet import Supernet


class NoCalibrationImages(ValueError):
    """No images, or batches too small to say what a mean and a variance are."""


def recalibrate_(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set every batch norm's running mean and variance to the mean over batches of training images, in place.

    Args:
        model: on the device of the images; its mode is kept.
        batches: normalised images (N, C, H, W), N at least 2; no augmentation, as in use.
    Raises: NoCalibrationImages.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta, training, seen = [norm.momentum for norm in norms], model.training, 0
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a mean over all batches
        norm.train()
    try:
        with torch.no_grad():
            for images in batches:
                _check(images)
                model(images)
                seen += 1
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(training)
    if not seen:
        raise NoCalibrationImages("recalibration: no batch of images, expected at least one")


def recalibrated(supernet: Supernet, arch: Architecture, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Running means and variances of one architecture with the supernet's weights; the supernet is not changed.

    Args:
        supernet: on the device of the images.
        arch: a member of its space.
        batches: normalised images (N, C, H, W), N at least 2.
    Returns: by the names of the architecture's own state dict, for ``Supernet.activate`` and ``extract``.
    Raises: NoCalibrationImages, InvalidArchitecture.
    """
    kept = list(batches)
    for images in kept:
        _check(images)
    if not kept:
        raise NoCalibrationImages("recalibration: no batch of images, expected at least one")
    return own_statistics(supernet.plan(arch)[0], supernet.tensors(arch), kept)[1]


def own_statistics(
    layers: Sequence[Layer], tensors: Mapping[str, Tensor], batches: Sequence[Tensor]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Run layers on batches, each normalised by itself, without gradients.

    Args:
        layers: of a network, or of a part of one.
        tensors: of these layers; none is changed.
        batches: inputs (N, C, H, W).
    Returns: the output of each batch; and by name the means over batches of the norms' means and variances.
    """
    outputs, totals = [], dict[str, Tensor]()
    with torch.no_grad():
        for x in batches:
            fresh = {
                f"{layer.name}.{leaf}": torch.zeros(layer.channels, device=x.device)
                for layer in layers
                if layer.op == NORM
                for leaf in STATISTICS
            }
            outputs.append(execute(layers, {**tensors, **fresh}, x, norm="update", momentum=1.0))
            for name, value in fresh.items():
                totals[name] = totals[name] + value if name in totals else value
    return outputs, {name: value / len(batches) for name, value in totals.items()}


def _check(images: Tensor) -> None:
    if images.ndim != 4 or len(images) < 2:
        raise NoCalibrationImages(
            f"recalibration: images of shape {tuple(images.shape)}, expected (N, C, H, W), N >= 2"
        )
