"""Which checkpoint of a training is the best teacher: the one whose features say most of image and label together.

A network forgets what its features said of the image while it learns what they say of the label; between the two lies
the teacher: argmax_t I(X; F_t) + I(Y; F_t), F_t the features that checkpoint t classifies by.
Source: Wang et al. 2022, "Efficient Knowledge Distillation from Model Checkpoints" (NeurIPS 2022, arXiv 2210.06458).
Deviations: I(Y; F) is H(Y) less the loss of a logistic probe, I(X; F) is (d / 2) log(variance / error) of a ridge
regression from the features to the image at low resolution, both on held-out images; as their scales differ, each is
brought to mean 0 and deviation 1 over the checkpoints before they are added.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

from nas.train.checkpoint_teachers import features_of
from nas.train.distill import InvalidDistillation
from nas.train.evaluate import Normaliser, to_tensors
from nas.train.images import Dataset

_BATCH = 256
_SIDE = 7  # of the image that features are asked for


@dataclass(frozen=True, slots=True)
class TeacherScore:
    """What the features of one checkpoint say.

    Attributes:
        about_image: estimate of I(X; F), nats, up to a constant.
        about_label: estimate of I(Y; F), nats.
        total: sum of both, each with mean 0 and deviation 1 over the checkpoints.
    """

    about_image: float
    about_label: float
    total: float


def choose_teacher(
    checkpoints: Sequence[nn.Module], dataset: Dataset, *, images: int = 4000, seed: int = 0
) -> tuple[int, list[TeacherScore]]:
    """The position of the checkpoint to learn from, and what speaks for each.

    Args:
        checkpoints: of one training, at least two; used in evaluation mode, without gradients.
        dataset: its training images are split for the probes; validation and test images are not read.
        images: how many of them, drawn with the seed.
        seed: of the draw.
    Raises: InvalidDistillation.
    """
    if len(checkpoints) < 2:
        raise InvalidDistillation(f"teacher: {len(checkpoints)} checkpoint(s), expected at least two to choose from")
    pixels, labels = to_tensors(dataset.train)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:images]
    inputs, wanted = Normaliser(dataset)(pixels[order]), labels[order].numpy()
    small = F.adaptive_avg_pool2d(inputs, min(_SIDE, *dataset.input_shape[1:])).flatten(1).numpy()
    raw = [_information(_features(network, inputs), small, wanted) for network in checkpoints]
    totals = sum(_standard(np.array(column)) for column in zip(*raw, strict=True))
    scores = [TeacherScore(x, y, float(total)) for (x, y), total in zip(raw, np.atleast_1d(totals), strict=True)]
    return int(np.argmax(totals)), scores


def _features(network: nn.Module, inputs: Tensor) -> NDArray[np.float64]:
    training, device = network.training, next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        parts = [
            features_of(network, inputs[start : start + _BATCH].to(device))[1].cpu()
            for start in range(0, len(inputs), _BATCH)
        ]
    network.train(training)
    return torch.cat(parts).double().numpy()


def _information(
    features: NDArray[np.float64], small: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[float, float]:
    """Estimates of I(X; F) and I(Y; F), nats: probes learn on one half of the images and are judged on the other."""
    half = len(labels) // 2
    scaled = StandardScaler().fit(features[:half]).transform(features)
    decoder = Ridge(alpha=1.0).fit(scaled[:half], small[:half])
    error = float(np.square(decoder.predict(scaled[half:]) - small[half:]).mean())
    variance = float(np.square(small[half:] - small[:half].mean(0)).mean())
    about_image = small.shape[1] / 2 * math.log(max(variance, 1e-12) / max(error, 1e-12))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = LogisticRegression(max_iter=200).fit(scaled[:half], labels[:half])
    known = np.searchsorted(probe.classes_, labels[half:]).clip(0, len(probe.classes_) - 1)
    chances = probe.predict_proba(scaled[half:])[np.arange(len(known)), known]
    chances = np.where(probe.classes_[known] == labels[half:], chances, 0)
    loss = float(-np.log(chances.clip(1e-12)).mean())
    shares = np.bincount(labels[half:]) / len(labels[half:])
    entropy = float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())
    return about_image, entropy - loss


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation = float(values.std())
    result: NDArray[np.float64] = (values - values.mean()) / deviation if deviation > 0 else np.zeros_like(values)
    return result
