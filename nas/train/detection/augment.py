"""Random changes of images together with their boxes; vectorised, reproducible from a generator."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

AUGMENTATIONS = ("flip_scale", "flip", "none")
ZOOM = (0.6, 1.4)  # smallest and largest factor
_LEAST_SHARE = 0.25  # of its area that a box must keep inside the image
_LEAST_SIDE = 1.0  # pixels


def augment(
    name: str, images: Tensor, boxes: Tensor, labels: Tensor, generator: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Apply one of ``AUGMENTATIONS`` to a batch.

    Args:
        name: "flip" mirrors half of the images; "flip_scale" also zooms by 0.6 to 1.4 and shifts.
        images: (N, C, H, W) normalised float; zeros, hence the mean colour, come in from outside.
        boxes: (N, M, 4).
        labels: (N, M), -1 where there is none.
        generator: of all choices.
    Returns: the same shapes; boxes that are mostly outside now have label -1.
    """
    if name == "none":
        return images, boxes, labels
    images, boxes = flip(images, boxes, torch.rand(len(images), generator=generator) < 0.5)
    if name == "flip":
        return images, boxes, labels
    factor = torch.empty(len(images)).uniform_(*ZOOM, generator=generator)
    shift = torch.rand(len(images), 2, generator=generator)
    return zoom(images, boxes, labels, factor, shift)


def flip(images: Tensor, boxes: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror the images of a mask (N,), and their boxes, left to right."""
    mirrored = mirrored.to(images.device)
    width = images.shape[3]
    turned = torch.stack((width - boxes[..., 2], boxes[..., 1], width - boxes[..., 0], boxes[..., 3]), -1)
    return (
        torch.where(mirrored[:, None, None, None], images.flip(3), images),
        torch.where(mirrored[:, None, None], turned, boxes),
    )


def zoom(images: Tensor, boxes: Tensor, labels: Tensor, factor: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Enlarge (or shrink) image i by factor[i] and place it by shift[i].

    Args:
        images: (N, C, H, W).
        boxes: (N, M, 4).
        labels: (N, M).
        factor: (N,) more than 0.
        shift: (N, 2) 0..1 for x and y: which part of the enlarged image is seen, or where the shrunken one lies.
    """
    height, width = images.shape[2:]
    size = torch.tensor([width, height], dtype=torch.float32, device=images.device)
    factor, shift = factor.to(images.device)[:, None], shift.to(images.device)
    offset = shift * size * (1 - factor)  # pixels; new = old * factor + offset
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / factor[:, 0]
    theta[:, :, 2] = ((size - 2 * offset) / factor - size) / size  # in the coordinates of affine_grid, -1..1
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = boxes * factor[..., None] + offset.repeat(1, 2)[:, None]
    clipped = torch.minimum(moved.clamp(min=0), size.repeat(2))
    sides, whole = (clipped[..., 2:] - clipped[..., :2]), (moved[..., 2:] - moved[..., :2])
    seen = (sides.prod(-1) >= _LEAST_SHARE * whole.prod(-1)) & (sides.amin(-1) >= _LEAST_SIDE)
    zoomed = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return zoomed, clipped, torch.where(seen, labels, -1)
