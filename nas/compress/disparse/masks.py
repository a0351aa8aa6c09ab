"""The unanimous decision: a weight goes only when every task that uses it wants it gone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from nas.compress.disparse.scores import Scores
from nas.compress.disparse.tasks import Ownership
from nas.compress.errors import BudgetUnreachable
from nas.compress.masks import Masks

TaskMasks = dict[str, Masks]  # task -> what it would keep of the weights that it uses


def unanimous(masks: Mapping[str, Masks], ownership: Ownership) -> Masks:
    """Keep what any task keeps: the OR of the masks of the tasks that use a weight; heads follow their own task.

    Source: Sun et al. 2022, arXiv 2206.04662, section 3 (the pruned set is the intersection of the tasks' pruned sets).
    """
    return Masks({name: _any([masks[task][name] for task in users]) for name, users in ownership.users.items()})


def ratios(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """For each weight of one task the smallest keep ratio at which it remains: its rank over their number.

    All tensors are ranked together, the highest score first; of equal scores the one that is executed first.

    Args:
        scores: of one task.
    Returns: weight -> its shape, float64, above 0, at most 1.
    """
    flat = torch.cat([score.flatten() for score in scores.values()])
    order = torch.sort(flat, descending=True, stable=True).indices
    ranks = torch.empty(len(flat), dtype=torch.float64)
    ranks[order] = torch.arange(1, len(flat) + 1, dtype=torch.float64)
    parts = torch.split(ranks / len(flat), [score.numel() for score in scores.values()])
    return {name: part.reshape(score.shape) for (name, score), part in zip(scores.items(), parts, strict=True)}


def masks_at_ratio(scores: Scores, rho: float) -> TaskMasks:
    """Each task's mask by itself: the rho-th part of the weights it uses, those of the highest scores."""
    return {task: Masks({n: ratio <= rho for n, ratio in ratios(own).items()}) for task, own in scores.items()}


def masks_at_density(scores: Scores, ownership: Ownership, density: float) -> tuple[TaskMasks, float]:
    """Each task's mask at the keep ratio rho at which the unanimous mask has the density asked for.

    The unanimous mask holds more than rho of the shared weights. A weight enters it at the smallest of its tasks'
    ratios, so rho is an order statistic of these; bisection, which evaluates many rho, ends at the same.

    Args:
        scores: of every task.
        ownership: of the weights.
        density: of all weights together, above 0.
    Returns: masks by task, and rho. The number of weights kept is exact up to weights that enter at the same rho (at
        most one for each task).
    Raises: BudgetUnreachable: not a single weight would remain.
    """
    by_task = {task: ratios(own) for task, own in scores.items()}
    enters = np.concatenate(
        [
            torch.stack([by_task[task][name] for task in users]).amin(0).flatten().numpy()
            for name, users in ownership.users.items()
        ]
    )
    wanted = round(density * len(enters))
    if wanted < 1:
        raise BudgetUnreachable(f"density={density:g} of {len(enters):,} weights keeps none; ask for a higher one")
    rho = float(np.partition(enters, wanted - 1)[wanted - 1])
    below, upto = int((enters < rho).sum()), int((enters <= rho).sum())
    if below > 0 and wanted - below < upto - wanted:
        rho = float(enters[enters < rho].max())
    return {task: Masks({n: ratio <= rho for n, ratio in own.items()}) for task, own in by_task.items()}, rho


def _any(masks: list[Tensor]) -> Tensor:
    return torch.stack(masks).any(0)
