"""Exponential moving average of weights and normalisation statistics."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

_RAMP = 10.0  # the decay starts at 1/10 and rises, so that the random start is soon forgotten


class WeightAverage:
    """A second network whose every float tensor follows the trained one.

    ``average <- d * average + (1 - d) * weights``, d = min(decay, (1 + t) / (10 + t)) at update t = 0, 1, ...
    Counters (integer tensors) are copied.
    Source: Polyak and Juditsky 1992; ramp as in TensorFlow's ExponentialMovingAverage(num_updates).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update_(self, model: nn.Module) -> None:
        """Take one step towards the weights of ``model``."""
        decay = min(self.decay, (1 + self.updates) / (_RAMP + self.updates))
        self.updates += 1
        averages: list[Tensor] = []
        values: list[Tensor] = []
        for average, value in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if average.is_floating_point():
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, values, 1 - decay)
