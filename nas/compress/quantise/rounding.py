"""Learned rounding of weights: up or down for each, by gradient.

Source: Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization" (arXiv 2004.10568), with its
rectified sigmoid h(V) = clip((zeta - gamma) sigmoid(V) + gamma, 0, 1), zeta = 1.1, gamma = -0.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nas.compress.quantise.quantised import WeightCodes

_WIDTH, _BELOW = 1.2, 0.1  # zeta - gamma, -gamma
_NEVER = 1e-4  # a weight on the grid starts so far from either end


class LearnedRounding:
    """Weights of one layer: step * clip(floor(w / step) + h(V)).

    Attributes:
        logits: V, of the shape of the weight; they start where h(V) is the fraction of w / step.
    """

    def __init__(self, weight: Tensor, scale: Tensor, bits: int) -> None:
        self.bits, self.scale = bits, scale
        self._shaped = scale.reshape(-1, *[1] * (weight.ndim - 1))
        steps = weight / self._shaped
        self._floor = steps.floor()
        share = (steps - self._floor).clamp(_NEVER, 1 - _NEVER)
        self.logits = -torch.log(_WIDTH / (share + _BELOW) - 1)
        self._least, self._most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def share(self) -> Tensor:
        """h(V): 0 for down, 1 for up."""
        return (torch.sigmoid(self.logits) * _WIDTH - _BELOW).clamp(0, 1)

    def soft(self, share: Tensor) -> Tensor:
        """The weight for a share of the way up."""
        return (self._floor + share).clamp(self._least, self._most) * self._shaped

    def codes(self) -> WeightCodes:
        """Hard decisions."""
        up = (self.logits.detach() >= 0).to(self._floor.dtype)
        codes = (self._floor + up).clamp(self._least, self._most)
        return WeightCodes(codes.to(torch.int8).cpu(), self.scale.cpu(), self.bits)


def indecision(share: Tensor, sharpness: float) -> Tensor:
    """Sum of 1 - |2h - 1| ** beta: 0 where every weight is decided."""
    return (1 - (2 * share - 1).abs().pow(sharpness)).sum()


def nearest(weight: Tensor, scale: Tensor, bits: int) -> WeightCodes:
    """Each weight to the nearest code."""
    shaped = scale.reshape(-1, *[1] * (weight.ndim - 1))
    codes = (weight / shaped).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return WeightCodes(codes.to(torch.int8).cpu(), scale.cpu(), bits)


def value_of(codes: WeightCodes) -> Tensor:
    """Weights as floats, of the shape of the codes."""
    return codes.codes.float() * codes.scale.reshape(-1, *[1] * (codes.codes.ndim - 1))
