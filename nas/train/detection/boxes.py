"""Boxes as (x1, y1, x2, y2) in pixels: areas, overlaps, and the suppression of duplicates."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_TINY = 1e-9  # keeps 0 / 0 at 0


def box_area(boxes: Tensor) -> Tensor:
    """(..., 4) -> (...) square pixels; 0 for a box whose sides are turned round."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union, 0..1, of every box of (n, 4) with every box of (m, 4): (n, m)."""
    inner = torch.cat(
        (torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])), -1
    )
    both = box_area(inner)
    return both / (box_area(a)[:, None] + box_area(b)[None] - both).clamp(min=_TINY)


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less the empty share of the smallest box around both: (..., 4) twice -> (...), -1..1, 1 when equal.

    Source: Rezatofighi et al. 2019, arXiv 1902.09630, algorithm 1.
    """
    inner = torch.cat((torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])), -1)
    outer = torch.cat((torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])), -1)
    both, around = box_area(inner), box_area(outer)
    union = box_area(a) + box_area(b) - both
    return both / union.clamp(min=_TINY) - (around - union) / around.clamp(min=_TINY)


def suppress(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Greedy non-maximum suppression, each class by itself.

    Args:
        boxes: (n, 4).
        scores: (n,); of equal ones the earlier comes first, so the result depends on nothing else.
        labels: (n,) classes.
        threshold: a box goes when its IoU with a better kept one of its class is larger.
    Returns: positions of the kept boxes, best first.
    """
    order = torch.sort(scores, descending=True, stable=True).indices
    boxes, labels = boxes[order], labels[order]
    beats = ((pairwise_iou(boxes, boxes) > threshold) & (labels[:, None] == labels[None])).triu(1).cpu().numpy()
    kept, gone = [], np.zeros(len(order), dtype=np.bool_)
    for i in range(len(order)):
        if not gone[i]:
            kept.append(i)
            gone |= beats[i]
    return order[torch.tensor(kept, dtype=torch.long, device=order.device)]
