"""A network without classifier that gives its maps at chosen strides, as detectors and segmenters read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.build import ANY_SIZE, LayerModule, expand_at_any_size, stage_ends
from search_spaces.layers import Layer


class WeightsDoNotFit(ValueError):
    """Tensors of another network were to be loaded."""


class Backbone(LayerModule):
    """``forward(x)``: (N, in_channels, H, W) float -> tuple of maps, in the order of ``strides``.

    An image side of S pixels gives maps of ceil(S / stride). Tensors have the names that they have in the
    classifier of the same architecture; layers behind the last chosen map are left out.

    Attributes:
        levels: the chosen levels; level l has stride 2**l.
        strides: pixels of the image per step in each map.
        channels: of each map.
    """

    def __init__(self, layers: Sequence[Layer], arch: Architecture, in_channels: int, ends: Sequence[int]) -> None:
        super().__init__(layers, arch, in_channels, ends)
        self.strides = tuple(_stride(layers[at]) for at in ends)
        self.levels = tuple(stride.bit_length() - 1 for stride in self.strides)
        self.channels = tuple(layers[at].channels for at in ends)

    @property
    def ends(self) -> tuple[int, ...]:
        """Positions in ``layers`` of those that give the maps."""
        return self._ends

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """The same facts under the names that timm's backbones have for them."""
        ends = [self.layers[at] for at in self._ends]
        return [{"num_chs": end.channels, "reduction": _stride(end), "module": end.name} for end in ends]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) -> one map (N, channels[i], H / strides[i], W / strides[i]) per level."""
        return self.forward_features(x)


def build_backbone(arch: Architecture, features: Sequence[int], in_channels: int = 3) -> Backbone:
    """A backbone with freshly initialised weights; what ``build(arch, features=...)`` returns.

    The map of a level is the last block output at that stride, so a final 1x1 convolution belongs to the last level.

    Args:
        arch: the design.
        features: levels in rising order, for example (3, 4, 5) for C3 to C5 at strides 8, 16, 32.
        in_channels: channels of the images.
    Raises: InvalidArchitecture: naming the strides that the architecture has.
    """
    layers = expand_at_any_size(arch, in_channels)
    by_stride = {_stride(layers[at]): at for at in stage_ends(layers)}
    levels = list(features)
    if not levels or levels != sorted(set(levels)) or any(type(level) is not int or level < 0 for level in levels):
        raise InvalidArchitecture(f"features={tuple(levels)}, expected levels in rising order, for example (3, 4, 5)")
    for level in levels:
        if 2**level not in by_stride:
            has = ", ".join(f"{stride} (level {stride.bit_length() - 1})" for stride in by_stride)
            raise InvalidArchitecture(f"features: level {level} has stride {2**level}; this architecture has {has}")
    ends = [by_stride[2**level] for level in levels]
    return Backbone(layers[: ends[-1] + 1], arch, in_channels, ends)


def load_shared(target: nn.Module, weights: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Load every tensor that both sides have by name: a classifier's into a backbone, or the other way round.

    Args:
        target: changed in place.
        weights: a state dict.
    Returns: names of the target's tensors that stay as they were: the classifier's, or blocks behind the last map.
    Raises: WeightsDoNotFit: no name in common, or one of another shape; the target is then unchanged.
    """
    own = target.state_dict()
    shared = {name: weights[name] for name in own if name in weights}
    if not any(name.startswith("blocks.") for name in shared):
        raise WeightsDoNotFit(f"no tensor of the blocks in common (got {_some(weights)}; expected {_some(own)})")
    for name, tensor in shared.items():
        if tensor.shape != own[name].shape:
            raise WeightsDoNotFit(f"{name} has shape {tuple(tensor.shape)}, expected {tuple(own[name].shape)}")
    target.load_state_dict(shared, strict=False)
    return tuple(name for name in own if name not in shared)


def _some(names: Iterable[str]) -> str:
    return next(iter(names), "nothing")


def _stride(layer: Layer) -> int:
    return ANY_SIZE[1] // layer.shape[1]
