"""A training for several tasks under masks, and the one call that prunes and trains."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.compress.disparse.dynamic import Rewiring, Schedule
from nas.compress.disparse.initial import FirstMasks, first_masks
from nas.compress.disparse.overlap import LayerOverlap, Overlap
from nas.compress.disparse.result import DisparseResult
from nas.compress.disparse.scores import gradients, losses_of
from nas.compress.disparse.settings import DisparseSettings
from nas.compress.disparse.tasks import Ownership, find_ownership
from nas.compress.graph import copied
from nas.compress.masks import Masks
from nas.train.advance import advance
from nas.train.distill import Distillation
from nas.train.multitask.optimiser_state import forget_
from nas.train.multitask.recipe import MultitaskRecipe
from nas.train.multitask.tasks import MultitaskData
from nas.train.multitask.training import MultitaskEpoch, MultitaskTraining


def disparse(  # noqa: PLR0913 - the training's facts, all named
    model: nn.Module,
    data: MultitaskData,
    recipe: MultitaskRecipe,
    *,
    settings: DisparseSettings,
    seed: int,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_epoch: Callable[[MultitaskEpoch], None] | None = None,
    distillation: Mapping[str, Distillation] | None = None,
    users: Mapping[str, Sequence[str]] | None = None,
) -> DisparseResult:
    """Prune a network for several tasks and train what remains.

    Args:
        model: (N, C, H, W) float32 -> mapping from task names to outputs; untrained for "static" and "dynamic", trained
            for "pretrained". It is copied, not changed.
        data: tasks and images; ``train`` is learned from and ``validation`` watched, ``test`` is not read.
        recipe: of the training under masks.
        settings: mode and density; also the baselines.
        seed: of batch order, augmentation, the images that scores are taken on, and random masks.
        device: where to compute.
        checkpoint: written after every epoch; if it exists, the training goes on from it.
        on_epoch: called after every epoch that is trained now, once its checkpoint is safe.
        distillation: by task, a teacher whose soft labels count beside the true ones.
        users: overrides which tasks a weight serves: see ``find_ownership``.
    Raises: CannotCompress, TrainingDiverged, InvalidCheckpoint, InvalidDistillation.
    """
    model = copied(model)
    ownership = find_ownership(model, data, users=users, device=device)
    training = SparseTraining(
        model, data, recipe, settings=settings, ownership=ownership, seed=seed, device=device, distillation=distillation
    )
    advance(training, recipe.epochs, checkpoint, on_epoch)
    return training.result()


class SparseTraining(MultitaskTraining):
    """A training under masks that advances epoch by epoch and can be saved after each.

    Gradients outside the masks do not reach the optimiser, so its memory of a weight that comes back starts from 0.
    """

    def __init__(  # noqa: PLR0913 - the training's facts, all named
        self,
        model: nn.Module,
        data: MultitaskData,
        recipe: MultitaskRecipe,
        *,
        settings: DisparseSettings,
        ownership: Ownership,
        seed: int,
        device: torch.device | str = "cpu",
        distillation: Mapping[str, Distillation] | None = None,
    ) -> None:
        """Prepare; masks are chosen when the first epoch begins.

        Args:
            model: trained in place.
            data: tasks and images.
            recipe: of the training.
            settings: mode and density.
            ownership: of the weights.
            seed: of batch order, augmentation, scores and random masks.
            device: where to compute.
            distillation: by task, a teacher.
        """
        super().__init__(model, data, recipe, seed=seed, device=device, distillation=distillation)
        self.settings, self.ownership = settings, ownership
        self._judged = ownership.joint() if settings.joint else ownership
        parameters = dict(self.model.named_parameters())
        self._weights = {name: parameters[name] for name in ownership.users}
        self._first: FirstMasks | None = None
        self._rewiring: Rewiring | None = None
        self._schedule = Schedule.of(settings, self.steps_per_epoch * recipe.epochs)
        self._dense: dict[str, dict[str, Tensor]] = {}
        self._masks: dict[str, Tensor] = {}

    @property
    def masks(self) -> Masks:
        """As they are now; empty before the first epoch."""
        return Masks(self._masks)

    def train_epoch(self) -> MultitaskEpoch:
        """Choose masks if there are none yet, then train one epoch; raises CannotCompress, TrainingDiverged."""
        if self._first is None:
            self._start(
                first_masks(self.model, self.data, self._judged, self.settings, seed=self.seed, device=self.device)
            )
            self._apply()
        return super().train_epoch()

    def on_losses(self, losses: dict[str, Tensor], step: int) -> None:
        """Take each task's own dense gradients when masks are about to change."""
        if self._rewiring is not None and self._schedule.changes_at(step):
            self._dense = {
                task: gradients(loss, {name: self._weights[name] for name in self._judged.of(task)})
                for task, loss in losses_of(self._judged, losses, self.data.tasks).items()
            }

    def on_gradients(self) -> None:
        """Nothing outside the masks is learned."""
        for name, mask in self._masks.items():
            gradient = self._weights[name].grad
            if gradient is not None:
                gradient.mul_(mask)

    def on_step(self, step: int) -> None:
        """Change the masks when it is time, and hold the weights to them."""
        if self._rewiring is not None:
            self._rewire(self._rewiring, step)
        self._apply()

    def result(self) -> DisparseResult:
        """The trained network with its masks; the training is over."""
        assert self._first is not None
        network = copy.deepcopy(self.final).eval().requires_grad_(True)
        overlap = self._first.overlap
        if self._rewiring is not None and not self.settings.joint:
            overlap = self._rewiring.overlap
        return DisparseResult(
            network=network,
            masks=self.masks,
            overlap=overlap,
            ownership=self.ownership,
            keep_ratio=self._first.keep_ratio,
            empty=tuple(name for name, mask in self._masks.items() if not bool(mask.any())),
            curve=tuple(self.curve),
        )

    def _start(self, first: FirstMasks) -> None:
        self._first = first
        self._masks = {name: mask.to(self.device) for name, mask in first.masks.items()}
        if self.settings.rewires:
            self._rewiring = Rewiring(self._masks, self._judged)

    def _rewire(self, rewiring: Rewiring, step: int) -> None:
        if self._schedule.changes_at(step):
            values = {name: weight.detach() for name, weight in self._weights.items()}
            for name, entries in rewiring.change(values, self._dense, self._schedule.share_at(step)).items():
                forget_(self.optimiser, self._weights[name], entries)
            self._dense = {}
        elif step == self._schedule.last:
            rewiring.finish({name: weight.detach() for name, weight in self._weights.items()})
        self._masks = rewiring.masks

    @torch.no_grad()
    def _apply(self) -> None:
        for model in (self.model, *((self.average.model,) if self.average else ())):
            parameters = dict(model.named_parameters())
            for name, mask in self._masks.items():
                parameters[name].mul_(mask)

    def _state(self) -> dict[str, Any]:
        assert self._first is not None
        layers = None if self._first.overlap is None else [asdict(layer) for layer in self._first.overlap.layers]
        return {
            **super()._state(),
            "masks": {name: mask.cpu() for name, mask in self._masks.items()},
            "keep_ratio": self._first.keep_ratio,
            "overlap": layers,
            "rewiring": None if self._rewiring is None else self._rewiring.state(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        super()._restore(state)
        layers = state["overlap"]
        overlap = None if layers is None else Overlap(tuple(LayerOverlap(**layer) for layer in layers))
        self._start(FirstMasks(Masks(state["masks"]), state["keep_ratio"], overlap))
        if self._rewiring is not None:
            self._rewiring.restore(self._masks, state["rewiring"])

    def _identity(self) -> dict[str, Any]:
        return {
            **super()._identity(),
            "settings": self.settings.to_dict(),
            "ownership": {name: list(users) for name, users in self.ownership.users.items()},
        }
