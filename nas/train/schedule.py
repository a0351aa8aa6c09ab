"""The learning rate as a function of the step."""

from __future__ import annotations

import math


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
