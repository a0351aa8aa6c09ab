"""Layers -> torch module. The only place where an architecture becomes an ``nn.Module``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.expand import expand
from search_spaces.layers import CONV, INPUT, LAYER_NORM, LINEAR, NORM, NORM_EPS, POSITION, Layer, Shape
from search_spaces.operations import add_positions, channel_norm, compute

MAX_WEIGHTS = 500_000_000  # 2 GB of float32, which is what an ONNX file holds
_ANY_SIZE: Shape = (0, 512, 512)  # modules accept any height and width; expansion needs some


def build(arch: Architecture, *, num_classes: int, in_channels: int = 3) -> Network:
    """A trainable network with freshly initialised weights (He for convolutions), on the CPU, in training mode.

    Args:
        arch: the design.
        num_classes: outputs of the linear classifier.
        in_channels: channels of the images.
    Raises: InvalidArchitecture: also for more than ``MAX_WEIGHTS`` of them.
    """
    layers = expand(arch, (in_channels, *_ANY_SIZE[1:]), num_classes)
    if (weights := sum(layer.weight_count for layer in layers)) > MAX_WEIGHTS:
        raise InvalidArchitecture(f"{weights:,} weights, expected at most {MAX_WEIGHTS:,} (one ONNX file)")
    return Network(layers, arch, num_classes, in_channels)


class Network(nn.Module):
    """Runs a tuple of layers; parameters live under the layers' dotted names.

    ``forward(x)``: (N, in_channels, H, W) float -> logits (N, num_classes).
    ``forward_features(x)``: the same input -> tuple of maps, the last one before each halving of the resolution
    and the final one.
    """

    def __init__(self, layers: Sequence[Layer], arch: Architecture, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.arch = arch
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.layers = tuple(layers)
        self._modules_at = [_attach(self, layer) for layer in self.layers]
        self._dead_after = _last_uses(self.layers)
        self._stage_ends = _stage_ends(self.layers)
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

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> logits (N, num_classes)."""
        return self._run(x, {})

    def forward_features(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) -> one map (N, C, H, W) per resolution."""
        kept: dict[int, Tensor] = {}
        self._run(x, kept, stop=self._stage_ends[-1])
        return tuple(kept[at] for at in self._stage_ends)

    def _run(self, x: Tensor, kept: dict[int, Tensor], stop: int | None = None) -> Tensor:
        values: dict[int, Tensor] = {INPUT: x}
        last = len(self.layers) - 1 if stop is None else stop
        for at in range(last + 1):
            values[at] = _apply(self.layers[at], self._modules_at[at], [values[i] for i in self.layers[at].inputs])
            if stop is not None and at in self._stage_ends:
                kept[at] = values[at]
            for dead in self._dead_after[at]:
                del values[dead]
        return values[last]


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


def _stage_ends(layers: Sequence[Layer]) -> tuple[int, ...]:
    """Positions of the block outputs after which the resolution falls, and of the last block output."""
    following = [*(layer.block for layer in layers[1:]), None]
    outputs = [at for at, layer in enumerate(layers) if layer.block >= 0 and following[at] != layer.block]
    ends = [a for a, b in pairwise(outputs) if layers[b].shape[1:] != layers[a].shape[1:]]
    return (*ends, *outputs[-1:])
