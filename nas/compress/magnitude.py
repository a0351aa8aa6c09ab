"""Pruning by magnitude, without growing: gradually while the network trains, or at once and then fine-tuned.

The baselines that every other pruning of single weights must be compared with.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.compress.gap.result import PruningEpoch, PruningResult
from nas.compress.gap.run import run_to_end
from nas.compress.gap.selection import largest_weights
from nas.compress.gap.settings import InvalidPruning, PruningSettings, check_range
from nas.compress.gap.training import (
    Stage,
    StagedPruning,
    fine_tuning,
    pruning_identity,
    pruning_result,
)
from nas.compress.gap.workers import Job
from nas.compress.graph import copied
from nas.compress.masks import Masks
from nas.compress.prunable import Prunable, find_prunable
from nas.compress.saved_training import load_saved, saved
from nas.compress.training_cost import PASSES, images_per_epoch
from nas.train.advance import advance
from nas.train.checkpoint import load_checkpoint, save_checkpoint
from nas.train.distill import Distillation
from nas.train.fit import Training
from nas.train.images import Dataset
from nas.train.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class GradualSettings(PruningSettings):
    """Settings of gradual magnitude pruning.

    Attributes:
        epochs: of the one training.
        initial_sparsity: after the first prune, at most ``sparsity``.
        begin, end: of the pruning, as shares of the training's steps, 0 <= begin < end <= 1; masks are frozen after it.
        prunings: how often masks change after the first time, at even distances; fewer when there are fewer steps.
    """

    epochs: int = 30
    initial_sparsity: float = 0.0
    begin: float = 0.2
    end: float = 0.75
    prunings: int = 40

    def __post_init__(self) -> None:
        super(GradualSettings, self).__post_init__()
        check_range("epochs", self.epochs, 1)
        check_range("prunings", self.prunings, 1)
        if not 0 <= self.initial_sparsity <= self.sparsity:
            raise InvalidPruning(
                f"settings.initial_sparsity={self.initial_sparsity}, expected 0 to the sparsity {self.sparsity}"
            )
        if not 0 <= self.begin < self.end <= 1:
            raise InvalidPruning(f"settings.begin={self.begin}, end={self.end}, expected 0 <= begin < end <= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class OneShotSettings(PruningSettings):
    """Settings of one-shot magnitude pruning.

    Attributes:
        train_epochs: of the whole network before the prune; 0 for a network that is trained already.
        fine_tune_epochs: after it, with frozen masks and a learning rate that starts anew; 0 recalibrates norms only.
    """

    train_epochs: int = 30
    fine_tune_epochs: int = 15

    def __post_init__(self) -> None:
        super(OneShotSettings, self).__post_init__()
        check_range("train_epochs", self.train_epochs, 0)
        check_range("fine_tune_epochs", self.fine_tune_epochs, 0)
        if self.train_epochs + self.fine_tune_epochs == 0:
            raise InvalidPruning("settings.train_epochs=0, fine_tune_epochs=0, expected at least one epoch in all")


def cubic_sparsity(progress: float, initial: float, final: float) -> float:
    """Sparsity when this share of the pruning is over, 0..1.

    Source: Zhu and Gupta 2017, "To prune, or not to prune" (arXiv 1710.01878), equation 1:
    s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3.
    """
    return final + (initial - final) * (1 - progress) ** 3


def pruning_steps(settings: GradualSettings, steps: int) -> dict[int, float]:
    """After which steps of a training (from 1) masks change, and to which sparsity.

    Args:
        settings: of gradual pruning.
        steps: of the whole training.
    Returns: the last one is at ``settings.sparsity``.
    """
    first, last = max(1, round(settings.begin * steps)), max(1, round(settings.end * steps))
    times = min(settings.prunings, max(1, last - first))
    found = {}
    for at in range(times + 1):
        sparsity = cubic_sparsity(at / times, settings.initial_sparsity, settings.sparsity)
        found[first + round(at / times * (last - first))] = sparsity
    return found


def gradual_magnitude(  # noqa: PLR0913 - the facts of a pruning, all named
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    settings: GradualSettings,
    seed: int,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_epoch: Callable[[PruningEpoch], None] | None = None,
    distillation: Distillation | None = None,
) -> PruningResult:
    """Train a network while its smallest weights go, few by few; a weight that went stays away.

    Arguments and errors are those of ``nas.compress.gap.gap``.
    """
    job = Job(copied(model).cpu(), dataset, recipe, str(device), distillation)
    prunable = find_prunable(model, dataset.input_shape, stem=settings.stem, classifier=settings.classifier)
    pruning = GradualPruning(job, prunable, settings, seed)
    advance(pruning, settings.epochs, checkpoint, on_epoch)
    return pruning.result()


def one_shot_magnitude(  # noqa: PLR0913 - the facts of a pruning, all named
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    settings: OneShotSettings,
    seed: int,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_epoch: Callable[[PruningEpoch], None] | None = None,
    distillation: Distillation | None = None,
) -> PruningResult:
    """Train a network, prune its smallest weights all at once, and fine-tune what remains.

    Arguments and errors are those of ``nas.compress.gap.gap``.
    """
    job = Job(copied(model).cpu(), dataset, recipe, str(device), distillation)
    prunable = find_prunable(model, dataset.input_shape, stem=settings.stem, classifier=settings.classifier)
    tensors = dict(job.model.named_parameters())
    dense: tuple[Stage, ...] = ()
    if settings.train_epochs:
        masks = Masks({name: torch.ones_like(tensors[name], dtype=torch.bool) for name in prunable.names})
        dense = (Stage("dense", settings.train_epochs, (prunable.names,), {}),)
    else:
        masks = largest_weights({name: tensors[name] for name in prunable.names}, settings)
    stages = (*dense, *fine_tuning(settings.fine_tune_epochs))
    pruning = StagedPruning(job, prunable, stages, masks=masks, settings=settings, seed=seed)
    return run_to_end(pruning, checkpoint, on_epoch)


class GradualPruning:
    """Gradual magnitude pruning that advances epoch by epoch and can be saved after each.

    Attributes:
        masks: which weights remain now.
        curve: one entry per finished epoch.

    Source: Zhu and Gupta 2017 (arXiv 1710.01878). Deviations: begin and end are shares of the training, so that one
    setting serves any length; exactly as many weights remain as asked for.
    """

    def __init__(self, job: Job, prunable: Prunable, settings: GradualSettings, seed: int) -> None:
        self._job, self._prunable, self._settings, self._seed = job, prunable, settings, seed
        self.curve: list[PruningEpoch] = []
        self._tensors = dict(job.model.named_parameters())
        self.masks = Masks({name: torch.ones_like(self._tensors[name], dtype=torch.bool) for name in prunable.names})
        self._images = images_per_epoch(job.dataset, job.recipe)
        self._batch = min(job.recipe.batch_size, len(job.dataset.train))
        self._plan = pruning_steps(settings, settings.epochs * self._images // self._batch)
        self._steps, self._epoch_macs, self._image_macs = 0, 0, prunable.dense_macs
        self._training = Training(
            job.model,
            job.dataset,
            replace(job.recipe, epochs=settings.epochs),
            seed=seed,
            device=job.device,
            distillation=job.distillation,
            after_step=self._after_step,
        )

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.curve)

    def train_epoch(self) -> PruningEpoch:
        """Train and prune one epoch; raises TrainingDiverged."""
        self._steps, self._epoch_macs = self.epoch * self._images // self._batch, 0
        report = self._training.train_epoch()
        row = PruningEpoch(self.epoch + 1, "gradual", (self.masks.kept,), self._epoch_macs, (report,))
        self.curve.append(row)
        return row

    def _after_step(self, model: nn.Module) -> None:
        """Called for the network, then for its weight average if there is one."""
        if model is self._training.model:
            self._epoch_macs += PASSES * self._batch * self._image_macs
            self._steps += 1
            if self._steps in self._plan:
                self._set_masks(self._pruned(model, self._plan[self._steps]))
        self.masks.apply_(model)

    def _set_masks(self, masks: Masks) -> None:
        self.masks = masks
        self._image_macs = self._prunable.macs({name: int(mask.sum()) for name, mask in masks.items()})

    def _pruned(self, model: nn.Module, sparsity: float) -> Masks:
        tensors = dict(model.named_parameters())
        settings = replace(self._settings, sparsity=sparsity, initial_sparsity=0.0)
        return largest_weights({name: tensors[name] for name in self._prunable.names}, settings, self.masks)

    def result(self) -> PruningResult:
        """The pruned network, once all epochs are finished."""
        model = copy.deepcopy(self._training.final).eval().requires_grad_(True)
        return pruning_result(model, self.masks, self.curve, self._job, self._prunable)

    def save(self, path: Path) -> None:
        """Write everything that the next epoch depends on."""
        state = {
            "masks": dict(self.masks),
            "training": saved(self._training),
            "curve": [epoch.to_dict() for epoch in self.curve],
        }
        save_checkpoint(path, state, self._identity())

    def load(self, path: Path) -> None:
        """Go back to a saved state; raises InvalidCheckpoint when it is another pruning's."""
        state = load_checkpoint(path, self._identity())
        self._set_masks(Masks(state["masks"]))
        load_saved(self._training, state["training"])
        self.curve = [PruningEpoch.from_dict(epoch) for epoch in state["curve"]]

    def _identity(self) -> dict[str, Any]:
        return pruning_identity(self._job, self._training.begun, self._settings, self._seed)
