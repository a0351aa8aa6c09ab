"""Raw outputs -> boxes with scores and classes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nas.train.detection.boxes import suppress
from nas.train.detection.losses import box_around
from nas.train.detection.network import Detector, Predictions
from nas.train.detection.targets import Places, places

SCORE_THRESHOLD = 0.05
IOU_THRESHOLD = 0.6
CANDIDATES = 1000  # best (place, class) pairs of an image that suppression looks at
MAX_DETECTIONS = 100  # of an image


class Detections(NamedTuple):
    """What was found in one image, best first.

    Attributes:
        boxes: (n, 4) x1, y1, x2, y2 in pixels of the network's input.
        scores: (n,) 0..1.
        labels: (n,) classes.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def decode(predictions: Predictions, where: Places, image_shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes (N, P, 4) cut off at the image, and scores (N, P, classes).

    A score is the geometric mean of class probability and centre-ness (as the released code of FCOS; its paper takes
    their product, which ranks alike).
    """
    height, width = image_shape
    boxes = box_around(where.points, predictions.distances)
    boxes = torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))
    scores = (predictions.class_logits.sigmoid() * predictions.centre_logits.sigmoid()[..., None]).sqrt()
    return boxes, scores


def select(boxes: Tensor, scores: Tensor, *, threshold: float = SCORE_THRESHOLD) -> Detections:
    """The detections of one image: (P, 4) boxes and (P, classes) scores, thresholded and without duplicates."""
    flat = scores.flatten()
    order = torch.sort(flat, descending=True, stable=True).indices[:CANDIDATES]
    order = order[flat[order] > threshold]
    chosen, labels = boxes[order // scores.shape[1]], order % scores.shape[1]
    kept = suppress(chosen, flat[order], labels, IOU_THRESHOLD)[:MAX_DETECTIONS]
    return Detections(chosen[kept], flat[order][kept], labels[kept])


def detect(model: Detector, images: Tensor, *, threshold: float = SCORE_THRESHOLD) -> list[Detections]:
    """Detections of normalised images (N, C, H, W), on the CPU; the model's mode is put back."""
    training = model.training
    model.eval()
    shape = (images.shape[2], images.shape[3])
    with torch.inference_mode():
        predictions = Predictions(*(part.float().cpu() for part in model(images)))
        boxes, scores = decode(predictions, places(shape, model.strides), shape)
        found = [select(b, s, threshold=threshold) for b, s in zip(boxes, scores, strict=True)]
    model.train(training)
    return found
