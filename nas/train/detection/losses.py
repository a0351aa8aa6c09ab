"""The three losses of an anchor-free detector."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.train.detection.boxes import generalised_iou
from nas.train.detection.network import Predictions
from nas.train.detection.targets import Places, Targets

ALPHA, GAMMA = 0.25, 2.0  # Lin et al.'s


class Losses(NamedTuple):
    """Scalars; lower is better. Their sum is minimised."""

    classes: Tensor
    boxes: Tensor
    centre: Tensor


def focal_loss(logits: Tensor, targets: Tensor, *, alpha: float = ALPHA, gamma: float = GAMMA) -> Tensor:
    """-alpha_t (1 - p_t)**gamma log(p_t), elementwise, for targets of 0 and 1.

    Source: Lin et al. 2017, arXiv 1708.02002, equation 5. Deviations: none.
    """
    p = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p_t = p * targets + (1 - p) * (1 - targets)
    alpha_t = alpha * targets + (1 - alpha) * (1 - targets)
    return alpha_t * (1 - p_t) ** gamma * cross_entropy


def detection_losses(predictions: Predictions, targets: Targets, where: Places) -> Losses:
    """Losses of a batch.

    Focal loss of all places over the number of those that answer for a box; 1 - GIoU of these, weighted by their
    centre-ness; cross-entropy of their centre-ness.
    Source: Tian et al. 2019, arXiv 1904.01355, equation 2, and its released code (GIoU, weighting). Deviations: none.
    """
    positive = targets.labels >= 0
    count = positive.sum().clamp(min=1)
    one_hot = F.one_hot(targets.labels + 1, predictions.class_logits.shape[-1] + 1)[..., 1:]
    classes = focal_loss(predictions.class_logits, one_hot.to(predictions.class_logits.dtype)).sum() / count
    weight = targets.centreness[positive]
    points = where.points.expand(len(positive), -1, -1)[positive]
    overlap = generalised_iou(
        box_around(points, predictions.distances[positive]), box_around(points, targets.distances[positive])
    )
    boxes = ((1 - overlap) * weight).sum() / weight.sum().clamp(min=1e-6)
    centre = F.binary_cross_entropy_with_logits(predictions.centre_logits[positive], weight, reduction="sum") / count
    return Losses(classes, boxes, centre)


def box_around(points: Tensor, distances: Tensor) -> Tensor:
    """Places (..., 2) and distances (..., 4) -> boxes (..., 4)."""
    return torch.cat((points - distances[..., :2], points + distances[..., 2:]), -1)
