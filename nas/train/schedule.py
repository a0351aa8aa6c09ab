"""The learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import Protocol

import torch


def learning_rate_at(step: int, *, total: int, warmup: int, peak: float) -> float:
    """Linear warm-up, then a half cosine down to 0.

    Args:
        step: from 0 to total - 1.
        total: steps of the whole training.
        warmup: steps of the rise; the peak is reached at step ``warmup - 1``.
        peak: largest learning rate.
    Source: Loshchilov and Hutter 2017, arXiv 1608.03983, one period; warm-up: Goyal et al. 2017, 1706.02677.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def warmup_steps(warmup_epochs: float, steps_per_epoch: int, epochs: int) -> int:
    """Steps of the warm-up: as asked, but at most half of the training."""
    return min(round(warmup_epochs * steps_per_epoch), steps_per_epoch * epochs // 2)


class Scheduled(Protocol):
    """What a schedule needs of a recipe: the training's length, its warm-up and its peak."""

    @property
    def epochs(self) -> int:
        """Of the training."""

    @property
    def warmup_epochs(self) -> float:
        """Of the rise."""

    @property
    def learning_rate(self) -> float:
        """The peak."""


def set_learning_rate(
    optimiser: torch.optim.Optimizer, recipe: Scheduled, step: int, steps_per_epoch: int, *, share: float = 1.0
) -> float:
    """Give every group of an optimiser its learning rate at a step; returns that of a group of ``scale`` 1.

    Args:
        optimiser: its groups have a ``scale`` each.
        recipe: of the training.
        step: from 0, over all epochs.
        steps_per_epoch: of the training.
        share: of the recipe's learning rate that this optimiser takes.
    """
    warmup = warmup_steps(recipe.warmup_epochs, steps_per_epoch, recipe.epochs)
    total, peak = steps_per_epoch * recipe.epochs, share * recipe.learning_rate
    rate = learning_rate_at(step, total=total, warmup=warmup, peak=peak)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]
    return rate
