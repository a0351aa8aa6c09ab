"""Grow-and-prune as a training in stages: dense partitions are trained and pruned in turn, then all is fine-tuned.

Source: Ma et al. 2022, "Effective Model Sparsification by Scheduled Grow-and-Prune Methods" (ICLR 2022,
arXiv 2106.09857), algorithms 1 (C-GaP) and 2 (P-GaP).
Deviations: masks are kept apart from the weights, and exactly as many weights remain as asked for; a stage ends with
the recipe's weight average; every tensor has an owner when copies are put together.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.compress.gap.partitions import partitionings
from nas.compress.gap.result import PruningEpoch, PruningResult
from nas.compress.gap.selection import largest_weights
from nas.compress.gap.settings import GapSettings, PruningSettings
from nas.compress.gap.workers import Here, Job, MaskedRun, Workers, cpu_weights
from nas.compress.masks import Masks
from nas.compress.prunable import Prunable
from nas.compress.training_cost import PASSES, images_per_epoch
from nas.train.begun_network import begun_network
from nas.train.checkpoint import load_checkpoint, save_checkpoint
from nas.train.evaluate import Normaliser, evaluate, to_tensors
from nas.train.images import Dataset
from nas.train.recalibration import recalibrate_

CALIBRATION_BATCHES, CALIBRATION_SIZE = 8, 256


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Trainings side by side from the same weights, put together and pruned at their end.

    Attributes:
        name: for the curve.
        epochs: of each.
        dense: of each training, names of the layers without a mask; all others keep the masks that they have.
        owner: which training's tensor is taken, by name; only asked when there are several.
    """

    name: str
    epochs: int
    dense: tuple[tuple[str, ...], ...]
    owner: Mapping[str, int]


def gap_stages(prunable: Prunable, settings: GapSettings, seed: int) -> tuple[Stage, ...]:
    """The stages of C-GaP or P-GaP; raises CannotCompress."""
    stages = []
    for number, cut in enumerate(partitionings(prunable, settings, seed), 1):
        if settings.method == "parallel":
            stages.append(Stage(f"round {number}", settings.epochs_per_step, cut.parts, cut.owner))
        else:
            stages += [
                Stage(f"round {number}, partition {at}", settings.epochs_per_step, (part,), {})
                for at, part in enumerate(cut.parts, 1)
            ]
    return (*stages, *fine_tuning(settings.fine_tune_epochs))


def fine_tuning(epochs: int) -> tuple[Stage, ...]:
    """The last stage: nothing is dense; none for 0 epochs."""
    return (Stage("fine-tuning", epochs, ((),), {}),) if epochs else ()


class StagedPruning:
    """A pruning in stages that advances epoch by epoch and can be saved after each.

    Attributes:
        masks: which weights remained at the last prune; they hold for all layers that are not dense now.
        weights: state dict at the start of the stage, on the CPU.
        stage: finished stages.
        curve: one entry per finished epoch.

    Args:
        job: what is trained; its model is not changed.
        prunable: layers of the model.
        stages: in order; each starts with the weights and masks of the one before.
        masks: to start with. Layers that are dense in the first stage keep the weights they have in ``job.model``.
        settings: of the prune at the end of each stage.
        seed: of all trainings, each of which has its own.
        workers: train the stages of several networks; None trains them here, one thread and one after the other.
    """

    def __init__(  # noqa: PLR0913 - the facts of a pruning, all named
        self,
        job: Job,
        prunable: Prunable,
        stages: Sequence[Stage],
        *,
        masks: Masks,
        settings: PruningSettings,
        seed: int,
        workers: Workers | None = None,
    ) -> None:
        self._job, self._prunable, self._stages = job, prunable, tuple(stages)
        self._settings, self._seed, self._begun = settings, seed, begun_network(job.model)
        self._several = workers or Here(job, one_thread=True)
        self._single = Here(job)
        self._running: Workers | None = None
        self.weights = cpu_weights(job.model)
        self.masks, self.stage = masks, 0
        self.curve: list[PruningEpoch] = []

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.curve)

    @property
    def epochs(self) -> int:
        """Of all stages."""
        return sum(stage.epochs for stage in self._stages)

    @property
    def trained(self) -> Workers | None:
        """The trainings in the middle of a stage; None between stages."""
        return self._running

    def train_epoch(self) -> PruningEpoch:
        """Train an epoch of every network of the stage; raises TrainingDiverged."""
        stage = self._stages[self.stage]
        if self._running is None:
            self._running = self._begin()
        reports = self._running.train_epoch()
        kept = [masks.kept for masks in self.stage_masks()]
        self.curve.append(PruningEpoch(self.epoch + 1, stage.name, tuple(kept), self._epoch_macs(), tuple(reports)))
        if reports[0].epoch == stage.epochs:
            self._finish(stage, self._running.weights())
        return self.curve[-1]

    def stage_masks(self) -> list[Masks]:
        """Masks of each training of the present stage: all ones for its dense layers."""
        return [_grown(self.masks, names) for names in self._stages[self.stage].dense]

    def _begin(self) -> Workers:
        stage = self._stages[self.stage]
        recipe = replace(self._job.recipe, epochs=stage.epochs)
        first = sum(len(before.dense) for before in self._stages[: self.stage])
        runs = [
            MaskedRun(masks, recipe, _stage_seed(self._seed, first + at)) for at, masks in enumerate(self.stage_masks())
        ]
        workers = self._several if len(runs) > 1 else self._single
        workers.begin(self.weights, runs)
        return workers

    def _finish(self, stage: Stage, found: list[dict[str, Tensor]]) -> None:
        """Put the networks together, prune what was dense, and make the result the start of the next stage."""
        weights = {name: found[stage.owner.get(name, 0)][name] for name in found[0]}
        alive = self.masks
        for names in stage.dense:
            alive = _grown(alive, names)
        self.masks = largest_weights({name: weights[name] for name in self._prunable.names}, self._settings, alive)
        model = self._model(weights)
        self.masks.apply_(model)
        self.stage += 1
        together, last = len(stage.dense) > 1, self.stage == len(self._stages)
        if any(stage.dense) and (together or last):
            recalibrate_norms_(model, self._job.dataset, self._job.device)
        self.weights, self._running = cpu_weights(model), None

    def _model(self, weights: Mapping[str, Tensor]) -> nn.Module:
        model = copy.deepcopy(self._job.model).to(self._job.device)
        model.load_state_dict(dict(weights))
        return model

    def _epoch_macs(self) -> int:
        images = images_per_epoch(self._job.dataset, self._job.recipe)
        counts = [{name: int(mask.sum()) for name, mask in masks.items()} for masks in self.stage_masks()]
        return PASSES * images * sum(self._prunable.macs(kept) for kept in counts)

    def result(self) -> PruningResult:
        """The pruned network, once all stages are finished."""
        model = self._model(self.weights).eval()
        self.masks.apply_(model)
        return pruning_result(model, self.masks, self.curve, self._job, self._prunable)

    def save(self, path: Path) -> None:
        """Write everything that the next epoch depends on."""
        state = {
            "weights": self.weights,
            "masks": dict(self.masks),
            "stage": self.stage,
            "running": [] if self._running is None else self._running.save(),
            "curve": [epoch.to_dict() for epoch in self.curve],
        }
        save_checkpoint(path, state, self._identity())

    def load(self, path: Path) -> None:
        """Go back to a saved state; raises InvalidCheckpoint when it is another pruning's."""
        state = load_checkpoint(path, self._identity())
        self.weights, self.masks, self.stage = state["weights"], Masks(state["masks"]), state["stage"]
        self.curve = [PruningEpoch.from_dict(epoch) for epoch in state["curve"]]
        self._running = None
        if state["running"]:
            self._running = self._begin()
            self._running.load(state["running"])

    def _identity(self) -> dict[str, Any]:
        stages = repr([(stage.name, stage.epochs, stage.dense) for stage in self._stages])
        return {**pruning_identity(self._job, self._begun, self._settings, self._seed), "stages": _digest(stages)}


def pruning_identity(job: Job, begun: Mapping[str, Any], settings: PruningSettings, seed: int) -> dict[str, Any]:
    """What must be equal for the checkpoint of a pruning to fit; ``begun`` is the network before its first step."""
    return {
        **begun,
        "dataset": [job.dataset.name, len(job.dataset.train), list(job.dataset.mean)],
        "recipe": {name: value for name, value in job.recipe.to_dict().items() if name != "epochs"},
        "settings": settings.to_dict(),
        "seed": seed,
        "distillation": None if job.distillation is None else job.distillation.to_dict(),
    }


def pruning_result(
    model: nn.Module, masks: Masks, curve: Sequence[PruningEpoch], job: Job, prunable: Prunable
) -> PruningResult:
    """Evaluate a pruned network, which is in evaluation mode and on the device of the job, and say what it cost."""
    normalise = Normaliser(job.dataset, job.device)
    top1 = evaluate(model, *to_tensors(job.dataset.validation, job.device), normalise=normalise).top1
    dense = PASSES * images_per_epoch(job.dataset, job.recipe) * prunable.dense_macs
    return PruningResult(model, masks, tuple(curve), top1, dense)


def recalibrate_norms_(model: nn.Module, dataset: Dataset, device: torch.device | str) -> None:
    """Estimate the statistics of batch norms, if there are any, on training images in a fixed random order."""
    if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        return
    order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(0))
    images = to_tensors(dataset.train)[0][order[: CALIBRATION_BATCHES * CALIBRATION_SIZE]].to(device)
    batches = [batch for batch in torch.split(images, CALIBRATION_SIZE) if len(batch) > 1]
    normalise = Normaliser(dataset, device)
    recalibrate_(model, [normalise(batch) for batch in batches])


def _grown(masks: Masks, names: Sequence[str]) -> Masks:
    return Masks({**masks, **{name: torch.ones_like(masks[name]) for name in names}})


def _stage_seed(seed: int, stage: int) -> int:
    return int.from_bytes(hashlib.sha256(f"stage {seed}/{stage}".encode()).digest()[:4], "big")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]
