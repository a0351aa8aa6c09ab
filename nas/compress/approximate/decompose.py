"""One convolution as two: a cheap one with the kernel, then one of 1x1 that mixes.

With blocks of g input channels, W_i = U S V^T (n x g k^2) and the g largest singular values kept: the grouped
convolution has the rows of S^(1/2) V^T as filters, the 1x1 the columns of U S^(1/2). With all g k^2 it is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Weights of the two convolutions.

    Attributes:
        first: (middle, inputs / groups, k, k), with the stride, padding and dilation of the original.
        second: (outputs, middle, 1, 1), with its bias.
        groups: of the first.
        energy: kept share of the squared singular values, 0..1.
    """

    first: Tensor
    second: Tensor
    groups: int
    energy: float


def group_pair(weight: Tensor, size: int, rank: int | None = None) -> Pair:
    """A kernel (n, c, k, k) as groups of ``size`` input channels, each with ``rank`` filters, then 1x1.

    Args:
        weight: of a convolution without groups.
        size: divides c.
        rank: filters of a group; ``size`` by default, as published.
    Source: arXiv 1807.11254, equations 3 to 6.
    """
    outputs, inputs = weight.shape[:2]
    count = inputs // size
    blocks = weight.detach().double().reshape(outputs, count, -1).transpose(0, 1)  # (count, n, size k^2)
    left, values, right = torch.linalg.svd(blocks, full_matrices=False)
    kept = min(rank or size, values.shape[1])
    root = values[:, :kept].sqrt()
    first = (root[:, :, None] * right[:, :kept]).reshape(count * kept, size, *weight.shape[2:])
    second = (left[:, :, :kept] * root[:, None, :]).transpose(0, 1).reshape(outputs, count * kept)
    energy = float(values[:, :kept].square().sum() / values.square().sum().clamp_min(1e-300))
    return Pair(first.float(), second.float()[:, :, None, None], count, energy)


def low_rank_pair(weight: Tensor, rank: int) -> Pair:
    """A kernel (n, c, k, k) as ``rank`` filters of k x k, then 1x1: one block of all input channels."""
    return group_pair(weight, weight.shape[1], rank)


def energies(weight: Tensor, method: str) -> dict[int, float]:
    """Kept energy by group size, or by rank: of all sizes that divide the input channels and save work."""
    return {size: pair_of(weight, method, size).energy for size in sizes(weight, method)}


def pair_of(weight: Tensor, method: str, size: int) -> Pair:
    """The two convolutions for a group size or a rank."""
    return group_pair(weight, size) if method == "groups" else low_rank_pair(weight, size)


def sizes(weight: Tensor, method: str) -> list[int]:
    """Group sizes (divisors of the input channels) or ranks (sixteenths of the outputs) that save work, ascending."""
    outputs, inputs = weight.shape[:2]
    if method == "groups":
        found = [size for size in range(1, inputs + 1) if inputs % size == 0]
    else:
        found = sorted({max(1, round(outputs * part / 16)) for part in range(1, 17)})
    return [size for size in found if cost_ratio(weight, method, size) < 1]


def cost_ratio(weight: Tensor, method: str, size: int) -> float:
    """Multiply-accumulates of the two over those of the one: g/n + 1/k^2 for groups, r/n + r/(c k^2) for ranks."""
    outputs, inputs = weight.shape[:2]
    taps = weight[0, 0].numel()
    if method == "groups":
        return size / outputs + 1 / taps
    return size / outputs + size / (inputs * taps)
