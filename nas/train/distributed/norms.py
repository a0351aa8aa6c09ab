"""Batch norms that see the whole batch when its images are spread over processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def synchronise_norms(model: nn.Module, device: torch.device) -> None:
    """Let every batch norm average over the processes; modules stay the same objects, with the same weights.

    On CUDA they become PyTorch's ``SyncBatchNorm``, which the CPU does not have; there ``SharedBatchNorm``.
    """
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            if device.type == "cuda":
                module.__class__ = nn.SyncBatchNorm  # type: ignore[assignment]
                module.process_group = None  # type: ignore[assignment]
            else:
                module.__class__ = SharedBatchNorm


class SharedBatchNorm(nn.BatchNorm2d):
    """A batch norm whose mean and variance are those of the images of all processes, which have as many each.

    Source: Ioffe and Szegedy 2015, arXiv 1502.03167, algorithm 1, over the whole batch; the gradient follows from the
    all-reduce being a sum.
    """

    def forward(self, images: Tensor) -> Tensor:
        """(n, C, H, W) of this process -> the same, normalised by the statistics of all."""
        if not self.training:
            return super().forward(images)
        mean_and_square = torch.stack([images.mean(dim=(0, 2, 3)), images.square().mean(dim=(0, 2, 3))])
        mean, square = _Mean.apply(mean_and_square)  # type: ignore[no-untyped-call]
        variance = (square - mean.square()).clamp(min=0)  # rounding may take it below
        self._follow(mean.detach(), variance.detach(), images.numel() // images.shape[1])
        scale = torch.rsqrt(variance + self.eps)
        weight, bias = (self.weight, self.bias) if self.affine else (torch.ones_like(mean), torch.zeros_like(mean))
        factor = scale * weight
        result: Tensor = images * factor[:, None, None] + (bias - mean * factor)[:, None, None]
        return result

    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the stored statistics as the usual batch norm does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            whole = count * torch.distributed.get_world_size()
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * (whole / (whole - 1)), share)


class _Mean(torch.autograd.Function):
    """The mean over processes; its gradient is the mean of theirs."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        """Of equal shapes."""
        return _mean(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Each process has a loss of its own, and all of them depend on this one's tensor."""
        return _mean(gradient)


def _mean(tensor: Tensor) -> Tensor:
    found = tensor.detach().clone().contiguous()
    torch.distributed.all_reduce(found)
    return found / torch.distributed.get_world_size()
