"""Channel exploration in one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from nas.compress.chex.budget import Budget, Latency
from nas.compress.chex.result import ChexResult
from nas.compress.chex.settings import ChexSettings
from nas.compress.chex.training import ChexTraining
from nas.compress.coupling import coupled_channels
from nas.compress.errors import CannotCompress
from nas.compress.graph import copied
from nas.compress.groups import Coupling
from nas.train.advance import advance
from nas.train.distill import Distillation
from nas.train.fit import EpochReport
from nas.train.images import Dataset
from nas.train.recipe import Recipe
from nas.train.torch_device import check_torch_device


def chex(  # noqa: PLR0913 - the training's facts, all named
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    settings: ChexSettings,
    seed: int,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    distillation: Distillation | None = None,
    latency_ms: Latency | None = None,
) -> ChexResult:
    """Train a network while its channels are pruned and regrown, and cut it to what remains.

    Args:
        model: (N, C, H, W) float32 -> logits; untrained as in the paper, or trained. It is copied, not changed.
        dataset: ``train`` is learned from and ``validation`` watched; ``test`` is not read.
        recipe: of the whole training; its epochs are those of exploration and of what follows together.
        settings: budget and schedule.
        seed: of batch order, augmentation and of what comes back.
        device: where to compute.
        checkpoint: written after every epoch; if it exists, the training goes on from it.
        on_epoch: called after every epoch that is trained now, once its checkpoint is safe.
        distillation: a teacher whose soft labels count beside the true ones.
        latency_ms: measures a sliced network in evaluation mode, in milliseconds; with ``settings.latency_ms``.
    Raises: CannotCompress: no channel can be removed. BudgetUnreachable, Untraceable, TrainingDiverged,
        InvalidCheckpoint.
    """
    check_torch_device(device, "device")
    model = copied(model)
    coupling = find_groups(model, dataset)
    budget = Budget(copied(model), coupling, settings, latency_ms)
    training = ChexTraining(
        model,
        dataset,
        recipe,
        coupling=coupling,
        settings=settings,
        budget=budget,
        seed=seed,
        device=device,
        distillation=distillation,
    )
    advance(training, recipe.epochs, checkpoint, on_epoch)
    return training.result()


def find_groups(model: nn.Module, dataset: Dataset) -> Coupling:
    """Coupled channels of a network for the images of a dataset; raises CannotCompress when none can be removed."""
    coupling = coupled_channels(model, dataset.input_shape)
    if not coupling.groups:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(coupling.fixed.items())[:3])
        raise CannotCompress(f"{type(model).__name__}: no channels can be removed ({reasons or 'it has none'})")
    return coupling
