"""The masks that a training starts with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from nas.compress.disparse.densities import erk_counts, random_masks
from nas.compress.disparse.masks import masks_at_density, unanimous
from nas.compress.disparse.overlap import Overlap, overlap_of
from nas.compress.disparse.scores import task_scores
from nas.compress.disparse.settings import DisparseSettings
from nas.compress.disparse.tasks import Ownership
from nas.compress.masks import Masks
from nas.train.multitask.tasks import MultitaskData
from nas.train.seeding import seeded

_DRAW = -2  # randomness of first masks: an epoch that no training has


@dataclass(frozen=True, slots=True, eq=False)
class FirstMasks:
    """Masks, the keep ratio of each task and the tasks' agreement; the last two are None for random masks."""

    masks: Masks
    keep_ratio: float | None
    overlap: Overlap | None


def first_masks(
    model: nn.Module,
    data: MultitaskData,
    ownership: Ownership,
    settings: DisparseSettings,
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> FirstMasks:
    """Choose by scores, or at random with densities that depend on the layers' shapes.

    Args:
        model: with the weights that are scored; not changed.
        data: training images for scores.
        ownership: of the weights; all tasks in one for baselines.
        settings: how.
        seed: of images and random masks.
        device: where to compute scores.
    Raises: CannotCompress, BudgetUnreachable.
    """
    if settings.criterion is None:
        parameters = dict(model.named_parameters())
        shapes = {name: tuple(parameters[name].shape) for name in ownership.users}
        counts = erk_counts(shapes, settings.density, settings.erk_power)
        with seeded(seed, _DRAW, torch.device("cpu")) as generator:
            return FirstMasks(random_masks(shapes, counts, generator), None, None)
    scores = task_scores(model, data, ownership, settings, seed=seed, device=device)
    by_task, rho = masks_at_density(scores, ownership, settings.density)
    return FirstMasks(unanimous(by_task, ownership), rho, None if settings.joint else overlap_of(by_task, ownership))
