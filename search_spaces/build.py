"""Layers -> torch module. The only place where an architecture becomes an ``nn.Module``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, overload

import torch
from torch import Tensor, nn

from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.expand import expand
from search_spaces.layers import (
    CONV,
    INPUT,
    LAYER_NORM,
    LINEAR,
    NORM,
    NORM_EPS,
    POSITION,
    Layer,
    Shape,
    head_start,
)
from search_spaces.operations import add_positions, channel_norm, compute
from search_spaces.resized import at_size, resized

if TYPE_CHECKING:
    from search_spaces.backbone import Backbone

MAX_WEIGHTS = 500_000_000  # 2 GB of float32, which is what an ONNX file holds
ANY_SIZE: Shape = (0, 512, 512)  # modules accept any height and width; expansion needs some


@overload
def build(arch: Architecture, *, num_classes: int, in_channels: int = 3) -> Network: ...


@overload
def build(arch: Architecture, *, features: Sequence[int], in_channels: int = 3) -> Backbone: ...


def build(
    arch: Architecture,
    *,
    num_classes: int | None = None,
    features: Sequence[int] | None = None,
    in_channels: int = 3,
) -> Network | Backbone:
    """A trainable network with freshly initialised weights (He for convolutions), on the CPU, in training mode.

    Args:
        arch: the design.
        num_classes: outputs of the linear classifier.
        features: instead of a classifier, the levels whose maps are returned: 3 stands for stride 2**3.
        in_channels: channels of the images.
    Returns: a classifier, or a backbone without one: see ``search_spaces.backbone``.
    Raises: InvalidArchitecture: also for more than ``MAX_WEIGHTS`` of them, and for a level that it does not reach.
    """
    if (num_classes is None) == (features is None):
        raise InvalidArchitecture("build: give either num_classes (a classifier) or features (a backbone), not both")
    if features is not None:
        from search_spaces.backbone import build_backbone

        return build_backbone(arch, features, in_channels)
    layers = expand_at_any_size(arch, in_channels, num_classes)
    assert num_classes is not None
    return Network(layers, arch, num_classes, in_channels)


def expand_at_any_size(arch: Architecture, in_channels: int, num_classes: int | None = None) -> tuple[Layer, ...]:
    """Layers at ``ANY_SIZE``, for a module that takes any size; raises InvalidArchitecture for too many weights."""
    layers = expand(arch, (in_channels, *ANY_SIZE[1:]), num_classes)
    if (weights := sum(layer.weight_count for layer in layers)) > MAX_WEIGHTS:
        raise InvalidArchitecture(f"{weights:,} weights, expected at most {MAX_WEIGHTS:,} (one ONNX file)")
    return layers


class LayerModule(nn.Module):
    """Runs a tuple of layers; parameters live under the layers' dotted names.

    ``forward_features(x)``: (N, in_channels, H, W) float -> tuple of maps, one for each position of ``ends``.
    """

    def __init__(self, layers: Sequence[Layer], arch: Architecture, in_channels: int, ends: Sequence[int]) -> None:
        super().__init__()
        self.arch = arch
        self.in_channels = in_channels
        self.layers = tuple(layers)
        self._modules_at = [_attach(self, layer) for layer in self.layers]
        self._dead_after = _last_uses(self.layers)
        self._ends = tuple(ends)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He initialisation of convolutions, 1/0 of norms, small normal classifier and position tables."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)
            elif isinstance(module, Positions):
                nn.init.trunc_normal_(module.weight, std=0.02)

    def layers_at(self, input_shape: Shape) -> tuple[Layer, ...]:
        """``layers`` with the heights and widths for images of (channels, height, width)."""
        return at_size(self.layers, input_shape)

    def follow_tensors(self) -> None:
        """After channels were removed from tensors: let ``layers`` say the sizes that these have now."""
        self.layers = resized(self.layers, {name: tuple(value.shape) for name, value in self.state_dict().items()})

    def forward_features(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) -> one map (N, C, H, W) per end."""
        kept: dict[int, Tensor] = {}
        self._run(x, kept, stop=self._ends[-1])
        return tuple(kept[at] for at in self._ends)

    def _run(self, x: Tensor, kept: dict[int, Tensor], stop: int | None = None) -> Tensor:
        values: dict[int, Tensor] = {INPUT: x}
        last = len(self.layers) - 1 if stop is None else stop
        for at in range(last + 1):
            values[at] = _apply(self.layers[at], self._modules_at[at], [values[i] for i in self.layers[at].inputs])
            if stop is not None and at in self._ends:
                kept[at] = values[at]
            for dead in self._dead_after[at]:
                del values[dead]
        return values[last]


class Network(LayerModule):
    """A classifier: a tuple of layers whose last one is linear.

    ``forward(x)``: (N, in_channels, H, W) float -> logits (N, num_classes).
    ``forward_features(x)``: the same input -> tuple of maps, the last one before each halving of the resolution
    and the final one.
    """

    def __init__(self, layers: Sequence[Layer], arch: Architecture, num_classes: int, in_channels: int) -> None:
        super().__init__(layers, arch, in_channels, stage_ends(layers))
        self.num_classes = num_classes

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> logits (N, num_classes)."""
        return self._run(x, {})

    @property
    def follows_architecture(self) -> bool:
        """Whether the layers are those of ``arch``; compression changes them."""
        return self.layers_at(ANY_SIZE) == at_size(
            expand_at_any_size(self.arch, self.in_channels, self.num_classes), ANY_SIZE
        )


def _apply(layer: Layer, module: nn.Module | None, values: list[Tensor]) -> Tensor:
    if module is None:
        return compute(layer, values)
    result: Tensor = module(values[0].flatten(1) if layer.op == LINEAR else values[0])
    return result


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each position of (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return channel_norm(x, self.weight, self.bias)


class Positions(nn.Module):
    """Adds a learned table of side x side positions to (N, C, H, W), resized to H x W."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, side, side))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return add_positions(x, self.weight)


def _attach(network: nn.Module, layer: Layer) -> nn.Module | None:
    """Create the layer's module, if it has weights, under its dotted name."""
    module = _module(layer)
    if module is not None:
        *path, leaf = layer.name.split(".")
        parent = network
        for part in path:
            if part not in parent._modules:
                parent.add_module(part, nn.Module())
            parent = parent.get_submodule(part)
        parent.add_module(leaf, module)
    return module


def _module(layer: Layer) -> nn.Module | None:
    if layer.op == CONV:
        return nn.Conv2d(
            layer.in_channels,
            layer.channels,
            layer.kernel,
            stride=layer.stride,
            padding=layer.padding,
            groups=layer.groups,
            bias=layer.bias,
        )
    if layer.op == NORM:
        return nn.BatchNorm2d(layer.channels, eps=NORM_EPS)
    if layer.op == LAYER_NORM:
        return ChannelNorm(layer.channels)
    if layer.op == POSITION:
        return Positions(layer.channels, layer.kernel)
    if layer.op == LINEAR:
        return nn.Linear(layer.in_channels, layer.channels)
    return None


def _last_uses(layers: Sequence[Layer]) -> list[tuple[int, ...]]:
    """For each layer, the positions whose values nobody reads afterwards."""
    last: dict[int, int] = {}
    for at, layer in enumerate(layers):
        for i in layer.inputs:
            last[i] = at
    return [tuple(i for i, at in last.items() if at == here) for here in range(len(layers))]


def stage_ends(layers: Sequence[Layer]) -> tuple[int, ...]:
    """Positions of the block outputs after which the resolution falls, and of the last block output with a map."""
    layers = layers[: head_start(layers)]
    following = [*(layer.block for layer in layers[1:]), None]
    outputs = [at for at, layer in enumerate(layers) if layer.block >= 0 and following[at] != layer.block]
    ends = [a for a, b in pairwise(outputs) if layers[b].shape[1:] != layers[a].shape[1:]]
    return (*ends, *outputs[-1:])
