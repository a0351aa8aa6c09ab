"""The loss of a step: labels, soft labels of the largest network, and a declared order of networks.

Sources: in-place distillation, Yu and Huang 2019 (arXiv 1903.05134); rank loss by a prior, 3rd place of track 1 of the
CVPR 2022 challenge (RD-NAS): for a pair that the prior orders, weight * max(0, loss of the better - loss of the worse).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def rank_penalties(losses: Sequence[Tensor], prior: Sequence[float]) -> Tensor:
    """Mean over pairs of max(0, loss of the one with the higher prior - loss of the other); 0 for a single network.

    Args:
        losses: scalars, one a network, on the same images and the same kind of labels.
        prior: of the networks; higher should have the lower loss. Equal ones are no pair.
    """
    better = [(i, j) for i in range(len(prior)) for j in range(len(prior)) if prior[i] > prior[j]]
    if not better:
        return losses[0].new_zeros(())
    return torch.stack([(losses[i] - losses[j]).clamp_min(0) for i, j in better]).mean()
