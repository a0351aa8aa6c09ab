"""Training under random masks that never change: what a method that chooses its masks must beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from nas.compress.gap.result import PruningEpoch, PruningResult
from nas.compress.gap.run import run_to_end
from nas.compress.gap.selection import random_weights
from nas.compress.gap.settings import InvalidPruning, PruningSettings, check_range
from nas.compress.gap.training import StagedPruning, fine_tuning
from nas.compress.gap.workers import Job
from nas.compress.graph import copied
from nas.compress.prunable import find_prunable
from nas.train.distill import Distillation
from nas.train.images import Dataset
from nas.train.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticSettings(PruningSettings):
    """Settings of a training under random masks; only the uniform distribution is known.

    Attributes:
        epochs: of the training.
    """

    epochs: int = 30

    def __post_init__(self) -> None:
        super(StaticSettings, self).__post_init__()
        check_range("epochs", self.epochs, 1)
        if self.distribution != "uniform":
            raise InvalidPruning(f"settings.distribution={self.distribution!r}, expected 'uniform' for random masks")


def static_masks(  # noqa: PLR0913 - the facts of a pruning, all named
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    settings: StaticSettings,
    seed: int,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_epoch: Callable[[PruningEpoch], None] | None = None,
    distillation: Distillation | None = None,
) -> PruningResult:
    """Train under random masks, of the same sparsity in every layer.

    Arguments and errors are those of ``nas.compress.gap.gap``.
    """
    job = Job(copied(model).cpu(), dataset, recipe, str(device), distillation)
    prunable = find_prunable(model, dataset.input_shape, stem=settings.stem, classifier=settings.classifier)
    tensors = dict(model.named_parameters())
    masks = random_weights({name: tuple(tensors[name].shape) for name in prunable.names}, settings.sparsity, seed)
    stages = fine_tuning(settings.epochs)
    pruning = StagedPruning(job, prunable, stages, masks=masks, settings=settings, seed=seed)
    return run_to_end(pruning, checkpoint, on_epoch)
