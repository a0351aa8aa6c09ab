"""Random changes of training images that keep their label; vectorised, reproducible from a generator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from nas.train.recipe import AUGMENTATIONS, InvalidRecipe

SMALL_SIDE = 16  # images up to this side are shifted by one pixel
Augment = Callable[[Tensor, Generator], Tensor]  # (N, C, H, W) any type -> same shape and type


def choose_augment(
    name: str, input_shape: tuple[int, int, int], *, attention: bool = False, strength: float = 1.0
) -> Augment:
    """The augmentation of a recipe.

    Args:
        name: one of ``AUGMENTATIONS``; "auto" takes shifts for grey images (digits, symbols: a mirrored
            one may be another class) and flips with shifted crops for colour photographs. Nothing for transformers
            on grey images of up to 16 pixels: a shift by one pixel changes what every small patch holds.
        input_shape: (channels, height, width).
        attention: whether the network is a transformer.
        strength: factor on the pixels of a shift and the side of the hole, 0 to 4.
    Raises: InvalidRecipe: unknown name.
    """
    if name == "auto":
        name = fitting_augment(input_shape, attention=attention)
    pixels = round(strength * shift_pixels(input_shape, strong=name != "shift"))
    hole = round(strength * (min(input_shape[1:]) // 2))
    table: dict[str, Augment] = {
        "none": lambda images, generator: images,
        "shift": lambda images, generator: shift(images, pixels, generator),
        "flip_crop": lambda images, generator: shift(flip(images, generator), pixels, generator),
        "flip_crop_cutout": lambda images, generator: cutout(
            shift(flip(images, generator), pixels, generator), hole, generator
        ),
    }
    if name not in table:
        raise InvalidRecipe(f"augment={name!r}, expected one of {', '.join(AUGMENTATIONS)}")
    return table[name]


def fitting_augment(input_shape: tuple[int, int, int], *, attention: bool = False) -> str:
    """The name that "auto" stands for; arguments as for ``choose_augment``."""
    if input_shape[0] > 1:
        return "flip_crop"
    return "none" if attention and min(input_shape[1:]) <= SMALL_SIDE else "shift"


def shift_pixels(input_shape: tuple[int, int, int], *, strong: bool) -> int:
    """Largest shift: 1 pixel up to a side of 16, else 1/8 of the side (photographs) or 1/14 (symbols)."""
    side = min(input_shape[1:])
    return 1 if side <= SMALL_SIDE else side // (8 if strong else 14)


def flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirror every image left to right with probability 1/2."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(3), images)


def shift(images: Tensor, pixels: int, generator: Generator) -> Tensor:
    """Move every image by -pixels..pixels on both axes; zeros come in: a random crop after zero padding."""
    count, channels, height, width = images.shape
    device = images.device
    offsets = torch.randint(0, 2 * pixels + 1, (2, count, 1), generator=generator).to(device)
    rows = (offsets[0] + torch.arange(height, device=device))[:, None, :, None]
    columns = (offsets[1] + torch.arange(width, device=device))[:, None, None, :]
    image = torch.arange(count, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[None, :, None, None]
    return F.pad(images, (pixels,) * 4)[image, channel, rows, columns]


def cutout(images: Tensor, side: int, generator: Generator) -> Tensor:
    """Blank one square with a random centre, cut off at the border.

    Source: DeVries and Taylor 2017, arXiv 1708.04552.
    """
    count, _, height, width = images.shape
    inside = []
    for length in (height, width):
        centre = torch.randint(0, length, (count, 1), generator=generator)
        inside.append(((torch.arange(length) - centre + side // 2) % _WRAP < side).to(images.device))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(hole, 0)


_WRAP = 1 << 30  # turns a negative distance into a large one
