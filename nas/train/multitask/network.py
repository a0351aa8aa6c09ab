"""Networks with one trunk and a head for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.train.detection.network import GROUPS, DetectorDesign, Head, Predictions, Pyramid
from search_spaces.arch import Architecture
from search_spaces.build import build

SEGMENTATION, DETECTION = "segmentation", "detection"


class MultitaskNetwork(nn.Module):
    """``forward(images)``: (N, C, H, W) float32 -> task name -> what its head makes of the trunk's output."""

    def __init__(self, trunk: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.trunk, self.heads = trunk, nn.ModuleDict(heads)

    def forward(self, images: Tensor) -> dict[str, Any]:
        """The outputs of all tasks."""
        features = self.trunk(images)
        return {name: head(features) for name, head in self.heads.items()}


class Segmenter(nn.Module):
    """Maps of a backbone -> class logits of every pixel.

    1x1 convolutions to one width, bilinear to the finest map, sum, a 3x3 convolution, logits, bilinear to the image.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], num_classes: int, width: int) -> None:
        super().__init__()
        self.scale = strides[0]
        self.lateral = nn.ModuleList(nn.Conv2d(count, width, 1, bias=False) for count in channels)
        self.mix = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, width) for _ in range(2))
        self.classes = nn.Conv2d(width, num_classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(N, channels[i], H_i, W_i) finest first -> (N, classes, scale * H_0, scale * W_0)."""
        size = maps[0].shape[2:]
        merged = self.lateral[0](maps[0])
        for lateral, x in zip(list(self.lateral)[1:], maps[1:], strict=True):
            merged = merged + F.interpolate(lateral(x), size=size, mode="bilinear", align_corners=False)
        x = F.relu(self.norms[0](merged))
        x = F.relu(self.norms[1](self.mix(x)))
        return F.interpolate(self.classes(x), scale_factor=self.scale, mode="bilinear", align_corners=False)


class DetectionHead(nn.Module):
    """Feature pyramid and the detector's head: maps of a backbone -> ``Predictions``."""

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], num_classes: int, design: DetectorDesign
    ) -> None:
        super().__init__()
        self.neck = Pyramid(channels, design.width)
        self.head = Head(num_classes, strides, design.width, design.depth)

    def forward(self, maps: Sequence[Tensor]) -> Predictions:
        """Raw outputs at all places."""
        predictions: Predictions = self.head(self.neck(maps))
        return predictions


def build_scene_network(
    arch: Architecture, *, segmentation_classes: int, detection_classes: int, design: DetectorDesign, seed: int
) -> MultitaskNetwork:
    """An untrained backbone with a head for semantic segmentation and one for detection; weights depend on the seed.

    Args:
        arch: of the backbone.
        segmentation_classes: of pixels.
        detection_classes: of boxes.
        design: levels of the backbone that both heads read, and the width of the heads.
        seed: of the weights.
    Raises: InvalidArchitecture: a level that the backbone does not reach.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = build(arch, features=design.levels)
        segmenter = Segmenter(trunk.channels, trunk.strides, segmentation_classes, design.width)
        detector = DetectionHead(trunk.channels, trunk.strides, detection_classes, design)
        return MultitaskNetwork(trunk, {SEGMENTATION: segmenter, DETECTION: detector})
