"""Which place of which level answers for which box."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

CENTRE_RADIUS = 1.5  # strides around a box's centre within which a place may answer for it
BACKGROUND = -1


class Places(NamedTuple):
    """The P places of an image, level by level and row by row.

    Attributes:
        points: (P, 2) x and y in pixels.
        strides: (P,) pixels.
        ranges: (P, 2) smallest and largest reach of a box, in pixels, that the place answers for.
    """

    points: Tensor
    strides: Tensor
    ranges: Tensor


class Targets(NamedTuple):
    """What the network should say.

    Attributes:
        labels: (N, P) class, or BACKGROUND.
        distances: (N, P, 4) pixels to the left, top, right and bottom side; of no meaning at the background.
        centreness: (N, P) 0..1; 0 at the background.
    """

    labels: Tensor
    distances: Tensor
    centreness: Tensor


def size_ranges(image_side: int, levels: int) -> tuple[tuple[float, float], ...]:
    """The reaches that each level answers for, finest first: the last takes what is beyond half of the image.

    The bounds are image_side / 2, / 4, / 8 ... downwards. For 1024 pixels and five levels they are FCOS's 64, 128,
    256, 512 (its images have 800 to 1333 pixels).
    """
    bounds = [0.0, *(image_side / 2 ** (levels - 1 - i) for i in range(levels - 1)), float("inf")]
    return tuple(pairwise(bounds))


def places(image_shape: tuple[int, int], strides: Sequence[int]) -> Places:
    """The middles of all cells for an image of (height, width) pixels."""
    height, width = image_shape
    points, steps, ranges = [], [], []
    for stride, bounds in zip(strides, size_ranges(max(height, width), len(strides)), strict=True):
        y = torch.arange(-(-height // stride), dtype=torch.float32) * stride + stride // 2
        x = torch.arange(-(-width // stride), dtype=torch.float32) * stride + stride // 2
        points.append(torch.cartesian_prod(y, x).flip(1))
        steps.append(torch.full((len(points[-1]),), float(stride)))
        ranges.append(torch.tensor(bounds).expand(len(points[-1]), 2))
    return Places(torch.cat(points), torch.cat(steps), torch.cat(ranges))


def assign(where: Places, boxes: Tensor, labels: Tensor) -> Targets:
    """Targets of N images.

    A place answers for a box when it lies in it, within ``CENTRE_RADIUS`` strides of its centre on both axes, and the
    farthest side is within the range of its level; of several boxes for the smallest, of equal ones for the first.

    Args:
        where: places of the images.
        boxes: (N, M, 4).
        labels: (N, M), negative where there is no box.
    Source: Tian et al. 2019, arXiv 1904.01355, sections 3.1 to 3.3, equations 1 and 3; centre sampling: its later
    version (2006.09214). Deviations: a box that no place answers for (smaller than the finest stride) is not learnt,
    as there.
    """
    points = where.points[None, :, None]  # (1, P, 1, 2)
    corners = boxes[:, None]  # (N, 1, M, 4)
    distances = torch.cat((points - corners[..., :2], corners[..., 2:] - points), -1)  # (N, P, M, 4)
    centre = (corners[..., :2] + corners[..., 2:]) / 2
    near = ((points - centre).abs() < CENTRE_RADIUS * where.strides[None, :, None, None]).all(-1)
    reach = distances.amax(-1)
    fits = (reach >= where.ranges[None, :, None, 0]) & (reach <= where.ranges[None, :, None, 1])
    answers = (distances.amin(-1) > 0) & near & fits & (labels >= 0)[:, None]
    sides = boxes[..., 2:] - boxes[..., :2]
    area = torch.where(answers, (sides[..., 0] * sides[..., 1])[:, None], torch.inf)
    if not boxes.shape[1]:
        empty = labels.new_full((len(labels), len(where.points)), BACKGROUND)
        return Targets(empty, torch.zeros(*empty.shape, 4), torch.zeros(empty.shape))
    least, chosen = area.min(-1)  # (N, P)
    found = least < torch.inf
    kept = distances.gather(2, chosen[..., None, None].expand(-1, -1, 1, 4))[:, :, 0]
    label = torch.where(found, labels.gather(1, chosen), BACKGROUND)
    return Targets(label, kept, torch.where(found, centreness(kept), 0.0))


def centreness(distances: Tensor) -> Tensor:
    """sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)): 1 in a box's middle, 0 on its sides; (..., 4) -> (...)."""
    least = torch.minimum(distances[..., :2], distances[..., 2:]).clamp(min=0)
    most = torch.maximum(distances[..., :2], distances[..., 2:]).clamp(min=1e-9)
    ratio = least / most
    return (ratio[..., 0] * ratio[..., 1]).sqrt()
