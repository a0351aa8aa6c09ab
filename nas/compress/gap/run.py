"""Grow-and-prune in one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from nas.compress.gap.parallel import ray_workers
from nas.compress.gap.result import PruningEpoch, PruningResult
from nas.compress.gap.selection import largest_weights, random_weights
from nas.compress.gap.settings import GapSettings, InvalidPruning, PruningSettings
from nas.compress.gap.training import StagedPruning, gap_stages
from nas.compress.gap.workers import Job, Workers
from nas.compress.graph import copied
from nas.compress.masks import Masks
from nas.compress.prunable import Prunable, find_prunable
from nas.train.advance import advance
from nas.train.distill import Distillation
from nas.train.images import Dataset
from nas.train.recipe import Recipe


def gap(  # noqa: PLR0913 - the facts of a pruning, all named
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    settings: GapSettings,
    seed: int,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_epoch: Callable[[PruningEpoch], None] | None = None,
    distillation: Distillation | None = None,
    workers: int | None = None,
) -> PruningResult:
    """Train a network to a sparsity by growing and pruning its partitions in turn; no dense training goes before.

    Args:
        model: (N, C, H, W) float32 -> logits (N, dataset.num_classes), with random or trained weights; not changed.
        dataset: ``train`` is learned from and ``validation`` watched; ``test`` is not read.
        recipe: of every step; its epochs are not read, the settings have them.
        settings: of the method.
        seed: of batch order, augmentation, random masks and random partitions.
        device: where to compute; the result is there.
        checkpoint: written after every epoch; if it exists, the pruning goes on from it.
        on_epoch: called after every epoch, once its checkpoint is safe.
        distillation: a teacher whose soft labels count in every step and in the fine-tuning.
        workers: of P-GaP, the copies that Ray trains at a time, one CPU each; None trains them in this process, with
            the same bits on the CPU.
    Raises: CannotCompress and its kinds, TrainingDiverged, InvalidCheckpoint, RayUnavailable.
    """
    if workers is not None:
        _check_workers(workers, settings)
    job = Job(copied(model).cpu(), dataset, recipe, str(device), distillation)
    prunable = find_prunable(model, dataset.input_shape, stem=settings.stem, classifier=settings.classifier)
    if workers is None:
        return run_to_end(grow_and_prune(job, prunable, settings, seed), checkpoint, on_epoch)
    with ray_workers(job, settings.partitions, workers) as on_ray:
        return run_to_end(grow_and_prune(job, prunable, settings, seed, on_ray), checkpoint, on_epoch)


def grow_and_prune(
    job: Job, prunable: Prunable, settings: GapSettings, seed: int, workers: Workers | None = None
) -> StagedPruning:
    """The pruning that ``gap`` runs, before its first epoch; raises CannotCompress."""
    stages = gap_stages(prunable, settings, seed)
    masks = first_masks(job.model, prunable, settings, seed)
    if settings.start == "random":
        masks.apply_(job.model)
    return StagedPruning(job, prunable, stages, masks=masks, settings=settings, seed=seed, workers=workers)


def first_masks(model: nn.Module, prunable: Prunable, settings: GapSettings, seed: int) -> Masks:
    """Masks of the same sparsity in every layer, by the magnitudes of the given weights or random."""
    tensors = dict(model.named_parameters())
    weights = {name: tensors[name].detach() for name in prunable.names}
    if settings.start == "random":
        return random_weights({n: tuple(w.shape) for n, w in weights.items()}, settings.sparsity, seed)
    return largest_weights(weights, PruningSettings(sparsity=settings.sparsity))


def _check_workers(workers: int, settings: GapSettings) -> None:
    if settings.method != "parallel":
        raise InvalidPruning(
            f"workers={workers} with method={settings.method!r}, which trains one network at a time; leave workers out "
            "or choose method='parallel'"
        )
    if workers < 1:
        raise InvalidPruning(f"workers={workers}, expected at least 1, or None to train in this process")


def run_to_end(
    pruning: StagedPruning, checkpoint: Path | None, on_epoch: Callable[[PruningEpoch], None] | None
) -> PruningResult:
    """Train from wherever the checkpoint stands to the last epoch."""
    advance(pruning, pruning.epochs, checkpoint, on_epoch)
    return pruning.result()
