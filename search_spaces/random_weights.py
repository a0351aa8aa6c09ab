"""Random weights for timing, by the names of a state dict; no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from search_spaces.layers import ADD, CONV, LAYER_NORM, LINEAR, NORM, POSITION, SUM, Layer

_BUFFER_SIZE = 1_000_003  # prime: layers that reuse the buffer do not line up
_RESIDUAL_GAIN = 0.2  # scale of a norm that feeds an addition: deep stacks neither explode nor fade


def random_weights(layers: Sequence[Layer], seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights for timing: activations stay finite and of order one, whatever the depth.

    He initialisation over the fan-in; norms with statistics near (0, 1) and a small scale before additions.
    Skips of cells have no norm: sums of them still grow.
    All tensors are cut from one random buffer, so a network costs about as much as copying its weights.
    """
    buffer = _normal_buffer(seed)
    offset = 0
    weights: dict[str, NDArray[np.float32]] = {}

    def draw(shape: tuple[int, ...], std: float, mean: float = 0.0) -> NDArray[np.float32]:
        nonlocal offset
        size = math.prod(shape)
        end = offset + size
        cut = buffer[offset:end] if end <= _BUFFER_SIZE else np.resize(np.roll(buffer, -offset), size)
        offset = end % _BUFFER_SIZE
        flat = cut * np.float32(std)
        flat += np.float32(mean)
        return flat.reshape(shape)

    gains = {i: _RESIDUAL_GAIN for layer in layers if layer.op == ADD for i in layer.inputs[:1]}
    gains |= {i: 1 / len(layer.inputs) for layer in layers if layer.op == SUM for i in layer.inputs}
    for at, layer in enumerate(layers):
        if layer.op == CONV:
            taps = (layer.in_channels // layer.groups, layer.kernel, layer.kernel)
            weights[f"{layer.name}.weight"] = draw((layer.channels, *taps), math.sqrt(2 / math.prod(taps)))
            if layer.bias:
                weights[f"{layer.name}.bias"] = draw((layer.channels,), 0.05)
        elif layer.op == NORM:
            gain = gains.get(at, 1.0)
            size = (layer.channels,)
            weights[f"{layer.name}.weight"] = draw(size, 0.1 * gain, gain)
            weights[f"{layer.name}.bias"] = draw(size, 0.05)
            weights[f"{layer.name}.running_mean"] = draw(size, 0.05)
            weights[f"{layer.name}.running_var"] = np.abs(draw(size, 0.1, 1.0))
        elif layer.op == LAYER_NORM:
            weights[f"{layer.name}.weight"] = draw((layer.channels,), 0.1, 1.0)
            weights[f"{layer.name}.bias"] = draw((layer.channels,), 0.05)
        elif layer.op == POSITION:
            weights[f"{layer.name}.weight"] = draw((layer.channels, layer.kernel, layer.kernel), 0.05)
        elif layer.op == LINEAR:
            fan_in = layer.in_channels
            weights[f"{layer.name}.weight"] = draw((layer.channels, fan_in), 1 / math.sqrt(fan_in))
            weights[f"{layer.name}.bias"] = draw((layer.channels,), 0.05)
    return weights


@lru_cache(maxsize=2)
def _normal_buffer(seed: int) -> NDArray[np.float32]:
    buffer = np.random.default_rng(seed).standard_normal(_BUFFER_SIZE, dtype=np.float32)
    buffer.flags.writeable = False
    return buffer
