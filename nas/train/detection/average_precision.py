"""Average precision as the COCO challenge measures it, by its own code."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.train.detection.dataset import DetectionSplit
from nas.train.detection.predict import Detections


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """COCO's figures, 0..1, higher is better; means over the classes that have a box in these images.

    Attributes:
        ap: mean over IoU thresholds 0.50, 0.55 ... 0.95.
        ap50, ap75: at IoU 0.50 and 0.75.
        images, boxes: that were looked for; boxes without those of crowds.
    """

    ap: float
    ap50: float
    ap75: float
    images: int
    boxes: int


def average_precision(split: DetectionSplit, found: Sequence[Detections]) -> AveragePrecision:
    """Compare detections with the boxes of a split, in pixels of the network's input.

    Args:
        split: images with their boxes; a box of a crowd counts neither for nor against.
        found: one entry per image, at most 100 boxes each.
    Source: pycocotools' COCOeval, "bbox". Deviations: 0, not -1, when there is no box at all.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, results = COCO(), _results(found)
    truth.dataset = _ground_truth(split)
    boxes = sum(not row["iscrowd"] for row in truth.dataset["annotations"])
    if not results or not boxes:
        return AveragePrecision(0.0, 0.0, 0.0, len(split), boxes)
    with redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ap, ap50, ap75 = (float(value) for value in evaluation.stats[:3])
    return AveragePrecision(ap, ap50, ap75, len(split), boxes)


def _ground_truth(split: DetectionSplit) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for image, at in np.argwhere(split.labels >= 0):
        x1, y1, x2, y2 = (float(v) for v in split.boxes[image, at])
        rows.append(
            {
                "id": len(rows) + 1,
                "image_id": int(image),
                "category_id": int(split.labels[image, at]),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": int(split.crowd[image, at]),
            }
        )
    classes = sorted({row["category_id"] for row in rows})
    return {
        "info": {},
        "images": [{"id": i} for i in range(len(split))],
        "annotations": rows,
        "categories": [{"id": label} for label in classes],
    }


def _results(found: Sequence[Detections]) -> list[dict[str, Any]]:
    rows = []
    for image, (boxes, scores, labels) in enumerate(found):
        for (x1, y1, x2, y2), score, label in zip(boxes.tolist(), scores.tolist(), labels.tolist(), strict=True):
            rows.append({"image_id": image, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score})
    return rows
