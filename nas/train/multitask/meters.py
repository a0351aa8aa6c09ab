"""Scores of classification, semantic segmentation and detection, collected batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nas.train.detection.average_precision import average_precision
from nas.train.detection.dataset import DetectionSplit
from nas.train.detection.network import Predictions
from nas.train.detection.predict import Detections, decode, select
from nas.train.detection.targets import places
from nas.train.multitask.tasks import Targets

IGNORED = 255  # label of pixels that nobody labelled


class Top1:
    """Share of images whose largest logit is the label."""

    def __init__(self) -> None:
        self._correct = self._seen = 0

    def add(self, output: Tensor, targets: Targets) -> None:
        """Logits (N, classes) and labels (N,)."""
        self._correct += int((output.argmax(1) == targets[0]).sum())
        self._seen += len(output)

    def value(self) -> float:
        """0..1; 0 without images."""
        return self._correct / self._seen if self._seen else 0.0


class MeanIoU:
    """Intersection over union of the pixels of a class, mean over classes that occur in labels or predictions."""

    def __init__(self, classes: int) -> None:
        self._table = torch.zeros(classes, classes, dtype=torch.int64)  # label, prediction

    def add(self, output: Tensor, targets: Targets) -> None:
        """Logits (N, classes, H, W) and labels (N, H, W) with ``IGNORED`` where there is none."""
        labels = targets[0].long().cpu()
        known = labels != IGNORED
        count = len(self._table)
        pairs = labels[known] * count + output.argmax(1).cpu()[known]
        self._table += torch.bincount(pairs, minlength=count**2).reshape(count, count)

    def value(self) -> float:
        """0..1; 0 without a labelled pixel."""
        both = self._table.diagonal().double()
        union = self._table.sum(0) + self._table.sum(1) - self._table.diagonal()
        seen = union > 0
        return float((both[seen] / union[seen]).mean()) if bool(seen.any()) else 0.0


class AveragePrecision50:
    """COCO's average precision at IoU 0.5."""

    def __init__(self, image_shape: tuple[int, int], strides: Sequence[int]) -> None:
        self._shape, self._places = image_shape, places(image_shape, strides)
        self._found: list[Detections] = []
        self._truth: list[Targets] = []

    def add(self, output: Predictions, targets: Targets) -> None:
        """Raw outputs of the detector; boxes (N, M, 4), labels (N, M) and crowd (N, M)."""
        predictions = Predictions(*(part.float().cpu() for part in output))
        boxes, scores = decode(predictions, self._places, self._shape)
        self._found += [select(b, s) for b, s in zip(boxes, scores, strict=True)]
        self._truth.append(tuple(part.cpu() for part in targets))

    def value(self) -> float:
        """0..1; 0 without boxes."""
        boxes, labels, crowd = (np.concatenate([part[i].numpy() for part in self._truth]) for i in range(3))
        none = np.zeros((len(boxes), 3, *self._shape), dtype=np.uint8)
        return average_precision(DetectionSplit(none, boxes, labels, crowd), self._found).ap50
