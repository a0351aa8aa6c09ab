"""The detector: backbone, feature pyramid, and a head that every level shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.arch import Architecture
from search_spaces.backbone import Backbone
from search_spaces.build import build

GROUPS = 8  # of the head's group norms
_PRIOR = 0.01  # score that an untrained head gives every class
MAX_LOG_DISTANCE = 8.0  # exp of it times the stride is far outside every image


class InvalidDetector(ValueError):
    """A detector's setting is out of its range."""


@dataclass(frozen=True, slots=True)
class DetectorDesign:
    """What a detector is beside its backbone.

    Attributes:
        levels: of the backbone's maps; level l has stride 2**l.
        width: channels of pyramid and head, a multiple of 8.
        depth: 3x3 convolutions in each of the head's two towers.
    """

    levels: tuple[int, ...] = (3, 4, 5)
    width: int = 64
    depth: int = 2

    def __post_init__(self) -> None:
        if self.width < GROUPS or self.width % GROUPS or self.width > 1024:
            raise InvalidDetector(f"detector width={self.width}, expected a multiple of {GROUPS} up to 1024")
        if not 1 <= self.depth <= 8:
            raise InvalidDetector(f"detector depth={self.depth}, expected 1 to 8")


class Predictions(NamedTuple):
    """Raw outputs at P places: all places of the first level row by row, then of the next.

    Attributes:
        class_logits: (N, P, classes).
        distances: (N, P, 4) pixels from the place to the left, top, right and bottom side; more than 0.
        centre_logits: (N, P).
    """

    class_logits: Tensor
    distances: Tensor
    centre_logits: Tensor


class Pyramid(nn.Module):
    """Maps of a backbone -> maps of equal width that know what the coarser ones see.

    Source: Lin et al. 2017, arXiv 1612.03144: 1x1 lateral, nearest upsampling, addition, 3x3. Deviations: no levels
    beyond the backbone's.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """(N, channels[i], H_i, W_i) -> (N, width, H_i, W_i), finest first."""
        merged = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        for i in reversed(range(len(merged) - 1)):
            merged[i] = merged[i] + F.interpolate(merged[i + 1], size=merged[i].shape[2:], mode="nearest")
        return [smooth(x) for smooth, x in zip(self.smooth, merged, strict=True)]


class Head(nn.Module):
    """Two towers, shared by all levels: one tells classes, one distances and centre-ness.

    Source: Tian et al. 2019, arXiv 1904.01355, section 3.1, with group norm and a scale per level as in its released
    code. Deviations: fewer and narrower layers; distances are exp(scale * x) times the stride.
    """

    def __init__(self, num_classes: int, strides: Sequence[int], width: int, depth: int) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.class_tower, self.box_tower = _tower(width, depth), _tower(width, depth)
        self.classes = nn.Conv2d(width, num_classes, 3, padding=1)
        self.boxes = nn.Conv2d(width, 4, 3, padding=1)
        self.centre = nn.Conv2d(width, 1, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(self.strides)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.constant_(self.classes.bias, -math.log((1 - _PRIOR) / _PRIOR))  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> Predictions:
        """Maps (N, width, H_i, W_i) -> raw outputs at all their places."""
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for i, x in enumerate(maps):
            boxes = self.box_tower(x)
            logs = (self.boxes(boxes) * self.scales[i]).clamp(max=MAX_LOG_DISTANCE)
            parts.append((self.classes(self.class_tower(x)), logs.exp() * self.strides[i], self.centre(boxes)))
        classes, distances, centres = (torch.cat([_rows(p[i]) for p in parts], 1) for i in range(3))
        return Predictions(classes, distances, centres[..., 0])


class Detector(nn.Module):
    """``forward(x)``: (N, in_channels, H, W) normalised float -> Predictions. H, W: multiples of the largest stride."""

    def __init__(self, backbone: Backbone, num_classes: int, design: DetectorDesign) -> None:
        super().__init__()
        self.num_classes, self.design = num_classes, design
        self.backbone = backbone
        self.neck = Pyramid(backbone.channels, design.width)
        self.head = Head(num_classes, backbone.strides, design.width, design.depth)

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the levels, in pixels."""
        return self.backbone.strides

    @property
    def arch(self) -> Architecture:
        """The backbone's design."""
        return self.backbone.arch

    def forward(self, x: Tensor) -> Predictions:
        """Raw outputs; ``nas.train.detection.predict`` makes boxes of them."""
        predictions: Predictions = self.head(self.neck(self.backbone(x)))
        return predictions


def build_detector(
    arch: Architecture, *, num_classes: int, design: DetectorDesign, in_channels: int = 3, seed: int
) -> Detector:
    """An untrained detector; its weights depend on the seed only.

    Raises: InvalidArchitecture: a level that the backbone does not reach.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Detector(build(arch, features=design.levels, in_channels=in_channels), num_classes, design)


def _tower(width: int, depth: int) -> nn.Sequential:
    layers: list[Any] = []
    for _ in range(depth):
        layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(GROUPS, width), nn.ReLU()]
    return nn.Sequential(*layers)


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H * W, C)."""
    return x.flatten(2).transpose(1, 2)
