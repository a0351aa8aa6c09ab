"""Learned steps of activation grids.

Source: Esser et al. 2020, "Learned Step Size Quantization" (arXiv 1902.08153), equations 1 to 3.
Deviations: the logarithm of the step is learned, so that one learning rate fits all tensors; the factor on the gradient
is left out, as Adam divides by it again. The zero point stays as the range gave it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from nas.compress.quantise.quantised import Grid


class LearnedStep:
    """A grid whose step is trained.

    Attributes:
        log_step: scalar parameter.
    """

    def __init__(self, grid: Grid, device: torch.device) -> None:
        self._start = grid
        self.log_step = torch.tensor(math.log(grid.scale), device=device)

    def __call__(self, values: Tensor, keep: Tensor | None = None) -> Tensor:
        """Rounded values, with gradients to values inside the range and to the step.

        Args:
            values: of any shape.
            keep: bool, of that shape; where it is false, values pass as they are.
        """
        step, zero_point, top = self.log_step.exp(), self._start.zero_point, 2**self._start.bits - 1
        return _Rounded.apply(values, step, zero_point, top, keep)  # type: ignore[no-any-return, no-untyped-call]

    def grid(self) -> Grid:
        """With the step as it is now."""
        return Grid(float(self.log_step.detach().exp()), self._start.zero_point, self._start.bits)


class _Rounded(torch.autograd.Function):
    """Straight-through rounding to a grid."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, step: Tensor, zero_point: int, top: int, keep: Tensor | None) -> Tensor:
        scaled = values / step
        rounded = scaled.round()
        codes = rounded.clamp(-zero_point, top - zero_point)
        through = codes == rounded
        slope = codes - scaled * through
        result = codes.mul_(step)
        if keep is not None:
            slope, through, result = slope.mul_(keep), through | ~keep, torch.where(keep, result, values)
        ctx.save_for_backward(slope, through)
        ctx.shape = step.shape
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        slope, through = ctx.saved_tensors
        to_step = (gradient * slope).sum().reshape(ctx.shape)
        return gradient * through, to_step, None, None, None
